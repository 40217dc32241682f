//! HTTP/2 streams over TLS on TCP: the link where UDP does not pass.
//!
//! Only an HTTP/2 client opens streams, and the exit node is who opens them: it is the client on the connection that the
//! agent dialled. Its first request is the control stream. A stream that is given up carries the HAWSE number in RST_STREAM.
//! h2 sends no GOAWAY with words of ours, so a connection is closed by trailers on the control stream (closing.rs): they
//! arrive behind every frame sent before. Whoever reads them hangs up.
//!
//! Generic over the bytes below, so that the tests need no network. Made by server/tcp.rs and dial/tcp.rs.

mod closing;
mod driver;
mod halves;
mod meter;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use self::halves::{RecvHalf, SendHalf};
use self::meter::{Count, Meter};
use super::{Broken, End};
use crate::limits;

/// What a connection runs on.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// The control stream, from the side that has it.
pub(crate) type Control = (super::SendHalf, super::RecvHalf);

/// Clones are the same connection; it is cut when the last one goes.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Arc<Shared>);

struct Shared {
    side: Side,
    /// The sending half of the control stream: frames, and what we close with.
    control: Mutex<h2::SendStream<Bytes>>,
    /// Why it is over; set once.
    end: watch::Sender<Option<End>>,
    /// Closed when the driver has ended.
    driven: watch::Receiver<()>,
    count: Arc<Count>,
    round_trip: Duration,
    /// Owns the driver.
    driver: Mutex<JoinSet<()>>,
}

enum Side {
    ExitNode(SendRequest<Bytes>),
    Agent(tokio::sync::Mutex<mpsc::Receiver<super::Stream>>),
}

impl Connection {
    /// The exit node's side; resolves when the agent has answered the control stream. Cancel safe: it is cut.
    pub(crate) async fn client(io: impl Io) -> Result<(Self, Control), h2::Error> {
        let (io, count) = Meter::new(io);
        let (mut requests, connection) = driver::client_settings().handshake(io).await?;
        let (end, mut driver) = (watch::Sender::new(None), JoinSet::new());
        let driven = driver::spawn(&mut driver, &end, driver::Peer::Agent(Box::new(connection)));
        let asked = Instant::now();
        let (answer, send) = requests.send_request(request(), false)?;
        let body = answer.await?.into_body();
        let connection = Self(Arc::new(Shared {
            side: Side::ExitNode(requests),
            control: Mutex::new(send),
            end: end.clone(),
            driven,
            count,
            round_trip: asked.elapsed(),
            driver: Mutex::new(driver),
        }));
        let control = connection.control(RecvHalf::control(body, end));
        Ok((connection, control))
    }

    /// The agent's side; resolves when the exit node has opened the control stream, which proves that it took our
    /// certificate. `round_trip` is what connecting took. Cancel safe: it is cut.
    pub(crate) async fn server(io: impl Io, round_trip: Duration) -> Result<(Self, Control), h2::Error> {
        let (io, count) = Meter::new(io);
        let mut connection = driver::server_settings().handshake(io).await?;
        let first = connection.accept().await;
        let (request, mut answer) = first.unwrap_or_else(|| Err(h2::Reason::NO_ERROR.into()))?;
        let send = answer.send_response(http::Response::new(()), false)?;
        let (end, mut driver) = (watch::Sender::new(None), JoinSet::new());
        let (accepted, streams) = mpsc::channel(limits::STREAMS_PER_LINK as usize);
        let driven = driver::spawn(
            &mut driver,
            &end,
            driver::Peer::ExitNode(Box::new(connection), accepted),
        );
        let connection = Self(Arc::new(Shared {
            side: Side::Agent(streams.into()),
            control: Mutex::new(send),
            end: end.clone(),
            driven,
            count,
            round_trip,
            driver: Mutex::new(driver),
        }));
        let control = connection.control(RecvHalf::control(request.into_body(), end));
        Ok((connection, control))
    }

    /// A stream; the caller keeps within `limits::STREAMS_PER_LINK`. Cancel safe.
    pub(super) async fn open(&self) -> Result<super::Stream, Broken> {
        let Side::ExitNode(requests) = &self.0.side else {
            return Err(Broken::Lost("an agent opens no streams".to_owned()));
        };
        let mut requests = requests.clone().ready().await.map_err(|why| halves::broken(&why))?;
        let (answer, send) = requests
            .send_request(request(), false)
            .map_err(|why| halves::broken(&why))?;
        Ok(halves::pair(SendHalf::new(send), RecvHalf::answer(answer)))
    }

    /// The next stream of the exit node. Cancel safe.
    pub(super) async fn accept(&self) -> Option<super::Stream> {
        let Side::Agent(streams) = &self.0.side else {
            return None;
        };
        let mut streams = streams.lock().await;
        tokio::select! {
            stream = streams.recv() => stream,
            _ = self.closed() => None,
        }
    }

    /// Cancel safe.
    pub(super) async fn closed(&self) -> End {
        let mut end = self.0.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| end.clone()).unwrap_or(End::Us)
    }

    pub(super) fn close(&self, code: u32, reason: &str) {
        if driver::set(&self.0.end, End::Us) {
            let _ = self.sending().send_trailers(closing::trailers(code, reason)); // an error: it is over already
        }
    }

    pub(super) fn abandon(&self) {
        driver::set(&self.0.end, End::Us);
        self.0.driver.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Cancel safe.
    pub(super) async fn settled(&self) {
        let mut driven = self.0.driven.clone();
        while driven.changed().await.is_ok() {}
    }

    pub(super) fn heard(&self) -> u64 {
        self.0.count.heard()
    }

    pub(super) fn sent(&self) -> u64 {
        self.0.count.sent()
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.0.round_trip
    }

    fn control(&self, recv: RecvHalf) -> Control {
        halves::pair(SendHalf::control(self.clone()), recv)
    }

    fn sending(&self) -> MutexGuard<'_, h2::SendStream<Bytes>> {
        self.0.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("tcp::Connection").finish_non_exhaustive()
    }
}

/// Every stream is the same request: what it is for stands in its first bytes, as over QUIC.
fn request() -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static("https://hawse/");
    request
}

#[cfg(test)]
mod tests;
