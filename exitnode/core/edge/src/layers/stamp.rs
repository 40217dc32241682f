//! Puts on every answer who served it and under which id: X-Hawse-Served-By and X-Hawse-Request-Id.
//!
//! Outermost, so that the edge's own pages have them too. Removes nothing: the upstream drops an app's fields of these names.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use http::{HeaderValue, Response};
use tower::{Layer, Service};

use super::Boxed;
use crate::{
    body::Body,
    visit::{Arrival, REQUEST_ID},
};

pub(crate) const SERVED_BY: &str = "x-hawse-served-by";

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
    S: Service<Arrival, Response = Response<Body>, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        let request_id = HeaderValue::from_str(arrival.request_id.as_str()).ok();
        let served_by = self.served_by.clone();
        let answer = self.inner.call(arrival);
        Box::pin(async move {
            let mut response = answer.await?;
            let fields = [(SERVED_BY, served_by), (REQUEST_ID, request_id)];
            for (name, value) in fields {
                if let Some(value) = value {
                    response.headers_mut().insert(name, value);
                }
            }
            Ok(response)
        })
    }
}
