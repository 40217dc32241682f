//! One link: a connection between agent and exit node, or between two exit nodes, with its control stream of frames.
//!
//! The control stream is a queue out and a reader in; both are bounded, and neither looks into a frame further than
//! that it is one. Streams to the app are elsewhere: stream.rs opens them (exit node), agent.rs answers them. Made by
//! server.rs and dial.rs, kept by hub.rs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use hawse_proto::core::LinkStats;
use hawse_proto::frame::{self, FrameDecoder, FrameError};
use hawse_proto::{codes, limits::FRAME_MAX_BYTES};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::hub::Events;
use crate::limits::{CLOSE_GRACE, CLOSE_LEAST, CLOSE_ROUND_TRIPS, FRAMES_RECEIVED, STREAMS_PER_LINK, STREAMS_PER_PEER};
use crate::outbox::Outbox;
use crate::peers::Mark;
use crate::sessions::LinkId;
use crate::transport::{Broken, Connection, RecvHalf, SendHalf, Stream};

/// Counters of one link since it came up.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) streams_open: AtomicU64,
    pub(crate) streams_total: AtomicU64,
    /// Towards the app.
    pub(crate) bytes_in: AtomicU64,
    /// From the app.
    pub(crate) bytes_out: AtomicU64,
}

#[derive(Debug)]
enum Outgoing {
    /// With its length.
    Frame(Bytes),
    /// Close the link, with what `closing` says.
    Close,
}

/// What a link is for, and on which side of it we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Exit node: an agent is at the other end. We open streams.
    ToAgent,
    /// Agent. We serve streams.
    Agent,
    /// Exit node that has visitors: another one with agents is at the other end. We open streams.
    ToPeer,
    /// Exit node that has agents: another one with visitors is at the other end. We serve streams.
    FromPeer,
    /// Either side: it lives shortly, and may wait long for the operator.
    Enrolment,
}

/// The handle that everybody shares. Dropping it closes nothing.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) role: Role,
    pub(crate) connection: Connection,
    pub(crate) counters: Arc<Counters>,
    /// Agent: tunnel uid -> host and port of the app.
    pub(crate) apps: Mutex<HashMap<String, (String, u16)>>,
    /// Exit node: a probe has waited for its answer for a while.
    pub(crate) suspect: AtomicBool,
    /// Exit node: counts how often it stopped serving a tunnel.
    left: AtomicU64,
    /// Exit node: something makes it worth asking at once whether it lives.
    pub(crate) ask_now: Notify,
    /// Exit node: room for streams of visitors; one more is left for a probe.
    pub(crate) room: Arc<Semaphore>,
    outbox: Outbox<Outgoing>,
    /// What we close with; set once.
    closing: OnceLock<Closing>,
}

/// A link as one who opens a stream found it: serving the tunnel.
#[derive(Debug, Clone)]
pub struct Path {
    pub(crate) link: Arc<Link>,
    left: u64,
    /// Of a path over another exit node: whether it still leads to the tunnel.
    mark: Option<Mark>,
}

impl Path {
    /// Only while the table of sessions is locked, so that the link serves what it was found for.
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        Self {
            link: link.clone(),
            left: link.left.load(Relaxed),
            mark: None,
        }
    }

    /// The same over another exit node.
    pub(crate) fn over_peer(link: &Arc<Link>, mark: &Mark) -> Self {
        Self {
            mark: Some(mark.clone()),
            ..Self::new(link)
        }
    }

    /// It still serves the tunnel, and nothing speaks against its life. Also false when the link of an agent has left another
    /// tunnel since: that costs a new stream, and spares a look into the table for each request.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let leads_there = self.mark.as_ref().is_none_or(|mark| mark.load(Relaxed));
        leads_there && self.left == self.link.left.load(Relaxed) && !self.is_suspect()
    }

    /// Its link may be dead.
    pub(crate) fn is_suspect(&self) -> bool {
        self.link.suspect.load(Relaxed)
    }
}

/// How we end a link.
#[derive(Debug, Clone)]
pub(crate) struct Closing {
    pub(crate) code: u32,
    pub(crate) reason: String,
    /// The peer is silent, and does not decide it nor hear of it.
    pub(crate) lost: bool,
}

impl Link {
    pub(crate) fn new(id: LinkId, role: Role, connection: Connection) -> Arc<Self> {
        let streams = if role == Role::ToPeer {
            STREAMS_PER_PEER
        } else {
            STREAMS_PER_LINK
        };
        Arc::new(Self {
            id,
            role,
            connection,
            counters: Arc::default(),
            apps: Mutex::default(),
            suspect: AtomicBool::new(false),
            left: AtomicU64::new(0),
            ask_now: Notify::new(),
            room: Arc::new(Semaphore::new(streams as usize - 1)),
            outbox: Outbox::new(),
            closing: OnceLock::new(),
        })
    }

