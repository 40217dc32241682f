//! TLS of links: 1.3 only, X25519MLKEM768 preferred, no tickets (a resumed handshake would skip what a rotation of
//! roots is for), and the QUIC transport settings of both sides.
//!
//! One listener serves three protocols by ALPN: hawse/1 and hawse-peer/1 need a client certificate, hawse-enroll/1 has none.
//! rustls picks its verifier before the ALPN is known, so a certificate is asked for and not required here; server/ requires
//! it once the ALPN is known. Called by server/ and dial/.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use crate::identity::{Identity, IdentityError, provider};
use crate::limits;

/// Agents with a certificate.
pub const ALPN_LINK: &str = "hawse/1";
/// Agents that ask for one.
pub const ALPN_ENROL: &str = "hawse-enroll/1";
/// Other exit nodes, over QUIC alone.
pub const ALPN_PEER: &str = "hawse-peer/1";

/// A SHA-256.
pub(crate) type Sha256 = [u8; 32];

/// What a listener presents and demands from now on.
#[derive(Debug)]
pub(crate) struct ServerConfigs {
    pub(crate) quic: quinn::ServerConfig,
    pub(crate) tcp: Arc<rustls::ServerConfig>,
}

/// The same for both transports.
pub(crate) fn server_configs(identity: &Identity) -> Result<ServerConfigs, IdentityError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots.clone(), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|why| IdentityError::Key(why.to_string()))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder
                .with_client_cert_verifier(verifier)
                .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        })
        .map_err(|why| IdentityError::Key(why.to_string()))?;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    tls.alpn_protocols = vec![ALPN_LINK.into(), ALPN_ENROL.into()];
    let tcp = Arc::new(tls.clone());
    tls.alpn_protocols.push(ALPN_PEER.into());
    let crypto = QuicServerConfig::try_from(tls).map_err(|why| IdentityError::Key(why.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(limits::STREAMS_OF_AGENT)));
    config.max_incoming(limits::HANDSHAKES);
    config.incoming_buffer_size(limits::INCOMING_BUFFER_BYTES);
    config.incoming_buffer_size_total(limits::INCOMING_BUFFERS_BYTES);
    Ok(ServerConfigs { quic: config, tcp })
}

/// Whom a dialing side believes, and what it shows.
#[derive(Debug)]
pub(crate) enum Trust {
    /// hawse/1 and hawse-peer/1: exit nodes under our roots; our certificate.
    Identity(Identity),
    /// hawse-enroll/1: a CA with one of these hashes; no certificate.
    CaHashes(Vec<Sha256>),
}

