//! How visitors' TLS is set up: 1.3, over TCP 1.2 too, aws-lc-rs, X25519MLKEM768 first, session tickets, no 0-RTT.

use std::{io, sync::Arc};

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::shared::Shared;

/// What is offered; a visitor that offers none of it is refused by an alert, one without ALPN gets HTTP/1.1 over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// HTTP/2 and HTTP/1.1.
    Tcp,
    /// HTTP/3, which knows TLS 1.3 alone.
    Quic,
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Tcp => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Self::Quic => vec![b"h3".to_vec()],
        }
    }

    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        const NEWEST_FIRST: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Self::Tcp => NEWEST_FIRST,
            Self::Quic => &NEWEST_FIRST[..1],
        }
    }
}

/// A browser opens two connections at once; more tickets only cost handshake bytes.
const TICKETS: usize = 2;

/// The certificates inside the shared state, as rustls wants them.
#[derive(Debug)]
struct BySni(Arc<Shared>);

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .certificate(hello.server_name())
            .map(|certificate| certificate.key.clone())
    }
}

/// The configuration of a listener.
pub(crate) fn server_config(shared: Arc<Shared>, alpn: Alpn) -> io::Result<Arc<ServerConfig>> {
    // prefer-post-quantum (Cargo.toml) puts X25519MLKEM768 first in this provider.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(alpn.versions())
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(BySni(shared)));
    config.alpn_protocols = alpn.protocols();
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
    config.send_tls13_tickets = TICKETS;
    // 0-RTT requests can be replayed by whoever recorded them.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn post_quantum_key_exchange_is_offered_first_and_early_data_never() {
        for alpn in [Alpn::Tcp, Alpn::Quic] {
            let config = server_config(Arc::default(), alpn).unwrap();
            let first = config.crypto_provider().kx_groups.first().unwrap().name();
            assert_eq!(first, rustls::NamedGroup::X25519MLKEM768);
            assert_eq!(config.max_early_data_size, 0);
            assert!(config.ticketer.enabled());
        }
    }
}
