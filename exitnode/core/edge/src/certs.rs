//! Certificates by SNI: put and replaced while serving, read without a lock by every handshake.
//!
//! Order of choice: a certificate with exactly this name; the fleet's, if it covers the name; any wildcard that covers it.
//! Without SNI the fleet's. Otherwise none, and rustls ends the handshake with an alert. Does not fetch or renew anything.
//!
//! A tunnel's own certificate is none of these: whoever brought it may have put others' names into it, so it is good for the
//! tunnel's host name alone (`Shared::certificate`).

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::{crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

/// Ids of tunnels' own certificates begin so.
const TUNNELS_OWN: &str = "certificate/tunnel-";

/// A certificate with its key and the names it is good for.
#[derive(Debug)]
pub(crate) struct Certificate {
    id: String,
    pub(crate) key: Arc<CertifiedKey>,
    /// Lower case; `.example.com` stands for `*.example.com`.
    names: Vec<String>,
}

impl Certificate {
    /// True if a request for `host` (lower case) may come over a connection made with this certificate.
    pub(crate) fn covers(&self, host: &str) -> bool {
        // An empty first label is no host; it must not meet the stored form of a wildcard.
        let parent = parent(host);
        !host.starts_with('.')
            && self
                .names
                .iter()
                .any(|name| name == host || Some(name.as_str()) == parent)
    }

    /// The same, good for one host alone. `None`: it does not name that host.
    fn narrowed(&self, host: &str) -> Option<Self> {
        self.covers(host).then(|| Self {
            id: self.id.clone(),
            key: self.key.clone(),
            names: vec![host.to_owned()],
        })
    }
}

/// All certificates of the exit node.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    by_id: papaya::HashMap<String, Arc<Certificate>>,
    by_name: papaya::HashMap<String, Arc<Certificate>>,
    /// Id of the fleet's certificate.
    fleet: RwLock<Option<String>>,
    /// Writers take turns; readers never wait.
    writing: Mutex<()>,
}

impl Certificates {
    /// Installs or replaces the certificate `id`. The error says what is wrong with it.
    pub(crate) fn put(
        &self,
        provider: &CryptoProvider,
        id: &str,
        chain_pem: &[u8],
        key_pem: &[u8],
    ) -> Result<(), String> {
        let certificate = Arc::new(parse(provider, id, chain_pem, key_pem)?);
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (by_id, by_name) = (self.by_id.pin(), self.by_name.pin());
        if id.starts_with(TUNNELS_OWN) {
            by_id.insert(id.to_owned(), certificate);
            return Ok(());
        }
        for name in &certificate.names {
            by_name.insert(name.clone(), certificate.clone());
        }
        if let Some(old) = by_id.insert(id.to_owned(), certificate.clone()) {
            self.give_up(id, old.names.iter().filter(|name| !certificate.names.contains(name)));
        }
        Ok(())
    }

    /// Forgets a certificate; connections that were made with it go on.
    pub(crate) fn remove(&self, id: &str) {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = self.by_id.pin().remove(id) {
            self.give_up(id, old.names.iter());
        }
    }

    fn give_up<'a>(&self, id: &str, names: impl Iterator<Item = &'a String>) {
        let by_name = self.by_name.pin();
        for name in names {
            let _ = by_name.remove_if(name, |_, held| held.id == id);
        }
    }

    /// A tunnel's own certificate, good for its host alone. `None`: it is not here (yet), or does not name the host.
    pub(crate) fn own(&self, id: &str, host: &str) -> Option<Arc<Certificate>> {
        self.by_id.pin().get(id)?.narrowed(host).map(Arc::new)
    }

    /// Which certificate stands for the fleet; it may arrive later.
    pub(crate) fn set_fleet(&self, id: Option<String>) {
        *self.fleet.write().unwrap_or_else(PoisonError::into_inner) = id.filter(|id| !id.is_empty());
    }

    /// The certificate of a connection with this SNI.
    pub(crate) fn find(&self, sni: Option<&str>) -> Option<Arc<Certificate>> {
        let fleet = || {
            let id = self.fleet.read().unwrap_or_else(PoisonError::into_inner).clone()?;
            self.by_id.pin().get(&id).cloned()
        };
        let Some(sni) = sni else { return fleet() };
        let name = sni.trim_end_matches('.').to_ascii_lowercase();
        let names = self.by_name.pin();
        if let Some(exact) = names.get(&name) {
            return Some(exact.clone());
        }
        fleet()
            .filter(|certificate| certificate.covers(&name))
            .or_else(|| parent(&name).and_then(|parent| names.get(parent).cloned()))
    }
}

/// `.example.com` of `a.example.com`: one label is all that a wildcard stands for (RFC 6125).
fn parent(host: &str) -> Option<&str> {
    host.find('.').filter(|&dot| dot > 0).map(|dot| &host[dot..])
}

fn parse(provider: &CryptoProvider, id: &str, chain_pem: &[u8], key_pem: &[u8]) -> Result<Certificate, String> {
    let chain = CertificateDer::pem_slice_iter(chain_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("certificate {id}: the chain is not PEM: {error}"))?;
    let leaf = chain
        .first()
        .ok_or_else(|| format!("certificate {id}: the chain is empty"))?;
    let names = names_of(leaf).map_err(|error| format!("certificate {id}: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|error| format!("certificate {id}: the key is not a PEM private key: {error}"))?;
    let key = CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| format!("certificate {id}: key and certificate don't go together: {error}"))?;
    Ok(Certificate {
        id: id.to_owned(),
        key: Arc::new(key),
        names,
    })
}

fn names_of(leaf: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let (_, leaf) = x509_parser::certificate::X509Certificate::from_der(leaf.as_ref())
        .map_err(|error| format!("the leaf cannot be read: {error}"))?;
    let san = leaf
        .subject_alternative_name()
        .map_err(|error| format!("its names cannot be read: {error}"))?;
    let names: Vec<String> = san
        .iter()
        .flat_map(|san| &san.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    if names.is_empty() {
        Err("it names no host (subjectAltName)".into())
    } else {
        Ok(names)
    }
}

#[cfg(test)]
mod tests;
