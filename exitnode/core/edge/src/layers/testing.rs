//! What the layers' tests share: a connection, a tunnel, requests at each height, and a service made of a closure.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hawse_proto::ir;
use http::Request;
use tower::service_fn;

use super::Outcome;
use crate::{
    body::Body,
    caps::Caps,
    dial::{AppStream, DialError, Dialer, Path},
    fault::Fault,
    route::{Routes, Tunnel},
    rules::Authority,
    shared::Shared,
    visit::{Arrival, Connection, Protocol, RequestIds, Routed, Ticket, Visit},
};

pub(crate) const HOST: &str = "shop.t.example";

/// A dialer without agents.
#[derive(Debug, Clone)]
pub(crate) struct NoDialer;

impl Dialer for NoDialer {
    type Stream = tokio::io::DuplexStream;

    async fn open(&self, _: &str, _: SocketAddr) -> Result<Self::Stream, DialError> {
        Err(DialError::NoAgent)
    }

    fn last_seen(&self, _: &str) -> Option<Duration> {
        None
    }
}

impl Path for () {
    fn is_current(&self) -> bool {
        true
    }
}

impl AppStream for tokio::io::DuplexStream {
    fn reset_code(&self) -> Option<u32> {
        None
    }

    fn path(&self) -> Arc<dyn Path> {
        Arc::new(())
    }
}

/// Shared state with a certificate for `*.t.example`.
pub(crate) fn shared() -> Arc<Shared> {
    let shared = Arc::new(Shared::default());
    let made = rcgen::generate_simple_self_signed(vec!["*.t.example".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    shared
        .certificates
        .put(&provider, "c", chain.as_bytes(), key.as_bytes())
        .unwrap();
    shared
}

pub(crate) fn connection(shared: &Arc<Shared>, sni: &str) -> Arc<Connection> {
    let place = Caps::new(shared.clone(), 10, 10).enter([127, 0, 0, 1].into()).unwrap();
    let certificate = shared.certificates.find(Some(HOST)).unwrap();
    let peer = SocketAddr::from(([203, 0, 113, 7], 5000));
    Connection::new(
        (peer, place),
        Protocol::Http1,
        Some(sni.to_owned()),
        (certificate, None),
    )
}

pub(crate) fn tunnel_ir() -> ir::Tunnel {
    ir::Tunnel {
        uid: "u1".into(),
        hostname: HOST.into(),
        target: Some(ir::tunnel::Target::Agent(ir::AgentTarget { token_uid: "t1".into() })),
        ..ir::Tunnel::default()
    }
}

pub(crate) fn tunnel(change: impl FnOnce(&mut ir::Tunnel)) -> Arc<Tunnel> {
    let routes = Routes::default();
    let mut tunnel = tunnel_ir();
    change(&mut tunnel);
    routes.apply(tunnel).unwrap();
    routes.find(HOST).unwrap()
}

pub(crate) fn arrival(shared: &Arc<Shared>, request: Request<Body>) -> Arrival {
    let request_id = RequestIds::new([1; 16]).next();
    Arrival {
        connection: connection(shared, HOST),
        request_id,
        request,
    }
}

pub(crate) fn visit(shared: &Arc<Shared>, host: &str, request: Request<Body>) -> Visit {
    let Arrival {
        connection,
        request_id,
        request,
    } = arrival(shared, request);
    let authority = Authority {
        host: host.to_owned(),
        text: host.parse().unwrap(),
    };
    Visit {
        connection,
        request_id,
        authority,
        request,
    }
}

pub(crate) fn routed(tunnel: &Arc<Tunnel>, request: Request<Body>) -> Routed {
    let Visit {
        connection,
        request_id,
        authority,
        request,
    } = visit(&shared(), HOST, request);
    let ticket = Ticket::new(tunnel.clone());
    Routed {
        connection,
        request_id,
        authority,
        tunnel: tunnel.clone(),
        identity: None,
        ticket,
        request,
    }
}

/// A body fed by a channel.
pub(crate) struct Fed(pub(crate) tokio::sync::mpsc::Receiver<bytes::Bytes>);

impl http_body::Body for Fed {
    type Data = bytes::Bytes;
    type Error = crate::body::BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        self.get_mut()
            .0
            .poll_recv(cx)
            .map(|bytes| bytes.map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

/// A service below the layer under test.
pub(crate) fn below<R, F>(
    answer: impl Fn(R) -> F + Clone,
) -> impl tower::Service<R, Response = http::Response<Body>, Error = Fault, Future = F> + Clone
where
    F: Future<Output = Outcome>,
{
    service_fn(answer)
}

/// The same above the rescue layer, where nothing fails.
pub(crate) fn below_nothing<R, F>(
    answer: impl Fn(R) -> F + Clone,
) -> impl tower::Service<R, Response = http::Response<Body>, Error = Infallible, Future = F> + Clone
where
    F: Future<Output = Result<http::Response<Body>, Infallible>>,
{
    service_fn(answer)
}
