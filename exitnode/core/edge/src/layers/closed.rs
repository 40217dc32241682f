//! Answers for tunnels that are closed: the code and sentence that the operator gave (HAWSE-1008 as a rule).

use std::task::{Context, Poll};

use http::Response;
use tower::{Layer, Service};

use super::{Outcome, Step};
use crate::{body::Body, fault::Fault, visit::Routed};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClosedLayer;

#[derive(Debug, Clone)]
pub(crate) struct Closed<S> {
    inner: S,
}

impl<S> Layer<S> for ClosedLayer {
    type Service = Closed<S>;

    fn layer(&self, inner: S) -> Closed<S> {
        Closed { inner }
    }
}

impl<S> Service<Routed> for Closed<S>
where
    S: Service<Routed, Response = Response<Body>, Error = Fault>,
    S::Future: Future<Output = Outcome>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Step<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        match &routed.tunnel.closed {
            Some(closed) => Step::refused(Fault::new(closed.code, closed.message.clone())),
            None => Step::next(self.inner.call(routed)),
        }
    }
}
