//! A request's body that can be read twice: what was read is kept, up to a bound, until an answer begins.
//!
//! Only for tunnels with a standby. A body that is longer, or comes when the exit node keeps enough already, is read once; its
//! request cannot go to the other target any more.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::{
    body::{self, Body, BoxError},
    limits,
};

/// Bytes that all tapes of a listener keep now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget(Arc<AtomicUsize>);

impl Budget {
    fn take(&self, bytes: usize) -> bool {
        let within = self.0.fetch_add(bytes, Relaxed) + bytes <= limits::REPLAY_TOTAL_BYTES;
        if !within {
            self.give(bytes);
        }
        within
    }

    fn give(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Relaxed);
    }
}

/// The keeper of one body.
pub(super) struct Tape(Option<Arc<Mutex<Reel>>>);

struct Reel {
    inner: Body,
    kept: Vec<Bytes>,
    bytes: usize,
    trailers: Option<http::HeaderMap>,
    /// Not all of it is kept.
    torn: bool,
    /// Readers of an earlier number are given up.
    reading: u32,
    budget: Budget,
}

impl Tape {
    /// The body for the first reading, and its keeper.
    pub(super) fn record(body: Body, budget: &Budget) -> (Body, Self) {
        if body.is_end_stream() {
            return (body::empty(), Self(None));
        }
        let reel = Arc::new(Mutex::new(Reel {
            inner: body,
            kept: Vec::new(),
            bytes: 0,
            trailers: None,
            torn: false,
            reading: 0,
            budget: budget.clone(),
        }));
        (reader(&reel, 0), Self(Some(reel)))
    }

    /// The body once more, from its beginning; `None`: it is gone. The first reader gets nothing any more.
    pub(super) fn rewind(self) -> Option<Body> {
        let Some(reel) = self.0 else {
            return Some(body::empty());
        };
        let reading = {
            let mut reel = lock(&reel);
            if reel.torn {
                return None;
            }
            reel.reading += 1;
            reel.reading
        };
        Some(reader(&reel, reading))
    }

    /// It cannot be read again.
    pub(super) fn is_torn(&self) -> bool {
        self.0.as_ref().is_some_and(|reel| lock(reel).torn)
    }

    /// Nobody will read it again.
    pub(super) fn erase(self) {
        if let Some(reel) = self.0 {
            lock(&reel).tear();
        }
    }
}

impl Reel {
    fn keep(&mut self, data: &Bytes) {
        if self.torn {
            return;
        }
        if self.bytes + data.len() > limits::REPLAY_BYTES || !self.budget.take(data.len()) {
            return self.tear();
        }
        self.bytes += data.len();
        self.kept.push(data.clone());
    }

    fn tear(&mut self) {
        self.torn = true;
        self.kept = Vec::new();
        self.budget.give(std::mem::take(&mut self.bytes));
    }
}

impl Drop for Reel {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

fn lock(reel: &Mutex<Reel>) -> MutexGuard<'_, Reel> {
    reel.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reader(reel: &Arc<Mutex<Reel>>, reading: u32) -> Body {
    let reader = Reader {
        reel: reel.clone(),
        reading,
        at: 0,
        trailed: false,
    };
    reader.boxed_unsync()
}

struct Reader {
    reel: Arc<Mutex<Reel>>,
    reading: u32,
    /// The next of what is kept.
    at: usize,
    trailed: bool,
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        let mut reel = lock(&me.reel);
        if reel.reading != me.reading {
            return Poll::Ready(Some(Err("the body went to another target".into())));
        }
        if let Some(data) = reel.kept.get(me.at) {
            me.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if let Some(trailers) = reel.trailers.clone()
            && !me.trailed
        {
            me.trailed = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(Pin::new(&mut reel.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                reel.keep(data);
                me.at = reel.kept.len();
            } else if let Some(trailers) = frame.trailers_ref() {
                reel.trailers = Some(trailers.clone());
                me.trailed = true;
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let reel = lock(&self.reel);
        let read = self.at >= reel.kept.len() && (reel.trailers.is_none() || self.trailed);
        reel.reading == self.reading && read && reel.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let reel = lock(&self.reel);
        let kept: u64 = reel.kept.iter().skip(self.at).map(|data| data.len() as u64).sum();
        let inner = reel.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + kept);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + kept);
        }
        hint
    }
}

#[cfg(test)]
#[path = "tests/tape.rs"]
mod tests;
