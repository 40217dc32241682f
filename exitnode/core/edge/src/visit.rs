//! What is known of a request at each height of the stack: `Arrival` -> `Visit` (it is valid) -> `Routed` (it has a tunnel).
//!
//! The types carry the order: no layer can ask for a tunnel above the one that finds it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::sync::Notify;

use crate::{
    access::{Identity, Visitor},
    body::Body,
    caps,
    certs::Certificate,
    gate::Place,
    proxies::{self, Trusted},
    route::Tunnel,
    rules::Authority,
};

/// Which HTTP the visitor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    Http3,
}

/// One TLS connection of a visitor.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    /// Its address as apps are told it: made once for all requests.
    peer_text: HeaderValue,
    pub(crate) protocol: Protocol,
    /// The name that the visitor asked for in the handshake, lower case.
    pub(crate) sni: Option<String>,
    pub(crate) certificate: Arc<Certificate>,
    /// `peer` is a load balancer whose X-Forwarded-For counts.
    trusted: Option<Arc<Trusted>>,
    /// Its place under the caps; a WebSocket keeps it after hyper is done with the connection.
    _place: caps::Place,
    active: AtomicU64,
    started: AtomicU64,
    first: Notify,
    upgraded: AtomicBool,
    unsent: AtomicBool,
}

impl Connection {
    pub(crate) fn new(
        (peer, place): (SocketAddr, caps::Place),
        protocol: Protocol,
        sni: Option<String>,
        (certificate, trusted): (Arc<Certificate>, Option<Arc<Trusted>>),
    ) -> Arc<Self> {
        let (active, started, upgraded) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let unsent = AtomicBool::new(false);
        let peer_text = value(peer.ip().to_canonical().to_string().as_bytes());
        Arc::new(Self {
            peer,
            peer_text,
            protocol,
            sni,
            certificate,
            trusted,
            _place: place,
            active,
            started,
            first: Notify::new(),
            upgraded,
            unsent,
        })
    }

    /// Whose request this is: the peer, or who a load balancer says it is.
    pub(crate) fn visitor(&self, headers: &HeaderMap) -> IpAddr {
        let trusted = self.trusted.as_ref();
        trusted.map_or(self.peer.ip(), |trusted| trusted.visitor(headers, self.peer.ip()))
    }

    /// X-Forwarded-For for the app.
    pub(crate) fn forwarded_for(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        match &self.trusted {
            Some(_) => proxies::extended(headers, self.peer.ip()),
            None => Some(self.peer_text.clone()),
        }
    }

    /// Requests that run now.
    pub(crate) fn active(&self) -> u64 {
        self.active.load(Relaxed)
    }

    /// Requests that ever began: tells an idle connection from a busy one between two looks.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Relaxed)
    }

    /// Over HTTP/2: bytes wait for the visitor to take them.
    pub(crate) fn set_unsent(&self, unsent: bool) {
        self.unsent.store(unsent, Relaxed);
    }

    /// No request runs, no WebSocket lives, and the last answer is on its way. HTTP/2 only.
    pub(crate) fn is_done(&self) -> bool {
        self.active() == 0 && !self.is_upgraded() && !self.unsent.load(Relaxed)
    }

    /// Resolves when there has been a request. For one waiter. Cancel safe.
    pub(crate) async fn first_request(&self) {
        if self.started() == 0 {
            self.first.notified().await;
        }
    }

    /// From now on it carries a WebSocket.
    pub(crate) fn set_upgraded(&self) {
        self.upgraded.store(true, Relaxed);
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Relaxed)
    }

    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        self.active.fetch_add(1, Relaxed);
        if self.started.fetch_add(1, Relaxed) == 0 {
            self.first.notify_one();
        }
        Running(self.clone())
    }
}

/// One running request of a connection; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Connection>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

/// 32 hex digits, shown to the visitor and to the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// For text that is fit for a field's value by its making.
fn value(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static(""))
}

/// The field that tells app and visitor a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-hawse-request-id");

/// Makes request ids. They need to be unique, not secret: SplitMix64 costs 2 ns, a cryptographic source 500.
#[derive(Debug)]
pub(crate) struct RequestIds {
    seed: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        let (high, low) = seed.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        Self {
            seed: number(high),
            next: AtomicU64::new(number(low)),
        }
    }

    pub(crate) fn next(&self) -> RequestId {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let n = self.next.fetch_add(STEP, Relaxed);
        let wide = (u128::from(mix(n ^ self.seed)) << 64) | u128::from(mix(n.wrapping_add(self.seed)));
        let mut text = [0; 32];
        for (at, digit) in text.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(wide >> (124 - 4 * at)) as usize & 15];
        }
        RequestId(value(&text))
    }
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A request as the front end got it.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) connection: Arc<Connection>,
    pub(crate) request_id: RequestId,
    pub(crate) request: Request<Body>,
}

/// A request that keeps the rules, and the host it asks for.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) connection: Arc<Connection>,
    pub(crate) request_id: RequestId,
    pub(crate) authority: Authority,
    pub(crate) request: Request<Body>,
}

/// A request and the tunnel that it belongs to.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) connection: Arc<Connection>,
    pub(crate) request_id: RequestId,
    pub(crate) authority: Authority,
    pub(crate) tunnel: Arc<Tunnel>,
    /// Who sends it, if a policy had that proved. What answers it is for nobody else.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Held by whatever still works for the request: the answer's body, a WebSocket.
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) request: Request<Body>,
}

impl Routed {
    /// Who asks, for the policies of the tunnel.
    pub(crate) fn visitor(&self) -> Visitor<'_> {
        let headers = self.request.headers();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Visitor {
            address: self.connection.visitor(headers),
            headers,
            hostname: &self.tunnel.hostname,
            tunnel_uid: &self.tunnel.uid,
            wall_clock: since.map_or(0, |since| since.as_secs()),
        }
    }
}

/// Counts a request as in flight until the last holder drops it, and holds its place at the app for as long.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) tunnel: Arc<Tunnel>,
    place: OnceLock<Place>,
    is_visitors: bool,
}

impl Ticket {
    pub(crate) fn new(tunnel: Arc<Tunnel>) -> Arc<Self> {
        tunnel.counters.enter();
        Arc::new(Self {
            tunnel,
            place: OnceLock::new(),
            is_visitors: true,
        })
    }

    /// Of a request of the edge's own on behalf of visitors, who are counted by theirs.
    pub(crate) fn of_fetch(tunnel: Arc<Tunnel>) -> Arc<Self> {
        Arc::new(Self {
            tunnel,
            place: OnceLock::new(),
            is_visitors: false,
        })
    }

    /// The request is admitted.
    pub(crate) fn hold(&self, place: Place) {
        let _ = self.place.set(place); // a second place would only go back
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_visitors {
            self.tunnel.counters.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_hex_and_don_t_repeat() {
        let ids = RequestIds::new([7; 16]);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let id = ids.next();
            assert!(id.as_str().len() == 32 && id.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
            assert!(seen.insert(id.as_str().to_owned()));
        }
    }
}
