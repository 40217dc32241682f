//! TLS towards https targets: the web's roots, TLS 1.2 or newer, the application protocol by ALPN.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::endpoint::AppProtocol;

/// One configuration an application protocol; sessions are resumed within it.
#[derive(Debug)]
pub(super) struct Configs {
    http1: Arc<ClientConfig>,
    h2: Arc<ClientConfig>,
}

impl Configs {
    /// Roots come with the program (Mozilla's list): an exit node's image need not have any.
    pub(super) fn of_the_web() -> Self {
        Self::with(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        })
    }

    pub(super) fn with(roots: RootCertStore) -> Self {
        let roots = Arc::new(roots);
        Self {
            http1: config(roots.clone(), b"http/1.1"),
            h2: config(roots, b"h2"),
        }
    }

    pub(super) fn of(&self, protocol: AppProtocol) -> Arc<ClientConfig> {
        match protocol {
            // No target of a TCP tunnel has TLS (endpoint.rs).
            AppProtocol::Http1 | AppProtocol::Tcp => self.http1.clone(),
            AppProtocol::H2c => self.h2.clone(),
        }
    }
}

#[expect(clippy::expect_used, reason = "the provider and its versions are constants")]
fn config(roots: Arc<RootCertStore>, alpn: &[u8]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider has both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}
