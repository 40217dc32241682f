//! One fetch that several visitors share: what came of it so far, and how far each of them has read.
//!
//! A state behind a mutex that is never held over an await; the fetch (fetch.rs) writes, readers read at their own pace. While
//! the answer may still be stored all of it is kept, so who joins late reads it from its beginning. Once it is not to be stored
//! (`slide`), what everyone has read is dropped, the fetch waits for the slowest reader, and nobody joins any more.

use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hawse_proto::codes::Code;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{conditional, key::Key, says::Says, stored::Stored};
use crate::{
    body::{self, Body, BoxError},
    fault::{BodyFault, Fault},
    limits,
};

/// What a piece costs beside its bytes: an app that sends single bytes must not cost more than is counted.
const PIECE_BYTES: usize = 64;

/// What the readers of a fetch get.
#[derive(Debug, Clone)]
pub(crate) enum Landing {
    /// An answer that is on its way.
    Streams(Arc<Head>),
    /// An answer from the store after all.
    Stored(Arc<Stored>, Says),
    /// One that is for the visitor alone on whose behalf it was fetched.
    Unshared,
    Failed(Fault),
}

/// Head of an answer that is on its way.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(super) length: Option<u64>,
    /// Key of the requests that it answers, if that depends on their fields.
    pub(crate) of: Option<Key>,
}

impl Head {
    /// For one of the visitors; who has it already reads no further.
    pub(crate) fn answer(&self, request: &Request<Body>, reader: Reader) -> Response<Body> {
        let mut fields = self.fields.clone();
        let (status, body) = if self.status == StatusCode::OK && conditional::has_it(request.headers(), &fields) {
            conditional::OF_THE_BODY.iter().for_each(|name| {
                fields.remove(name);
            });
            (StatusCode::NOT_MODIFIED, body::empty())
        } else {
            (self.status, reader.boxed_unsync())
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        response
    }
}

#[derive(Debug)]
enum End {
    Whole(Option<HeaderMap>),
    Cut(&'static Code),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Flight {
    state: Mutex<State>,
    /// A reader has read, come or gone.
    moved: Notify,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    landing: Option<Landing>,
    pieces: VecDeque<Bytes>,
    /// Number of the first of `pieces`.
    first: usize,
    held: Option<OwnedSemaphorePermit>,
    end: Option<End>,
    readers: BTreeMap<u64, Place>,
    numbers: u64,
}

/// How far a reader is.
#[derive(Debug, Default)]
struct Place {
    next: usize,
    waits: Option<Waker>,
    is_cut: bool,
}

impl State {
    fn held(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Forgets what every reader has read.
    fn trim(&mut self) {
        let slowest = self
            .readers
            .values()
            .filter(|place| !place.is_cut)
            .map(|place| place.next)
            .min();
        let Some(slowest) = slowest else { return };
        while self.first < slowest
            && let Some(piece) = self.pieces.pop_front()
        {
            self.first += 1;
            // Given back when it is dropped. What found no room was never taken.
            let bytes = (piece.len() + PIECE_BYTES).min(self.held());
            drop(self.held.as_mut().and_then(|held| held.split(bytes)));
        }
    }

    fn wakers(&mut self) -> Vec<Waker> {
        self.readers
            .values_mut()
            .filter_map(|place| place.waits.take())
            .collect()
    }
}

impl Flight {
    /// `room`: bytes that all flights together may keep.
    pub(super) fn new(room: &Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            moved: Notify::new(),
            room: room.clone(),
        })
    }

    /// One more reader; `None`: its beginning is gone.
    pub(crate) fn read(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.state();
        if state.first > 0 {
            return None;
        }
        state.numbers += 1;
        let number = state.numbers;
        state.readers.insert(number, Place::default());
        Some(Reader {
            flight: self.clone(),
            number,
            length: None,
        })
    }

    /// It is known what the readers get. Said once; whatever comes later is ignored.
    pub(super) fn land(&self, landing: Landing) {
        self.tell(|state| {
            state.landing.get_or_insert(landing);
        });
    }

    /// Takes a piece in. False: there is no room for it, so the answer can't be kept.
    pub(super) fn push(&self, piece: Bytes) -> bool {
        let bytes = piece.len() + PIECE_BYTES;
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(permits).ok();
        let has_room = room.is_some();
        self.tell(|state| {
            state.pieces.push_back(piece);
            match (&mut state.held, room) {
                (Some(held), Some(room)) => held.merge(room),
                (held @ None, room) => *held = room,
                (Some(_), None) => {}
            }
        });
        has_room
    }

