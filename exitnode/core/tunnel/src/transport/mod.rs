//! What a link runs over: QUIC (quic.rs), or HTTP/2 on TLS on TCP (tcp/). Same streams, same numbers, one face.
//!
//! A stream has two halves. Each ends in order, or is given up with the number of a HAWSE code (0: without one); the other
//! half goes on where the transport can do that. Bytes wait only within the windows of limits.rs. Nothing outside this
//! folder names quinn's or h2's streams. Called by link.rs, stream.rs, agent.rs and splice.rs.

mod quic;
pub(crate) mod tcp;

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hawse_proto::core::Transport;
use tokio::io::ReadBuf;

use crate::limits::{PEER_CONNECTION_WINDOW_BYTES, PEER_SEND_WINDOW_BYTES, STREAMS_PER_PEER};
use crate::probe::Signs;

/// A connection between agent and exit node. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) enum Connection {
    Quic(quinn::Connection),
    Tcp(tcp::Connection),
}

/// Both halves of a stream.
pub(crate) type Stream = (SendHalf, RecvHalf);

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// We closed it.
    Us,
    /// The peer did, with a HAWSE number or 0.
    Peer { code: u32, reason: String },
    /// The peer lives and does not know the connection: its process was started again.
    Forgotten,
    /// Nothing was heard for the transport's own limit.
    Silence,
    /// The network or the peer's system; in its words.
    Failed(String),
}

/// Why half a stream gives no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The peer gave it up; 0 is no code.
    Given(u32),
    /// The connection is gone.
    Lost(String),
}

impl Connection {
    /// Opens a stream; waits while the peer permits no more. Exit node. Cancel safe.
    pub(crate) async fn open(&self) -> Result<Stream, Broken> {
        match self {
            Self::Quic(connection) => quic::open(connection).await,
            Self::Tcp(connection) => connection.open().await,
        }
    }

    /// The next stream of the peer, until the connection is over. Agent. Cancel safe.
    pub(crate) async fn accept(&self) -> Option<Stream> {
        match self {
            Self::Quic(connection) => quic::accept(connection).await,
            Self::Tcp(connection) => connection.accept().await,
        }
    }

    /// Exit node: the peer is another one, which may open streams from now on; its visitors' bytes need room.
    pub(crate) fn widen(&self) {
        if let Self::Quic(connection) = self {
            connection.set_receive_window(PEER_CONNECTION_WINDOW_BYTES.into());
            connection.set_send_window(PEER_SEND_WINDOW_BYTES);
            connection.set_max_concurrent_bi_streams((STREAMS_PER_PEER + 1).into()); // and the control stream
        }
    }

    /// Resolves when the connection is over. Cancel safe.
    pub(crate) async fn closed(&self) -> End {
        match self {
            Self::Quic(connection) => quic::end(&connection.closed().await),
            // On the heap: several wait for it on each link, and those over QUIC need no room for it.
            Self::Tcp(connection) => Box::pin(connection.closed()).await,
        }
    }

    /// Closes it and tells the peer why. Over TCP that goes out behind what was sent before, within `CLOSE_GRACE`.
    pub(crate) fn close(&self, code: u32, reason: &str) {
        match self {
            Self::Quic(connection) => connection.close(code.into(), reason.as_bytes()),
            Self::Tcp(connection) => connection.close(code, reason),
        }
    }

    /// Closes it though the peer will not hear of it: every stream breaks at once.
    pub(crate) fn abandon(&self, reason: &str) {
        match self {
            Self::Quic(connection) => connection.close(0u32.into(), reason.as_bytes()),
            Self::Tcp(connection) => connection.abandon(),
        }
    }

    /// After `close`: resolves when the peer has been told, within `CLOSE_GRACE`. quinn's endpoint sees to it by
    /// itself. Cancel safe.
    pub(crate) async fn settled(&self) {
        if let Self::Tcp(connection) = self {
            connection.settled().await;
        }
    }

    /// What says that the peer lives.
    pub(crate) fn signs(&self) -> Signs {
        match self {
            Self::Quic(connection) => {
                let stats = connection.stats();
                Signs {
                    heard: stats.udp_rx.datagrams,
                    sent: stats.udp_tx.datagrams,
                }
            }
            Self::Tcp(connection) => Signs {
                heard: connection.heard(),
                sent: connection.sent(),
            },
        }
    }

