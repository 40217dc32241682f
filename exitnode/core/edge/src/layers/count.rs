//! Counts what a tunnel's visitors get: requests, classes of status, codes, bytes, requests in flight.
//!
//! Sits right below route, so that refusals of the layers below are counted as the answers they become.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tower::{Layer, Service};

use super::{After, Outcome, Then};
use crate::{
    body::{Body, BoxError},
    fault::{self, Fault},
    visit::{Routed, Ticket},
};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CountLayer;

#[derive(Debug, Clone)]
pub(crate) struct Count<S> {
    inner: S,
}

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        Count { inner }
    }
}

impl<S> Service<Routed> for Count<S>
where
    S: Service<Routed, Response = Response<Body>, Error = Fault>,
    S::Future: Future<Output = Outcome>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = After<S::Future, Unanswered>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut routed: Routed) -> Self::Future {
        let ticket = routed.ticket.clone();
        ticket.tunnel.counters.request();
        if !routed.request.is_end_stream() {
            let ticket = ticket.clone();
            routed.request = routed.request.map(|inner| {
                CountedBody {
                    inner,
                    ticket,
                    out: false,
                }
                .boxed_unsync()
            });
        }
        After::new(self.inner.call(routed), Unanswered(Some(ticket)))
    }
}

/// Dropped before an answer was there: the visitor left.
pub(crate) struct Unanswered(Option<Arc<Ticket>>);

impl Then<Outcome> for Unanswered {
    type Out = Outcome;

    fn then(mut self, outcome: Outcome) -> Outcome {
        let Some(ticket) = self.0.take() else { return outcome };
        let counters = &ticket.tunnel.counters;
        match outcome {
            Ok(response) => {
                counters.answer(Some(response.status().as_u16()));
                if response.is_end_stream() {
                    return Ok(response);
                }
                Ok(response.map(|inner| {
                    CountedBody {
                        inner,
                        ticket,
                        out: true,
                    }
                    .boxed_unsync()
                }))
            }
            Err(fault) => {
                counters.answer(Some(fault.code.status));
                counters.error(fault.code);
                Err(fault)
            }
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            ticket.tunnel.counters.answer(None);
        }
    }
}

/// Counts the bytes of one direction and holds the ticket until the body is gone.
struct CountedBody {
    inner: Body,
    ticket: Arc<Ticket>,
    out: bool,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        let frame = Pin::new(&mut me.inner).poll_frame(cx);
        let counters = &me.ticket.tunnel.counters;
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if me.out {
                    counters.gave(bytes)
                } else {
                    counters.took(bytes)
                }
            }
            // What breaks a request's body becomes the answer's fault; only a broken answer has no other trace.
            Poll::Ready(Some(Err(error))) if me.out => {
                if let Some(code) = fault::code_of(error) {
                    counters.error(code);
                }
            }
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[path = "tests/count.rs"]
mod tests;
