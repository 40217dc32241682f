//! The exit node that has agents, for another one that has visitors: each stream of its becomes a stream to one of our agents.
//!
//! Only to our own agents, never to a further exit node: a stream takes one hop, and there can be no loop. One byte says that
//! an agent's stream is there; until then nothing has reached an app, and the other side may go elsewhere. After it each
//! direction is passed on by itself, its end and its reset number too. Called by hub.rs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use hawse_proto::codes;
use tokio::time::timeout;

use crate::accept::{self, Accepted};
use crate::hub::Tunnel;
use crate::limits::{RELAY_CHUNK_BYTES, RELAY_STALL};
use crate::link::{Counters, Link};
use crate::stalls::Stalls;
use crate::stream::{ACCEPTED, OpenError};
use crate::transport::{Broken, RecvHalf, SendHalf};

/// Serves the streams of a peer's link until it is over, and then breaks what is left of them: their visitors are gone.
/// Not cancel safe: dropping it cuts every stream off.
pub(crate) async fn serve_streams(link: &Arc<Link>, tunnel: &Arc<Tunnel>) {
    let (counters, tunnel) = (link.counters.clone(), tunnel.clone());
    let left = accept::serve_streams(link, move |accepted| serve(tunnel.clone(), counters.clone(), accepted)).await;
    drop(left);
}

async fn serve(tunnel: Arc<Tunnel>, counters: Arc<Counters>, accepted: Accepted) {
    let Accepted {
        open,
        mut send,
        mut recv,
        rest,
    } = accepted;
    let Ok(visitor) = open.visitor.parse() else {
        return accept::refuse(&mut send, &mut recv, &codes::BAD_FRAME);
    };
    let mut app = match tunnel.open_own(&open.tunnel_uid, visitor).await {
        Ok(app) => app,
        Err(why) => {
            let code = match why {
                OpenError::NoAgent => codes::NO_AGENT,
                OpenError::LinkLost(_) => codes::AGENT_LOST,
            };
            return accept::refuse(&mut send, &mut recv, &code);
        }
    };
    let agent = app.path().link.counters.clone();
    let (to_app, from_app) = app.halves();
    let request = Direction {
        counts: [&counters.bytes_in, &agent.bytes_in],
        stalls: &tunnel.stalls,
    };
    let answer = Direction {
        counts: [&counters.bytes_out, &agent.bytes_out],
        stalls: &tunnel.stalls,
    };
    tokio::join!(
        request.run(&mut recv, to_app, rest),
        answer.run(from_app, &mut send, ACCEPTED),
    );
    app.put_away();
}

/// One way of a stream that is passed on.
struct Direction<'a> {
    counts: [&'a AtomicU64; 2],
    stalls: &'a Stalls,
}

impl Direction<'_> {
    /// Passes on what comes, behind `first`, until either side is over, and tells the other how.
    async fn run(&self, from: &mut RecvHalf, to: &mut SendHalf, first: Bytes) {
        match self.pass(from, to, first).await {
            Ok(()) => to.finish(),
            Err(Over::Source(code)) => to.reset(code),
            Err(Over::Sink(code)) => {
                from.stop(code);
                to.reset(code);
            }
        }
    }

    async fn pass(&self, from: &mut RecvHalf, to: &mut SendHalf, first: Bytes) -> Result<(), Over> {
        self.write(to, first).await?;
        loop {
            // Who waits for nothing but the app would otherwise keep a stream that nobody wants any more.
            let bytes = tokio::select! {
                biased;
                bytes = from.read(RELAY_CHUNK_BYTES) => bytes.map_err(|why| Over::Source(why.code()))?,
                code = to.stopped() => return Err(Over::Sink(code)),
            };
            let Some(bytes) = bytes else {
                return Ok(());
            };
            for count in self.counts {
                count.fetch_add(bytes.len() as u64, Relaxed);
            }
            self.write(to, bytes).await?;
        }
    }

    /// A write that takes long keeps what has come behind it, up to a window: there are only so many of those.
    async fn write(&self, to: &mut SendHalf, bytes: Bytes) -> Result<(), Over> {
        let mut writing = std::pin::pin!(to.write(bytes));
        let written = match timeout(RELAY_STALL, &mut writing).await {
            Ok(written) => written,
            Err(_) => {
                let mut place = self.stalls.enter();
                tokio::select! {
                    biased;
                    written = writing => written,
                    () = place.cut() => return Err(Over::Sink(codes::OVERLOADED.number)),
                }
            }
        };
        written.map_err(|why| Over::Sink(why.code()))
    }
}

/// Which side of a direction broke, and with which number.
enum Over {
    Source(u32),
    Sink(u32),
}

impl Broken {
    /// What the other side is told: 0 says that the connection is gone.
    fn code(&self) -> u32 {
        match self {
            Self::Given(code) => *code,
            Self::Lost(_) => 0,
        }
    }
}