/// TLS of one dial.
pub(crate) fn client_config(trust: &Trust, alpn: &str) -> Result<rustls::ClientConfig, IdentityError> {
    let key = |why: rustls::Error| IdentityError::Key(why.to_string());
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(key)?;
    let mut tls = match trust {
        Trust::Identity(identity) => builder
            .with_root_certificates(identity.roots.clone())
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(key)?,
        Trust::CaHashes(hashes) => builder
            .dangerous() // the name of the method; PinnedCa checks chain, name, validity and signature
            .with_custom_certificate_verifier(Arc::new(PinnedCa {
                hashes: hashes.clone(),
                provider: provider(),
            }))
            .with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.into()];
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

/// The same over QUIC.
pub(crate) fn quic_client_config(trust: &Trust, alpn: &str) -> Result<quinn::ClientConfig, IdentityError> {
    let tls = client_config(trust, alpn)?;
    let crypto = QuicClientConfig::try_from(tls).map_err(|why| IdentityError::Key(why.to_string()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = if alpn == ALPN_PEER {
        let mut transport = transport(0); // we have the visitors, so that all streams are ours
        transport.send_window(limits::PEER_SEND_WINDOW_BYTES);
        transport
    } else {
        let mut transport = transport(limits::STREAMS_PER_LINK);
        transport.receive_window(limits::AGENT_CONNECTION_WINDOW_BYTES.into());
        transport
    };
    transport.keep_alive_interval(Some(limits::KEEP_ALIVE));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// `peer_streams`: bidirectional streams that the peer may open.
fn transport(peer_streams: u32) -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(peer_streams.into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(limits::STREAM_WINDOW_BYTES.into())
        .receive_window(limits::CONNECTION_WINDOW_BYTES.into())
        .send_window(limits::SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(quinn::IdleTimeout::try_from(limits::IDLE_TIMEOUT).ok());
    transport
}

/// The certificates of a QUIC connection's peer, leaf first; empty if it showed none.
pub(crate) fn peer_chain(connection: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection
        .peer_identity()
        .and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    identity.map(|chain| *chain).unwrap_or_default()
}

/// The certificate among `chain` behind the leaf that has one of these hashes.
pub(crate) fn pinned<'a>(chain: &'a [CertificateDer<'a>], hashes: &[Sha256]) -> Option<&'a CertificateDer<'a>> {
    chain
        .iter()
        .find(|der| sha256(der).is_some_and(|hash| hashes.contains(&hash)))
}

/// SHA-256 by the hash of a cipher suite: rustls has no shorter way, and it saves a dependency.
fn sha256(bytes: &[u8]) -> Option<Sha256> {
    sha256_suite().common.hash_provider.hash(bytes).as_ref().try_into().ok()
}

/// Its hash, HMAC and HKDF are over SHA-256.
#[expect(clippy::expect_used, reason = "a constant")]
pub(crate) fn sha256_suite() -> &'static rustls::Tls13CipherSuite {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    suite.tls13().expect("a suite of TLS 1.3")
}

/// Believes a server whose chain holds a CA with a known hash, if that CA vouches for its name.
#[derive(Debug)]
struct PinnedCa {
    hashes: Vec<Sha256>,
    provider: Arc<CryptoProvider>,
}

#[derive(thiserror::Error)]
#[error("its certificate authority is not the one that the token names")]
struct UnknownCa;

/// rustls shows the causes of an `OtherError` by their Debug.
impl std::fmt::Debug for UnknownCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = || CertificateError::Other(OtherError(Arc::new(UnknownCa)));
        let ca = pinned(intermediates, &self.hashes).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|why| rustls::Error::General(why.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("links are TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ca;

    /// What the verifier says to the leaf of `ca` for `name`, with `sent` behind it and `ca`'s hash known.
    fn verify(ca: &Ca, name: &str, sent: &[&[u8]]) -> Result<ServerCertVerified, rustls::Error> {
        let leaf = CertificateDer::from(ca.issue("connect.example.test").chain.remove(0));
        let sent: Vec<CertificateDer<'_>> = sent.iter().map(|der| CertificateDer::from(*der)).collect();
        let verifier = PinnedCa {
            hashes: vec![sha256(&ca.der).unwrap()],
            provider: provider(),
        };
        verifier.verify_server_cert(&leaf, &sent, &name.try_into().unwrap(), &[], UnixTime::now())
    }

    #[test]
    fn a_pinned_ca_vouches_for_its_leaf_and_only_for_the_name() {
        let (ca, other) = (Ca::new("ca"), Ca::new("other"));
        assert!(verify(&ca, "connect.example.test", &[&other.der, &ca.der]).is_ok());
        let error = verify(&ca, "elsewhere.example.test", &[&ca.der])
            .unwrap_err()
            .to_string();
        assert!(error.contains("not valid for name"), "{error}");
    }

    #[test]
    fn a_chain_without_the_pinned_ca_is_refused() {
        let (ca, other) = (Ca::new("ca"), Ca::new("other"));
        let error = verify(&ca, "connect.example.test", &[&other.der])
            .unwrap_err()
            .to_string();
        assert!(error.contains("not the one that the token names"), "{error}");
    }

    #[test]
    fn showing_the_pinned_ca_does_not_help_the_leaf_of_another() {
        let (ca, other) = (Ca::new("ca"), Ca::new("other"));
        let leaf = CertificateDer::from(other.issue("connect.example.test").chain.remove(0));
        let verifier = PinnedCa {
            hashes: vec![sha256(&ca.der).unwrap()],
            provider: provider(),
        };
        let name = "connect.example.test".try_into().unwrap();
        assert!(
            verifier
                .verify_server_cert(&leaf, &[ca.der.into()], &name, &[], UnixTime::now())
                .is_err()
        );
    }

    #[test]
    fn other_exit_nodes_are_answered_over_quic_alone() {
        let identity = Identity::parse(Ca::new("ca").issue("connect.example.test")).unwrap();
        let tcp = server_configs(&identity).unwrap().tcp;
        assert_eq!(tcp.alpn_protocols, [ALPN_LINK.as_bytes(), ALPN_ENROL.as_bytes()]);
    }

    #[test]
    fn the_hash_is_sha_256() {
        assert_eq!(sha256(b"").unwrap()[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    }
}
