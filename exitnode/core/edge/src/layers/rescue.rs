//! Turns a fault from below into an answer (respond.rs makes it). Above it nothing fails any more.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use http::Response;
use tower::{Layer, Service};

use super::{Boxed, Outcome};
use crate::{
    body::Body,
    fault::Fault,
    respond::{Audience, Pages, respond},
    visit::Arrival,
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
    S::Future: Future<Output = Outcome> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Every layer below is always ready (layers/mod.rs).
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        let audience = Audience::of(&arrival.request);
        let (request_id, pages) = (arrival.request_id, self.pages.clone());
        let answer = self.inner.call(arrival);
        Box::pin(async move {
            match answer.await {
                Ok(response) => Ok(response),
                Err(fault) => Ok(respond(&fault, &audience, request_id.as_str(), &pages)),
            }
        })
    }
}
