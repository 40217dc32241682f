//! What tells patience.rs how the visitor of an answer reads: the answer's body, and the tasks of HTTP/2 streams.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;

use crate::{
    body::{Body, BoxError},
    patience::{Clock, Stalling},
    stalls::Stalls,
    tasks::Tasks,
    visit::Running,
};

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
            clock: Clock::of_task(),
            _running: running,
        }
    }

    fn owe(&self, bytes: Option<usize>) {
        if let Some(clock) = &self.clock {
            clock.owe(bytes);
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
        me.owe(match &frame {
            Poll::Ready(Some(Ok(frame))) => Some(frame.data_ref().map_or(0, Bytes::len)),
            _ => None,
        });
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

/// Runs the streams of HTTP/2 connections among the listener's tasks, each with its clock.
#[derive(Clone)]
pub(crate) struct StreamExecutor {
    tasks: Tasks,
    stalls: Stalls,
}

impl StreamExecutor {
    pub(super) fn new(tasks: &Tasks, stalls: &Stalls) -> Self {
        Self {
            tasks: tasks.clone(),
            stalls: stalls.clone(),
        }
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        let stream = Stalling::new(future, &self.stalls);
        self.tasks.spawn(async move {
            stream.await;
        });
    }
}

#[cfg(test)]
#[path = "tests/reader.rs"]
mod tests;
