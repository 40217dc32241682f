//! The exit node's end of a stream to an app: opening one, and the bytes with what the agent said when it refused.
//!
//! Over another exit node a stream is there once that one has said so with a byte; before, nothing has reached any app.
//! Dropping a stream that was not ended resets it, so that the app sees a broken request and not a short one. Called by
//! hub.rs; used by the edge through hawse-core.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hawse_proto::{codes, stream_open};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::limits::{OPEN_TIMEOUT, PEER_TIMEOUT};
use crate::link::{Counters, Path, Role};
use crate::transport::{Broken, RecvHalf, SendHalf, Stream};

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No link serves the tunnel.
    #[error("no agent is connected for this tunnel")]
    NoAgent,
    /// The last link that was tried, and why it gave none.
    #[error("{0}")]
    LinkLost(String),
}

/// What an exit node says first on a stream of another one, once it has one to the app.
pub(crate) const ACCEPTED: Bytes = Bytes::from_static(&[1]);

/// Numbers of an agent that was reached and could not connect: what another exit node says of it is not its own word.
const OF_AGENTS: [u32; 3] = [
    codes::APP_REFUSED.number,
    codes::APP_TIMED_OUT.number,
    codes::APP_CLOSED.number,
];

/// Opens a stream on the first of `paths` that can: nothing was sent to the app before, so trying the next is safe.
/// Cancel safe: a stream that was half open is reset.
pub(crate) async fn open(paths: &[Path], tunnel_uid: &str, visitor: SocketAddr) -> Result<AppStream, OpenError> {
    let opening = stream_open::build(tunnel_uid, visitor).map_err(|why| OpenError::LinkLost(why.to_string()))?;
    let mut last = OpenError::NoAgent;
    for (number, path) in paths.iter().enumerate() {
        let is_peer = path.link.role == Role::ToPeer;
        let limit = if is_peer && number + 1 < paths.len() {
            PEER_TIMEOUT
        } else {
            OPEN_TIMEOUT
        };
        match timeout(limit, open_on(path, opening.clone())).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(OpenError::NoAgent)) => {}
            Ok(Err(why)) => last = why,
            Err(_) if is_peer => {
                path.link.ask_now.notify_one();
                last = OpenError::LinkLost("another exit node gave no stream to the agent".to_owned());
            }
            Err(_) => last = OpenError::LinkLost("the agent has no room for another stream".to_owned()),
        }
    }
    Err(last)
}

async fn open_on(path: &Path, opening: Bytes) -> Result<AppStream, OpenError> {
    let link = &path.link;
    let place = link.room.clone().acquire_owned().await;
    let place = place.map_err(|_| OpenError::LinkLost("the link is closing".to_owned()))?;
    let halves = link.connection.open().await?;
    let mut stream = AppStream::new(halves, path.clone(), place);
    stream.send.write(opening).await?;
    if link.role == Role::ToPeer {
        Box::pin(stream.await_acceptance()).await?;
    }
    Ok(stream)
}

impl From<Broken> for OpenError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Given(code) if code == codes::NO_AGENT.number => Self::NoAgent,
            broken => Self::LinkLost(broken.to_string()),
        }
    }
}

/// One connection to the app, as the edge sees it.
#[derive(Debug)]
pub struct AppStream {
    send: SendHalf,
    recv: RecvHalf,
    path: Path,
    reset: Option<u32>,
    sent_all: bool,
    _place: OwnedSemaphorePermit,
}

impl AppStream {
    fn new((send, recv): Stream, path: Path, place: OwnedSemaphorePermit) -> Self {
        let counters = &path.link.counters;
        counters.streams_open.fetch_add(1, Relaxed);
        counters.streams_total.fetch_add(1, Relaxed);
        Self {
            send,
            recv,
            path,
            reset: None,
            sent_all: false,
            _place: place,
        }
    }

    /// After a read or write error: the HAWSE number with which the agent reset the stream, if it did.
    #[must_use]
    pub fn reset_code(&self) -> Option<u32> {
        self.reset
    }

    /// What it runs over.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Over another exit node: until it has a stream to the agent. Cancel safe.
    async fn await_acceptance(&mut self) -> Result<(), OpenError> {
        match self.recv.read(ACCEPTED.len()).await {
            Ok(Some(byte)) if byte == ACCEPTED => Ok(()),
            Ok(_) => Err(OpenError::LinkLost(
                "the other exit node has not accepted it".to_owned(),
            )),
            // The byte came with the reset, which overtakes it: whoever reads or writes is told.
            Err(Broken::Given(code)) if OF_AGENTS.contains(&code) => {
                self.reset = Some(code);
                Ok(())
            }
            Err(why) => Err(why.into()),
        }
    }

    /// To the app, and from it.
    pub(crate) fn halves(&mut self) -> (&mut SendHalf, &mut RecvHalf) {
        (&mut self.send, &mut self.recv)
    }

    /// What was done through `halves` is over, with this number; what was not sent whole is broken.
    pub(crate) fn end(mut self, sent_all: bool, code: u32) {
        self.sent_all = sent_all;
        if !sent_all {
            self.send.reset(code);
        }
        self.recv.stop(code);
    }

    fn counters(&self) -> &Counters {
        &self.path.link.counters
    }

    fn note(&mut self, broken: Broken) -> io::Error {
        if let Broken::Given(code) = broken {
            self.reset = Some(code).filter(|code| *code != 0);
        }
        broken.into()
    }
}

impl AsyncRead for AppStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(code) = self.reset {
            return Poll::Ready(Err(Broken::Given(code).into()));
        }
        let before = buf.filled().len();
        let outcome = ready!(self.recv.poll_read(cx, buf));
        self.counters()
            .bytes_out
            .fetch_add((buf.filled().len() - before) as u64, Relaxed);
        Poll::Ready(outcome.map_err(|broken| self.note(broken)))
    }
}

impl AsyncWrite for AppStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(code) = self.reset {
            return Poll::Ready(Err(Broken::Given(code).into()));
        }
        let outcome = ready!(self.send.poll_write(cx, buf));
        let written = outcome.map_err(|broken| self.note(broken))?;
        self.counters().bytes_in.fetch_add(written as u64, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends our direction only: the answer can still be read.
    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sent_all = true;
        self.send.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for AppStream {
    fn drop(&mut self) {
        self.counters().streams_open.fetch_sub(1, Relaxed);
        if !self.sent_all {
            self.send.reset(0);
        }
        self.recv.stop(0);
    }
}
