//! The accepting end of streams: reads what each is for, answers probes, and hands the rest to agent.rs or relay.rs.
//!
//! A probe is answered by ending it. How many streams there may be at once is the transport's own limit
//! (`limits::STREAMS_PER_LINK`, `limits::STREAMS_PER_PEER`), so that there are never more tasks than that. Called by hub.rs.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use hawse_proto::codes::{self, Code};
use hawse_proto::frames::{StreamOpen, stream_open::Kind};
use hawse_proto::limits::STREAM_OPEN_MAX_BYTES;
use hawse_proto::stream_open::{self, OpenDecoder};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::limits::OPENING_TIMEOUT;
use crate::link::{Counters, Link};
use crate::transport::{RecvHalf, SendHalf, Stream};

/// A stream that was opened to a tunnel's app.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) open: StreamOpen,
    pub(crate) send: SendHalf,
    pub(crate) recv: RecvHalf,
    /// What came behind the opening.
    pub(crate) rest: Bytes,
}

/// Serves the streams of a link until it is over; returns those that have still to learn of it.
/// Not cancel safe: dropping it cuts every stream off.
pub(crate) async fn serve_streams<S, F>(link: &Arc<Link>, serve: S) -> JoinSet<()>
where
    S: Fn(Accepted) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = link.connection.accept() => match accepted {
                Some(stream) => {
                    let (counters, serve) = (link.counters.clone(), serve.clone());
                    streams.spawn(async move {
                        if let Some((_counted, accepted)) = begin(stream, counters).await {
                            serve(accepted).await;
                        }
                    });
                }
                None => return streams,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

/// `None`: it was a probe, or nothing that we understand.
async fn begin((mut send, mut recv): Stream, counters: Arc<Counters>) -> Option<(Counted, Accepted)> {
    let opening = timeout(OPENING_TIMEOUT, read_opening(&mut recv)).await;
    match opening.unwrap_or(Err(codes::BAD_FRAME)) {
        Ok((open, _)) if open.kind() == Kind::Probe => {
            send.finish(); // the whole answer
            None
        }
        Ok((open, rest)) => {
            let accepted = Accepted { open, send, recv, rest };
            Some((Counted::new(counters), accepted))
        }
        Err(code) => {
            let _counted = Counted::new(counters);
            refuse(&mut send, &mut recv, code.number);
            None
        }
    }
}

/// Both directions: the other side learns it whether it is reading or still sending.
pub(crate) fn refuse(send: &mut SendHalf, recv: &mut RecvHalf, code: u32) {
    send.reset(code);
    recv.stop(code);
}

async fn read_opening(recv: &mut RecvHalf) -> Result<(StreamOpen, Bytes), Code> {
    let mut decoder = OpenDecoder::default();
    loop {
        let bytes = recv.read(STREAM_OPEN_MAX_BYTES).await.ok().flatten();
        let mut input = bytes.ok_or(codes::BAD_FRAME)?;
        match stream_open::next(&mut decoder, &mut input) {
            Ok(Some(open)) => return Ok((open, input)),
            Ok(None) => {}
            Err(_) => return Err(codes::BAD_FRAME),
        }
    }
}

/// A stream in the counters.
struct Counted(Arc<Counters>);

impl Counted {
    fn new(counters: Arc<Counters>) -> Self {
        counters.streams_open.fetch_add(1, Relaxed);
        counters.streams_total.fetch_add(1, Relaxed);
        Self(counters)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams_open.fetch_sub(1, Relaxed);
    }
}
