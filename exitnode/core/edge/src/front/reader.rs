//! Cuts off visitors that stop taking their answer: hyper waits for them for ever, and each holds windows all the way to the app.
//!
//! The answer's body knows whether the visitor or the app is waited for; the task that sends it knows the time. They meet in a
//! clock that is local to the task: one per HTTP/2 stream, one per HTTP/1.1 connection.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    body::{Body, BoxError},
    limits,
    tasks::Tasks,
    visit::Running,
};

tokio::task_local! {
    static CLOCK: Clock;
}

/// Since when the visitor has owed us a read; `None` while the app is waited for.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<Mutex<Option<Instant>>>);

impl Clock {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn owed_since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body that hyper sends. Holds the request as running until it is gone.
pub(super) struct OwedBody {
    inner: Body,
    clock: Option<Clock>,
    _running: Running,
}

impl OwedBody {
    pub(super) fn new(inner: Body, running: Running) -> Self {
        Self {
            inner,
            clock: CLOCK.try_with(Clone::clone).ok(),
            _running: running,
        }
    }

    fn owe(&self, since: Option<Instant>) {
        if let Some(clock) = &self.clock {
            clock.set(since);
        }
    }
}

impl http_body::Body for OwedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        let frame = Pin::new(&mut me.inner).poll_frame(cx);
        // hyper asks for the next frame when the visitor has taken enough of this one.
        me.owe(matches!(frame, Poll::Ready(Some(Ok(_)))).then(Instant::now));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for OwedBody {
    fn drop(&mut self) {
        self.owe(None);
    }
}

pin_project! {
    /// Runs a future that sends answers; ends it when a visitor has stopped reading. Dropping the future resets the stream.
    pub(super) struct Stalling<F> {
        #[pin]
        inner: tokio::task::futures::TaskLocalFuture<Clock, F>,
        clock: Clock,
        alarm: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future> Stalling<F> {
    pub(super) fn new(inner: F) -> Self {
        let clock = Clock::default();
        Self {
            inner: CLOCK.scope(clock.clone(), inner),
            clock,
            alarm: None,
        }
    }
}

impl<F: Future> Future for Stalling<F> {
    /// `None`: cut off.
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        if let Poll::Ready(output) = me.inner.poll(cx) {
            return Poll::Ready(Some(output));
        }
        let Some(since) = me.clock.owed_since() else {
            return Poll::Pending;
        };
        let due = since + limits::READER_STALL;
        let alarm = me.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(None)
    }
}

/// Runs the streams of HTTP/2 connections among the listener's tasks, each with its clock.
#[derive(Clone)]
pub(crate) struct StreamExecutor(pub(crate) Tasks);

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        let stream = Stalling::new(future);
        self.0.spawn(async move {
            stream.await;
        });
    }
}

#[cfg(test)]
#[path = "tests/reader.rs"]
mod tests;
