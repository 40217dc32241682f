//! The request's body on its way to the app: remembers whether it was sent whole and, if not, whether that was the visitor's
//! fault. Cleans trailers on the way, and tells the clock of the task that sends it how the app reads (patience.rs).

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hawse_proto::codes::{self, Code};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

use super::head;
use crate::{
    body::{Body, BoxError},
    fault,
    patience::Clock,
};

/// What became of a request's body.
#[derive(Debug, Default)]
pub(super) struct Sent {
    whole: AtomicBool,
    fault: AtomicU32,
}

impl Sent {
    /// The app has the whole body: its connection may serve another request.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.load(Relaxed)
    }

    #[cfg(test)]
    pub(super) fn with(fault: u32) -> Self {
        Self {
            whole: false.into(),
            fault: fault.into(),
        }
    }

    /// The visitor's body broke: too slow, or not valid.
    pub(super) fn fault(&self) -> Option<&'static Code> {
        fault::by_number(self.fault.load(Relaxed))
    }
}

/// Wraps `body`; the other half tells what became of it.
pub(super) fn watch(body: Body) -> (Body, Arc<Sent>) {
    let sent = Arc::new(Sent::default());
    if body.is_end_stream() {
        sent.whole.store(true, Relaxed);
        return (body, sent);
    }
    (
        Sending {
            inner: body,
            sent: sent.clone(),
        }
        .boxed_unsync(),
        sent,
    )
}

struct Sending {
    inner: Body,
    sent: Arc<Sent>,
}

impl Drop for Sending {
    /// The app owes nothing any more: hyper does not ask for the end of a body whose length it knows.
    fn drop(&mut self) {
        Clock::owe_of_task(None);
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        let polled = Pin::new(&mut me.inner).poll_frame(cx);
        // hyper asks for the next frame when the app has taken enough of this one.
        Clock::owe_of_task(match &polled {
            Poll::Ready(Some(Ok(frame))) => Some(frame.data_ref().map_or(0, Bytes::len)),
            _ => None,
        });
        let mut frame = ready!(polled);
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(fields) = frame.trailers_mut() {
                    head::trailers(fields);
                }
                me.sent.whole.store(me.inner.is_end_stream(), Relaxed);
            }
            Some(Err(error)) => {
                let code = fault::code_of(error).unwrap_or(&codes::BAD_REQUEST);
                me.sent.fault.store(code.number, Relaxed);
            }
            None => me.sent.whole.store(true, Relaxed),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[path = "tests/sending.rs"]
mod tests;