    pub(super) fn finish(&self, trailers: Option<HeaderMap>) {
        self.end(End::Whole(trailers));
    }

    /// The readers are cut off where they are, unless it has ended before.
    pub(super) fn cut(&self, code: &'static Code) {
        self.end(End::Cut(code));
    }

    fn end(&self, end: End) {
        self.tell(|state| {
            state.end.get_or_insert(end);
        });
    }

    /// All pieces so far.
    pub(super) fn pieces(&self) -> Vec<Bytes> {
        self.state().pieces.iter().cloned().collect()
    }

    /// Resolves when there is no reader. Cancel safe.
    pub(super) async fn left(&self) {
        while self.is_read() {
            self.moved.notified().await;
        }
    }

    pub(super) fn is_read(&self) -> bool {
        !self.state().readers.is_empty()
    }

    /// Makes room for the next piece: forgets what all have read, waits for the slowest, cuts it off if the others have
    /// waited too long. False: nobody reads any more. Cancel safe.
    pub(super) async fn slide(&self) -> bool {
        let mut deadline = None;
        loop {
            {
                let mut state = self.state();
                state.trim();
                if state.readers.values().all(|place| place.is_cut) {
                    return false;
                }
                let is_short = self.room.available_permits() < limits::SHIELD_WINDOW_BYTES;
                if state.pieces.is_empty() || (state.held() <= limits::SHIELD_WINDOW_BYTES && !is_short) {
                    return true;
                }
                let last = state.first + state.pieces.len();
                let others_wait = state.readers.values().any(|place| place.next == last);
                deadline = others_wait.then(|| deadline.unwrap_or_else(|| Instant::now() + limits::SHIELD_LAGGARD));
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    let first = state.first;
                    let slowest = state.readers.values_mut().filter(|place| place.next == first);
                    slowest.for_each(|place| place.is_cut = true);
                    deadline = None;
                    let wakers = state.wakers();
                    drop(state);
                    wakers.into_iter().for_each(Waker::wake);
                    continue;
                }
            }
            match deadline {
                // A late notice is looked at with the next turn of the loop.
                Some(deadline) => _ = timeout_at(deadline, self.moved.notified()).await,
                None => self.moved.notified().await,
            }
        }
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let wakers = {
            let mut state = self.state();
            change(&mut state);
            state.wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One visitor's reading of a flight: first what becomes of it, then the body.
#[derive(Debug)]
pub(crate) struct Reader {
    flight: Arc<Flight>,
    number: u64,
    length: Option<u64>,
}

impl Reader {
    /// Cancel safe.
    pub(crate) async fn landing(&mut self) -> Landing {
        let landing = poll_fn(|cx| {
            let mut state = self.flight.state();
            if let Some(landing) = &state.landing {
                return Poll::Ready(landing.clone());
            }
            if let Some(place) = state.readers.get_mut(&self.number) {
                place.waits = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        if let Landing::Streams(head) = &landing {
            self.length = head.length;
        }
        landing
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut guard = self.flight.state();
        let state = &mut *guard;
        let Some(place) = state.readers.get_mut(&self.number) else {
            return Poll::Ready(None);
        };
        if place.is_cut {
            return Poll::Ready(Some(Err(TooSlow.into())));
        }
        if let Some(piece) = place.next.checked_sub(state.first).and_then(|at| state.pieces.get(at)) {
            place.next += 1;
            let piece = piece.clone();
            drop(guard);
            self.flight.moved.notify_one();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &state.end {
            Some(End::Cut(code)) => Poll::Ready(Some(Err(BodyFault(code).into()))),
            // One more turn for the trailers, then the end.
            Some(End::Whole(trailers)) => {
                let is_told = mem::replace(&mut place.next, usize::MAX) == usize::MAX;
                let fields = trailers.clone().filter(|_| !is_told);
                Poll::Ready(fields.map(|fields| Ok(Frame::trailers(fields))))
            }
            None => {
                place.waits = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.poll_next(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.flight.state().readers.remove(&self.number);
        self.flight.moved.notify_one();
    }
}

/// A reader that the others could not wait for.
#[derive(Debug, thiserror::Error)]
#[error("the other readers of a shared answer could not wait any longer")]
struct TooSlow;

#[cfg(test)]
#[path = "tests/flight.rs"]
mod tests;