    /// Queues a frame. A full queue means that the peer does not read: the link is closed.
    ///
    /// # Errors
    /// The bytes are not a frame.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<(), FrameError> {
        let mut out = BytesMut::new();
        frame::put(frame, &mut out)?;
        if !self.outbox.put(Outgoing::Frame(out.freeze())) {
            self.abort(codes::OVERLOADED.number, "the peer does not read its control stream");
        }
        Ok(())
    }

    /// Closes after the queued frames were received, or after `CLOSE_GRACE`.
    pub(crate) fn close(&self, code: u32, reason: &str) {
        if self.decide(code, reason.to_owned(), false) && !self.outbox.put(Outgoing::Close) {
            self.finish();
        }
    }

    /// Closes at once.
    pub(crate) fn abort(&self, code: u32, reason: &str) {
        self.decide(code, reason.to_owned(), false);
        self.finish();
    }

    /// Gives up a link whose peer is silent.
    pub(crate) fn lose(&self, reason: &str) {
        self.decide(0, reason.to_owned(), true);
        self.connection.abandon(reason);
    }

    /// What we closed the link with, if we did.
    pub(crate) fn closed_with(&self) -> Option<&Closing> {
        self.closing.get()
    }

    fn decide(&self, code: u32, reason: String, lost: bool) -> bool {
        self.closing.set(Closing { code, reason, lost }).is_ok()
    }

    /// Where the app of a tunnel listens.
    pub(crate) fn app(&self, tunnel_uid: &str) -> Option<(String, u16)> {
        self.apps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tunnel_uid)
            .cloned()
    }

    /// It no longer serves all the tunnels that it served.
    pub(crate) fn leave(&self) {
        self.left.fetch_add(1, Relaxed);
        self.ask_now.notify_one();
    }

    pub(crate) fn stats(&self) -> LinkStats {
        LinkStats {
            link: self.id,
            rtt_ms: u32::try_from(self.connection.round_trip().as_millis()).unwrap_or(u32::MAX),
            streams_open: self.counters.streams_open.load(Relaxed),
            streams_total: self.counters.streams_total.load(Relaxed),
            bytes_in: self.counters.bytes_in.load(Relaxed),
            bytes_out: self.counters.bytes_out.load(Relaxed),
            transport: self.connection.transport().into(),
            suspect: self.suspect.load(Relaxed),
            peer: self.role == Role::ToPeer,
        }
    }

    fn finish(&self) {
        let closing = self.closing.get();
        let (code, reason) = closing.map_or((0, ""), |closing| (closing.code, &closing.reason));
        self.connection.close(code, reason);
    }
}

/// Carries frames both ways until the connection is over and everything that had arrived was handed on.
/// Not cancel safe: frames that were read are lost.
pub(crate) async fn run_control(link: &Link, (send, recv): &mut Stream, events: &dyn Events) {
    tokio::join!(read_frames(link, recv, events), write_frames(link, send));
}

async fn write_frames(link: &Link, send: &mut SendHalf) {
    loop {
        let next = tokio::select! {
            next = link.outbox.take() => next,
            _ = link.connection.closed() => return,
        };
        match next {
            // On the heap: an idle link writes nothing.
            Outgoing::Frame(frame) => {
                if Box::pin(send.write(frame)).await.is_err() {
                    return link.abort(codes::BAD_FRAME.number, "the peer has stopped its control stream");
                }
            }
            Outgoing::Close => break,
        }
    }
    // A live peer acknowledges within a round trip. One that is dead must not keep its streams for the whole grace: its
    // successor may have its place already, and the requests on them should learn that they are lost.
    let grace = (link.connection.round_trip() * CLOSE_ROUND_TRIPS).clamp(CLOSE_LEAST, CLOSE_GRACE);
    let _ = timeout(grace, send.delivered()).await;
    link.finish();
}

/// Goes on reading what had arrived when the connection closed: a peer says why and closes at once.
async fn read_frames(link: &Link, recv: &mut RecvHalf, events: &dyn Events) {
    let (mut decoder, credits) = (FrameDecoder::default(), Arc::new(Semaphore::new(FRAMES_RECEIVED)));
    loop {
        let mut input = match recv.read(FRAME_MAX_BYTES).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) if decoder.is_idle() => return Box::pin(await_close(link)).await,
            Ok(None) | Err(Broken::Given(_)) => {
                return link.abort(codes::BAD_FRAME.number, "the control stream ended within a frame");
            }
            Err(Broken::Lost(_)) => return, // the connection is over, and closed() says why
        };
        loop {
            match frame::next(&mut decoder, &mut input) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let Ok(credit) = credits.clone().acquire_owned().await else {
                        return;
                    };
                    if !events.frame(link.id, frame, credit) {
                        return link.abort(codes::OVERLOADED.number, "no room for more frames");
                    }
                }
                Err(error) => return link.abort(codes::BAD_FRAME.number, &error.to_string()),
            }
        }
    }
}

/// The peer will say no more: it closes next, and we do it if it does not.
async fn await_close(link: &Link) {
    if timeout(CLOSE_GRACE * 2, link.connection.closed()).await.is_err() {
        link.close(0, "the peer ended its control stream");
    }
}
