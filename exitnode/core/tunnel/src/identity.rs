//! Who we are and whom we trust: `core::Identity`, parsed once, so that everything behind it can rely on it.
//!
//! Nothing here opens a socket or knows a protocol version. Called by server.rs, dial.rs and hawse-core.

use std::sync::Arc;

use hawse_proto::core;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::reset::ResetKeys;

/// A certificate with its key, and the CAs that vouch for peers.
#[derive(Debug)]
pub struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) roots: Arc<RootCertStore>,
    /// Of an endpoint for its whole life: agents keep what they were told when they connected.
    pub(crate) resets: ResetKeys,
}

/// What is wrong with an identity. Never shows key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is nothing to show to the peer.
    #[error("the identity has no certificate")]
    NoCertificate,
    /// There is nobody to trust.
    #[error("the identity has no root certificate")]
    NoRoot,
    /// A certificate of the chain or a root does not parse.
    #[error("the identity's {which} is not a certificate: {why}")]
    Unreadable {
        /// "certificate 0", "root 1"
        which: String,
        /// The parser's words.
        why: String,
    },
    /// The key does not parse or belongs to another certificate.
    #[error("the identity's key does not fit its certificate: {0}")]
    Key(String),
}

impl Identity {
    /// Checks everything that can be checked without a peer.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn parse(message: core::Identity) -> Result<Self, IdentityError> {
        if message.chain.is_empty() {
            return Err(IdentityError::NoCertificate);
        }
        if message.roots.is_empty() {
            return Err(IdentityError::NoRoot);
        }
        let chain = certificates(message.chain, "certificate")?;
        let mut roots = RootCertStore::empty();
        let anchors = certificates(message.roots, "root")?;
        for (number, root) in anchors.iter().enumerate() {
            roots
                .add(root.clone())
                .map_err(|why| unreadable("root", number, &why))?;
        }
        let resets = ResetKeys::derive(if message.reset_secret.is_empty() {
            &message.key
        } else {
            &message.reset_secret
        });
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(message.key));
        rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider())
            .map_err(|why| IdentityError::Key(why.to_string()))?;
        let chain = with_roots(chain, anchors);
        Ok(Self {
            chain,
            key,
            roots: Arc::new(roots),
            resets,
        })
    }
}

/// aws-lc-rs, which prefers X25519MLKEM768 (feature `prefer-post-quantum`). Given to every configuration, never installed
/// for the process: a library must not decide for its host.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(ders: Vec<Vec<u8>>, what: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    for (number, der) in ders.iter().enumerate() {
        x509_parser::parse_x509_certificate(der).map_err(|why| unreadable(what, number, &why))?;
    }
    Ok(ders.into_iter().map(CertificateDer::from).collect())
}

fn unreadable(what: &str, number: usize, why: &dyn std::fmt::Display) -> IdentityError {
    IdentityError::Unreadable {
        which: format!("{what} {number}"),
        why: why.to_string(),
    }
}

/// The CA goes out with the leaf: an agent that enrols knows nothing but the CA's hash and has to see the CA.
fn with_roots(
    mut chain: Vec<CertificateDer<'static>>,
    roots: Vec<CertificateDer<'static>>,
) -> Vec<CertificateDer<'static>> {
    for root in roots {
        if !chain.contains(&root) {
            chain.push(root);
        }
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ca;

    fn message() -> core::Identity {
        Ca::new("ca").issue("connect.example.test")
    }

    #[test]
    fn the_ca_is_sent_behind_the_leaf() {
        let message = message();
        let identity = Identity::parse(message.clone()).unwrap();
        let sent: Vec<&[u8]> = identity.chain.iter().map(|der| der.as_ref()).collect();
        assert_eq!(sent, [&message.chain[0][..], &message.roots[0][..]]);
    }

    #[test]
    fn what_is_missing_or_broken_is_named() {
        let no_chain = core::Identity {
            chain: vec![],
            ..message()
        };
        assert_eq!(Identity::parse(no_chain).unwrap_err(), IdentityError::NoCertificate);
        let no_roots = core::Identity {
            roots: vec![],
            ..message()
        };
        assert_eq!(Identity::parse(no_roots).unwrap_err(), IdentityError::NoRoot);
        let broken = core::Identity {
            roots: vec![vec![1, 2, 3]],
            ..message()
        };
        let text = Identity::parse(broken).unwrap_err().to_string();
        assert!(text.starts_with("the identity's root 0 is not a certificate"), "{text}");
    }

    #[test]
    fn the_key_of_another_certificate_is_refused() {
        let mixed = core::Identity {
            key: message().key,
            ..message()
        };
        assert!(matches!(Identity::parse(mixed).unwrap_err(), IdentityError::Key(_)));
    }

    #[test]
    fn the_post_quantum_exchange_is_preferred() {
        assert_eq!(provider().kx_groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
    }
}
