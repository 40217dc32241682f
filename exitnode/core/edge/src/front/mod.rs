//! The front ends: from an accepted socket to requests in the stack. ALPN chooses HTTP/1.1 or HTTP/2; HTTP/3 is in h3/.
//!
//! Sets every limit that hyper offers (limits.rs); those it lacks are wrappers of our own: half_close (HTTP/1.1), meter
//! (HTTP/2), reader (all). Decides nothing about a request.

mod bucket;
mod h3;
mod half_close;
mod meter;
mod reader;
mod tls;

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use http::{HeaderValue, Request, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ServerConfig, server::Acceptor};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

#[cfg(feature = "fuzzing")]
pub use self::h3::h3_sieve;
pub(crate) use self::{
    h3::Entrance,
    tls::{Alpn, server_config},
};
use self::{
    half_close::HalfClose,
    meter::Metered,
    reader::{OwedBody, StreamExecutor},
};
use crate::{
    announced,
    body::{self, Body},
    caps::{Doors, Guest, Place},
    layers::{After, Then},
    limits::{self, Limits},
    patience::Stalling,
    shared::Shared,
    stack::{Answering, Stack},
    stalls::Stalls,
    tasks::Tasks,
    visit::{Arrival, Connection, Protocol, RequestIds, Running},
};

/// What all connections of a listener share.
pub(crate) struct Front {
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) stack: Stack,
    pub(crate) doors: Doors,
    pub(crate) ids: RequestIds,
    pub(crate) tasks: Tasks,
    /// HTTP/3 is served at the same port; answers of the other protocols say so.
    pub(crate) http3: bool,
    /// Answers over HTTP/3 that were sent whole and have not all arrived.
    pub(crate) tails: Stalls,
}

impl Front {
    /// Hears from a load balancer whose connection this is, then serves it. Not cancel safe, as `serve`.
    pub(crate) async fn hear(
        self: Arc<Self>,
        mut socket: TcpStream,
        (proxy, waiting): (SocketAddr, Place),
        drain: watch::Receiver<bool>,
    ) {
        let heard = timeout(self.limits.handshake_timeout, announced::read(&mut socket)).await;
        let Ok(Ok(announced)) = heard else {
            self.shared.totals.handshakes_failed.fetch_add(1, Relaxed);
            return;
        };
        let visitor = announced.unwrap_or(proxy);
        if let Some(guest) = self.doors.enter(visitor.ip()) {
            drop(waiting);
            self.serve(socket, (visitor, guest), drain).await;
        }
    }

    /// Serves one connection until it ends. `drain` turns true when the listener stops. Not cancel safe: dropping it cuts
    /// the connection and its requests off.
    pub(crate) async fn serve(
        self: Arc<Self>,
        socket: TcpStream,
        from: (SocketAddr, Guest),
        mut drain: watch::Receiver<bool>,
    ) {
        let greeted = tokio::select! {
            greeted = timeout(self.limits.handshake_timeout, self.greet(socket, from)) => greeted,
            () = too_late(&mut drain) => Ok(Greeted::Gone),
        };
        let (stream, connection) = match greeted.unwrap_or(Greeted::Failed) {
            Greeted::Visitor(stream, connection) => (stream, connection),
            Greeted::Gone => return,
            Greeted::Failed => {
                self.shared.totals.handshakes_failed.fetch_add(1, Relaxed);
                return;
            }
        };
        match connection.protocol {
            Protocol::Http2 => Box::pin(self.http2(stream, connection, drain)).await,
            _ => Box::pin(self.http1(stream, connection, drain)).await,
        }
    }

    /// Hears whose the connection is: an agent's is handed over, a visitor's handshake is done.
    async fn greet(&self, socket: TcpStream, (peer, guest): (SocketAddr, Guest)) -> Greeted {
        let Ok(start) = LazyConfigAcceptor::new(Acceptor::default(), socket).await else {
            return Greeted::Failed;
        };
        let Some(start) = self.shared.agents.hand_over((start, peer)) else {
            self.doors.leave(&guest);
            return Greeted::Gone;
        };
        let Some(place) = guest.visitor() else {
            return Greeted::Gone; // counted as refused when it came
        };
        match self.handshake(start, (peer, place)).await {
            Some((stream, connection)) => Greeted::Visitor(stream, connection),
            None => Greeted::Failed,
        }
    }

    async fn handshake(
        &self,
        start: StartHandshake<TcpStream>,
        from: (SocketAddr, Place),
    ) -> Option<(TlsStream<TcpStream>, Arc<Connection>)> {
        let stream = start.into_stream(self.tls.clone()).await.ok()?;
        let (_, session) = stream.get_ref();
        let sni = session
            .server_name()
            .map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let protocol = if session.alpn_protocol() == Some(b"h2") {
            Protocol::Http2
        } else {
            Protocol::Http1
        };
        // rustls doesn't tell which certificate it used; a change since then has the same names.
        let certificate = self.shared.certificate(sni.as_deref())?;
        let trusted = self.shared.proxies.around(from.0.ip());
        Some((stream, Connection::new(from, protocol, sni, (certificate, trusted))))
    }

    async fn http1(
        self: Arc<Self>,
        stream: TlsStream<TcpStream>,
        connection: Arc<Connection>,
        drain: watch::Receiver<bool>,
    ) {
        let io = TokioIo::new(HalfClose::new(stream, connection.clone()));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            // Twice what is taken: hyper's own 431 has no code and no page, so the strict layer refuses before it.
            .max_headers(2 * self.limits.headers)
            .max_header_size(2 * self.limits.header_bytes)
            .max_buf_size(limits::H1_BUFFER_BYTES.max(2 * self.limits.header_bytes))
            // The wrapper hands an end on when it counts; hyper then gives the request up.
            .half_close(false)
            .serve_connection(io, self.service(&connection))
            .with_upgrades();
        Box::pin(Stalling::new(drive(served, &connection, drain), &self.shared.stalls)).await;
    }