    /// Of QUIC the current estimate, of TCP what the opening took.
    pub(crate) fn round_trip(&self) -> Duration {
        match self {
            Self::Quic(connection) => connection.rtt(),
            Self::Tcp(connection) => connection.round_trip(),
        }
    }

    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Quic(_) => Transport::Quic,
            Self::Tcp(_) => Transport::Tcp,
        }
    }
}

/// The half that we write. Dropping it before its end gives it up.
#[derive(Debug)]
pub(crate) enum SendHalf {
    Quic(quinn::SendStream),
    Tcp(tcp::SendHalf),
}

impl SendHalf {
    /// Resolves once all of `bytes` is in the transport's bounded buffer. Not cancel safe: part of it may be.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Broken> {
        match self {
            Self::Quic(stream) => quic::write(stream, bytes).await,
            Self::Tcp(stream) => stream.write(bytes).await,
        }
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Broken>> {
        match self {
            Self::Quic(stream) => quic::poll_write(stream, cx, bytes),
            Self::Tcp(stream) => stream.poll_write(cx, bytes),
        }
    }

    /// The end, in order. Nothing happens to a half that is over already.
    pub(crate) fn finish(&mut self) {
        match self {
            Self::Quic(stream) => drop(stream.finish()),
            Self::Tcp(stream) => stream.finish(),
        }
    }

    /// Gives it up; over TCP the other half with it.
    pub(crate) fn reset(&mut self, code: u32) {
        match self {
            Self::Quic(stream) => drop(stream.reset(code.into())),
            Self::Tcp(stream) => stream.reset(code),
        }
    }

    /// Resolves when nobody reads this half any more, with the number that says why, or 0. Cancel safe.
    pub(crate) async fn stopped(&mut self) -> u32 {
        match self {
            Self::Quic(stream) => quic::stopped(stream).await,
            Self::Tcp(stream) => stream.stopped().await,
        }
    }

    /// Before the connection is closed: resolves when the peer has everything, so that it learns *why* before it learns
    /// *that*. Over TCP the closing itself comes in order. Cancel safe.
    pub(crate) async fn delivered(&mut self) {
        if let Self::Quic(stream) = self
            && stream.finish().is_ok()
        {
            let _ = stream.stopped().await;
        }
    }
}

/// The half that we read.
#[derive(Debug)]
pub(crate) enum RecvHalf {
    Quic(quinn::RecvStream),
    Tcp(tcp::RecvHalf),
}

impl RecvHalf {
    /// What came, about `max` bytes at most; `None` at the end. The peer may send more for it once the next is asked for,
    /// so that a caller who first writes it on bounds what waits. Cancel safe.
    pub(crate) async fn read(&mut self, max: usize) -> Result<Option<Bytes>, Broken> {
        match self {
            Self::Quic(stream) => {
                let chunk = stream.read_chunk(max, true).await.map_err(quic::broken_read)?;
                Ok(chunk.map(|chunk| chunk.bytes))
            }
            Self::Tcp(stream) => stream.read().await,
        }
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<(), Broken>> {
        match self {
            Self::Quic(stream) => stream.poll_read_buf(cx, buf).map_err(quic::broken_read),
            Self::Tcp(stream) => stream.poll_read(cx, buf),
        }
    }

    /// Wants no more. Over QUIC the peer learns it with the code; over TCP it stops at the window, and learns it when the
    /// other half is over too.
    pub(crate) fn stop(&mut self, code: u32) {
        match self {
            Self::Quic(stream) => drop(stream.stop(code.into())),
            Self::Tcp(stream) => stream.stop(),
        }
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Given(code) => Self::new(
                io::ErrorKind::ConnectionReset,
                format!("the peer gave the stream up (code {code})"),
            ),
            Broken::Lost(why) => Self::new(io::ErrorKind::NotConnected, why),
        }
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(code) => write!(f, "the peer gave the stream up (code {code})"),
            Self::Lost(why) => f.write_str(why),
        }
    }
}
