//! Turns a fault from below into an answer (respond.rs makes it). Above it nothing fails any more.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use http::Response;
use tower::{Layer, Service};

use super::{After, Outcome, Then};
use crate::{
    body::Body,
    fault::Fault,
    respond::{Audience, Pages, respond},
    visit::{Arrival, RequestId},
};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct RescueLayer {
    pub(crate) pages: Pages,
}

#[derive(Debug, Clone)]
pub(crate) struct Rescue<S> {
    inner: S,
    pages: Pages,
}

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Rescue<S> {
        Rescue {
            inner,
            pages: self.pages.clone(),
        }
    }
}

impl<S> Service<Arrival> for Rescue<S>
where
    S: Service<Arrival, Response = Response<Body>, Error = Fault>,
    S::Future: Future<Output = Outcome>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = After<S::Future, Rescued>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Every layer below is always ready (layers/mod.rs).
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        let rescued = Rescued {
            audience: Audience::of(&arrival.request),
            request_id: arrival.request_id.clone(),
            pages: self.pages.clone(),
        };
        After::new(self.inner.call(arrival), rescued)
    }
}

/// What a page would need to know.
pub(crate) struct Rescued {
    audience: Audience,
    request_id: RequestId,
    pages: Pages,
}

impl Then<Outcome> for Rescued {
    type Out = Result<Response<Body>, Infallible>;

    fn then(self, outcome: Outcome) -> Self::Out {
        Ok(outcome.unwrap_or_else(|fault| respond(&fault, &self.audience, self.request_id.as_str(), &self.pages)))
    }
}
