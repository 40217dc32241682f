//! 0-RTT: what a visitor sends before the handshake is done could be replayed by whoever recorded it, so nothing is taken.
#![allow(
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "tests own their tasks and don't care about the size of a future"
)]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use quinn::crypto::rustls::QuicClientConfig;
use rustls::{
    NamedGroup,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
    },
    pki_types::ServerName,
};
use support::*;

/// A client's tickets, and how many came and were used.
#[derive(Debug)]
struct Tickets {
    kept: ClientSessionMemoryCache,
    came: AtomicUsize,
    used: AtomicUsize,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.kept.set_kx_hint(name, group);
    }
    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept.kx_hint(name)
    }
    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.kept.set_tls12_session(name, value);
    }
    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept.tls12_session(name)
    }
    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.kept.remove_tls12_session(name);
    }
    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.kept.insert_tls13_ticket(name, value);
        self.came.fetch_add(1, Relaxed);
    }
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let ticket = self.kept.take_tls13_ticket(name);
        self.used.fetch_add(usize::from(ticket.is_some()), Relaxed);
        ticket
    }
}

#[tokio::test]
async fn a_visitor_over_http_3_that_comes_back_resumes_and_may_send_nothing_early() {
    let scene = Scene::new(echo).await;
    let tickets = Arc::new(Tickets {
        kept: ClientSessionMemoryCache::new(8),
        came: AtomicUsize::new(0),
        used: AtomicUsize::new(0),
    });
    let mut tls = scene.tls_config(&["h3"]);
    tls.enable_early_data = true;
    tls.resumption = Resumption::store(tickets.clone());
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let first = soon(endpoint.connect_with(config.clone(), scene.addr, HOST).unwrap()).await;
    soon(async {
        while tickets.came.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    first.unwrap().close(0u32.into(), b"");
    let Err(connecting) = endpoint.connect_with(config, scene.addr, HOST).unwrap().into_0rtt() else {
        panic!("the ticket permits early data");
    };
    soon(connecting).await.unwrap();
    assert_eq!(tickets.used.load(Relaxed), 1, "it was resumed");
}
