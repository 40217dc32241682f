//! Puts on every answer who served it and under which id: X-Hawse-Served-By and X-Hawse-Request-Id.
//!
//! Outermost, so that the edge's own pages have them too. Removes nothing: the upstream drops an app's fields of these names.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use http::{HeaderName, HeaderValue, Response};
use tower::{Layer, Service};

use super::{After, Then};
use crate::{
    body::Body,
    visit::{Arrival, REQUEST_ID},
};

pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("x-hawse-served-by");

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct StampLayer {
    /// The exit node's name; `None` if it is not fit for a header.
    pub(crate) served_by: Option<HeaderValue>,
}

#[derive(Debug, Clone)]
pub(crate) struct Stamp<S> {
    inner: S,
    served_by: Option<HeaderValue>,
}

impl<S> Layer<S> for StampLayer {
    type Service = Stamp<S>;

    fn layer(&self, inner: S) -> Stamp<S> {
        Stamp {
            inner,
            served_by: self.served_by.clone(),
        }
    }
}

impl<S> Service<Arrival> for Stamp<S>
where
    S: Service<Arrival, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = After<S::Future, Stamped>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        let stamped = Stamped {
            request_id: arrival.request_id.value(),
            served_by: self.served_by.clone(),
        };
        After::new(self.inner.call(arrival), stamped)
    }
}

/// What an answer gets.
pub(crate) struct Stamped {
    request_id: HeaderValue,
    served_by: Option<HeaderValue>,
}

impl Then<Result<Response<Body>, Infallible>> for Stamped {
    type Out = Result<Response<Body>, Infallible>;

    fn then(self, answer: Self::Out) -> Self::Out {
        answer.map(|mut response| {
            let headers = response.headers_mut();
            if let Some(served_by) = self.served_by {
                headers.insert(SERVED_BY, served_by);
            }
            headers.insert(REQUEST_ID, self.request_id);
            response
        })
    }
}
