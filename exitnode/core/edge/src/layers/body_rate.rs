//! A request's body has to arrive at a minimum rate: neither hyper nor h2 has such a limit.
//!
//! Only time spent waiting for the visitor counts; an app that reads slowly is not the visitor's fault. Past the limit the
//! body ends with HAWSE-1009. Not for WebSockets (no body), gRPC (its streams are silent for good reasons; the idle timeout
//! holds) and answers (front/reader.rs).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hawse_proto::codes;
use http::{HeaderMap, Response, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};
use tower::{Layer, Service};

use crate::{
    body::{Body, BoxError},
    fault::{BodyFault, Fault},
    visit::Routed,
};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyRateLayer {
    /// Waiting that is always allowed.
    pub(crate) grace: Duration,
    /// Bytes a second after it.
    pub(crate) rate: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct BodyRate<S> {
    inner: S,
    limits: BodyRateLayer,
}

impl<S> Layer<S> for BodyRateLayer {
    type Service = BodyRate<S>;

    fn layer(&self, inner: S) -> BodyRate<S> {
        BodyRate { inner, limits: *self }
    }
}

impl<S> Service<Routed> for BodyRate<S>
where
    S: Service<Routed, Response = Response<Body>, Error = Fault>,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut routed: Routed) -> Self::Future {
        if !routed.request.is_end_stream() && !is_grpc(routed.request.headers()) {
            let limits = self.limits;
            routed.request = routed.request.map(|body| RatedBody::new(body, limits).boxed_unsync());
        }
        self.inner.call(routed)
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// A body that fails when its sender is slower than the limits allow.
struct RatedBody {
    inner: Body,
    limits: BodyRateLayer,
    received: u64,
    /// Waited in all, without the wait that runs.
    waited: Duration,
    waiting_since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl RatedBody {
    fn new(inner: Body, limits: BodyRateLayer) -> Self {
        let alarm = Box::pin(tokio::time::sleep(limits.grace));
        Self {
            inner,
            limits,
            received: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            alarm,
        }
    }

    /// How much waiting the bytes so far have earned.
    fn allowance(&self) -> Duration {
        self.limits.grace + Duration::from_secs(self.received / self.limits.rate.max(1))
    }
}

impl http_body::Body for RatedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut me.inner).poll_frame(cx) {
            me.waited += me
                .waiting_since
                .take()
                .map_or(Duration::ZERO, |since| Instant::now().saturating_duration_since(since));
            if let Some(Ok(frame)) = &frame {
                me.received += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame);
        }
        let since = *me.waiting_since.get_or_insert_with(Instant::now);
        let due = since + me.allowance().saturating_sub(me.waited);
        if me.alarm.deadline() != due {
            me.alarm.as_mut().reset(due);
        }
        ready!(me.alarm.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyFault(&codes::BODY_TOO_SLOW).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[path = "tests/body_rate.rs"]
mod tests;
