//! The exit node that has agents, for another one that has visitors: each stream of its becomes a stream to one of our agents.
//!
//! Only to our own agents, never to a further exit node: a stream takes one hop, and there can be no loop. One byte says that
//! an agent's stream is there; until then nothing has reached an app, and the other side may go elsewhere. After it each
//! direction is passed on by itself, its end and its reset number too. Called by hub.rs.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use hawse_proto::codes;
use tokio::time::sleep;

use crate::accept::{self, Accepted};
use crate::hub::Tunnel;
use crate::limits::{RELAY_CHUNK_BYTES, RELAY_STALL};
use crate::link::{Counters, Link};
use crate::stalls::{Relayed, Stalls};
use crate::stream::{ACCEPTED, AppStream, OpenError};
use crate::transport::{Broken, RecvHalf, SendHalf, Stream};

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
    let app = match open.visitor.parse() {
        Ok(visitor) => tunnel
            .open_own(&open.tunnel_uid, visitor)
            .await
            .map_err(|why| match why {
                OpenError::NoAgent => codes::NO_AGENT,
                OpenError::LinkLost(_) => codes::AGENT_LOST,
            }),
        Err(_) => Err(codes::BAD_FRAME),
    };
    match app {
        Ok(app) => pass_on((send, recv), app, rest, (&tunnel.relayed, &counters)).await,
        Err(code) => accept::refuse(&mut send, &mut recv, code.number),
    }
}

/// Both ways until both are over. Not cancel safe: dropping it cuts both sides.
async fn pass_on(visitor: Stream, mut app: AppStream, rest: Bytes, (relayed, counters): (&Relayed, &Counters)) {
    let (mut send, mut recv) = visitor;
    let agent = app.path().link.counters.clone();
    let request = Direction {
        counts: [&counters.bytes_in, &agent.bytes_in],
        stalls: &relayed.requests,
    };
    let answer = Direction {
        counts: [&counters.bytes_out, &agent.bytes_out],
        stalls: &relayed.answers,
    };
    let request_is_whole = AtomicBool::new(false);
    let outcome = {
        let (to_app, from_app) = app.halves();
        let request = async {
            match request.pass(&mut recv, to_app, rest).await {
                Ok(()) => request_is_whole.store(true, Relaxed),
                // The app reads no more, but it may have answered already ("413"): only this direction ends.
                Err(Over::Sink(code)) => recv.stop(code),
                Err(Over::Source(code)) => return Err(code),
            }
            Ok(())
        };
        let answer = async {
            let passed = answer.pass(from_app, &mut send, ACCEPTED).await;
            passed.map_err(|(Over::Source(code) | Over::Sink(code))| code)
        };
        // The request first: its end and the news that nobody waits for the answer may come together.
        tokio::try_join!(biased; request, answer)
    };
    let code = outcome.err().unwrap_or(0);
    if outcome.is_err() {
        accept::refuse(&mut send, &mut recv, code);
    }
    app.end(request_is_whole.into_inner(), code);
}

/// One way of a stream that is passed on.
struct Direction<'a> {
    counts: [&'a AtomicU64; 2],
    stalls: &'a Stalls,
}

impl Direction<'_> {
    /// Passes on what comes, behind `first`, and its end.
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
                to.finish();
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
        let mut writing = pin!(to.write(bytes));
        let written = tokio::select! {
            biased;
            written = &mut writing => written,
            // A block, so that the timer is made by who waits alone.
            () = async { sleep(RELAY_STALL).await } => {
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
    /// What the other side is told; 0: the connection is gone.
    fn code(&self) -> u32 {
        match self {
            Self::Given(code) => *code,
            Self::Lost(_) => 0,
        }
    }
}
