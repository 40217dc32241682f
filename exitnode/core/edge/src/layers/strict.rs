//! Refuses requests that are not valid or not clear, by rules.rs. Below it every request has a host.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{Layer, Service};

use super::{Outcome, Step};
use crate::{
    body::Body,
    fault::Fault,
    rules::{self, HeadBounds},
    visit::{Arrival, Visit},
};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StrictLayer {
    pub(crate) bounds: HeadBounds,
}

#[derive(Debug, Clone)]
pub(crate) struct Strict<S> {
    inner: S,
    bounds: HeadBounds,
}

impl<S> Layer<S> for StrictLayer {
    type Service = Strict<S>;

    fn layer(&self, inner: S) -> Strict<S> {
        Strict {
            inner,
            bounds: self.bounds,
        }
    }
}

impl<S> Service<Arrival> for Strict<S>
where
    S: Service<Visit, Response = Response<Body>, Error = Fault>,
    S::Future: Future<Output = Outcome>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Step<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        let Arrival {
            connection,
            request_id,
            request,
        } = arrival;
        let (mut head, body) = request.into_parts();
        match rules::check(&mut head, self.bounds) {
            Ok(authority) => {
                let request = Request::from_parts(head, body);
                Step::next(self.inner.call(Visit {
                    connection,
                    request_id,
                    authority,
                    request,
                }))
            }
            Err(fault) => Step::refused(fault),
        }
    }
}