    async fn http2(
        self: Arc<Self>,
        stream: TlsStream<TcpStream>,
        connection: Arc<Connection>,
        drain: watch::Receiver<bool>,
    ) {
        let io = TokioIo::new(Metered::new(stream, connection.clone()));
        let served = http2::Builder::new(StreamExecutor::new(&self.tasks, &self.shared.stalls))
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams)
            .initial_stream_window_size(limits::H2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
            .max_frame_size(limits::H2_FRAME_BYTES)
            .max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(limits::H2_SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(limits::H2_PENDING_RESETS)
            .max_local_error_reset_streams(limits::H2_LOCAL_RESETS)
            .keep_alive_interval(limits::H2_PING_INTERVAL)
            .keep_alive_timeout(limits::H2_PING_TIMEOUT)
            .enable_connect_protocol()
            .serve_connection(io, self.service(&connection));
        // hyper's HTTP/2 server is large; on the heap it doesn't make every connection's task as large.
        Box::pin(drive(served, &connection, drain)).await;
    }

    fn service(self: &Arc<Self>, connection: &Arc<Connection>) -> Requests {
        Requests {
            front: self.clone(),
            connection: connection.clone(),
            alt_svc: self.http3.then(|| self.shared.alt_svc()).flatten(),
        }
    }
}

/// What became of a new connection.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
enum Greeted {
    Visitor(TlsStream<TcpStream>, Arc<Connection>),
    /// An agent, or more than there is room for.
    Gone,
    Failed,
}

/// hyper's service of one connection.
struct Requests {
    front: Arc<Front>,
    connection: Arc<Connection>,
    /// Where HTTP/3 is served, if it is.
    alt_svc: Option<HeaderValue>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = After<Answering, Owned>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let running = self.connection.begin();
        let arrival = Arrival {
            connection: self.connection.clone(),
            request_id: self.front.ids.next(),
            request: request.map(body::incoming),
        };
        let owned = Owned {
            alt_svc: self.alt_svc.clone(),
            running,
        };
        After::new(self.front.stack.call(arrival), owned)
    }
}

/// What is added to an answer on its way out, and what its body holds.
struct Owned {
    alt_svc: Option<HeaderValue>,
    running: Running,
}

impl Then<Result<Response<Body>, Infallible>> for Owned {
    type Out = Result<Response<Body>, Infallible>;

    fn then(self, answer: Self::Out) -> Self::Out {
        answer.map(|mut response| {
            if let Some(alt_svc) = self.alt_svc {
                response.headers_mut().insert(header::ALT_SVC, alt_svc);
            }
            if response.is_end_stream() {
                return response;
            }
            response.map(|body| OwedBody::new(body, self.running).boxed_unsync())
        })
    }
}

/// A connection that can be told to finish: no new requests, those that run go on.
trait Finish: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

impl<I, S> Finish for http1::UpgradeableConnection<I, S>
where
    Self: Future<Output = hyper::Result<()>>,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Finish for http2::Connection<I, S, StreamExecutor>
where
    Self: Future<Output = hyper::Result<()>>,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Resolves when a handshake that is not done would only hold up a listener that drains.
async fn too_late(drain: &mut watch::Receiver<bool>) {
    let _ = drain.wait_for(|draining| *draining).await;
    sleep(limits::DRAIN_FIRST_REQUEST).await;
}

/// Resolves when the listener drains, for a visitor over HTTP/1.1 that has only just connected once its first request is
/// there: closed before, it would get no answer at all, and could not tell that from a lost one. (HTTP/2 has GOAWAY for it.)
async fn draining(drain: &mut watch::Receiver<bool>, connection: &Connection) {
    let _ = drain.wait_for(|draining| *draining).await;
    if connection.protocol == Protocol::Http1 {
        let _ = timeout(limits::DRAIN_FIRST_REQUEST, connection.first_request()).await;
    }
}

/// Drives a connection to its end; asks it to finish when the listener drains or nothing was asked for too long.
async fn drive(served: impl Finish, connection: &Connection, mut drain: watch::Receiver<bool>) {
    let mut served = pin!(served);
    let mut finishing = false;
    let mut seen = connection.started();
    let mut look = Instant::now() + limits::CONNECTION_IDLE;
    loop {
        tokio::select! {
            // How it ended concerns nobody: faults were answered, the rest is the visitor leaving.
            _ = served.as_mut() => return,
            () = draining(&mut drain, connection), if !finishing => {}
            () = sleep_until(look), if !finishing => {
                if connection.active() > 0 || connection.started() != seen {
                    seen = connection.started();
                    look = Instant::now() + limits::CONNECTION_IDLE;
                    continue;
                }
            }
            () = done(connection), if finishing => return,
        }
        finishing = true;
        served.as_mut().finish();
    }
}

/// Resolves when a connection that was told to finish has nothing to finish: over HTTP/2 only its visitor can end it in order.
async fn done(connection: &Connection) {
    if connection.protocol != Protocol::Http2 {
        return pending().await;
    }
    let mut since = Instant::now();
    while since.elapsed() < limits::H2_GOODBYE {
        sleep(limits::H2_GOODBYE / 4).await;
        if !connection.is_done() {
            since = Instant::now();
        }
    }
}
