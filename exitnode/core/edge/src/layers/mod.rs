//! One concern a file. A layer knows only the layer below it, as a service with one error type; stack.rs puts them in order.
//!
//! All are always ready: bounds are taken where a request waits or is refused (admit.rs), never by making a visitor's
//! connection wait.

pub(crate) mod access;
pub(crate) mod admit;
pub(crate) mod body_rate;
pub(crate) mod closed;
pub(crate) mod count;
pub(crate) mod rescue;
pub(crate) mod route;
pub(crate) mod shield;
pub(crate) mod sign_in;
pub(crate) mod stamp;
pub(crate) mod strict;
pub(crate) mod timeouts;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;

use crate::{body::Body, fault::Fault};

/// What a service below a layer gives: an answer, or why there is none.
pub(crate) type Outcome = Result<Response<Body>, Fault>;
/// The future of a layer that awaits several things.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pin_project! {
    /// The future of a layer that passes a request on or refuses it at once: no allocation for either. A layer that
    /// passes it on later allocates then.
    #[project = StepProjection]
    pub(crate) enum Step<F> {
        Next { #[pin] inner: F },
        Later { inner: Boxed<Outcome> },
        Answered { response: Option<Response<Body>> },
        Refused { fault: Option<Fault> },
    }
}

impl<F> Step<F> {
    pub(crate) fn next(inner: F) -> Self {
        Self::Next { inner }
    }

    pub(crate) fn later(inner: impl Future<Output = Outcome> + Send + 'static) -> Self {
        Self::Later { inner: Box::pin(inner) }
    }

    pub(crate) fn answered(response: Response<Body>) -> Self {
        Self::Answered {
            response: Some(response),
        }
    }

    pub(crate) fn refused(fault: Fault) -> Self {
        Self::Refused { fault: Some(fault) }
    }
}

impl<F: Future<Output = Outcome>> Future for Step<F> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match self.project() {
            StepProjection::Next { inner } => inner.poll(cx),
            StepProjection::Later { inner } => inner.as_mut().poll(cx),
            // Polled again after the end is a bug of the caller; waiting for ever is the harmless answer.
            StepProjection::Answered { response } => response
                .take()
                .map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
            StepProjection::Refused { fault } => fault.take().map_or(Poll::Pending, |fault| Poll::Ready(Err(fault))),
        }
    }
}

pin_project! {
    /// The future of a layer that has something to do with what comes from below: no allocation.
    pub(crate) struct After<F, T> {
        #[pin]
        below: F,
        then: Option<T>,
    }
}

/// What a layer does with what comes from below. Dropped, it says that nothing came.
pub(crate) trait Then<In> {
    type Out;

    fn then(self, from_below: In) -> Self::Out;
}

impl<F, T> After<F, T> {
    pub(crate) fn new(below: F, then: T) -> Self {
        Self {
            below,
            then: Some(then),
        }
    }
}

impl<F: Future, T: Then<F::Output>> Future for After<F, T> {
    type Output = T::Out;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Out> {
        let me = self.project();
        let from_below = ready!(me.below.poll(cx));
        // Polled again after the end: see `Step`.
        me.then
            .take()
            .map_or(Poll::Pending, |then| Poll::Ready(then.then(from_below)))
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
#[path = "tests/small.rs"]
mod tests;
