//! Two clocks of a request: the answer's head after the whole request was sent (504, HAWSE-1004), and silence in both
//! directions (the transfer is cut off). Both come from the tunnel, else from the exit node.
//!
//! Not here: WebSockets, which have no body (splice.rs), and visitors that send or read slowly (body_rate.rs, reader.rs).

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hawse_proto::codes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep, sleep_until},
};
use tower::{Layer, Service};

use super::{Boxed, Outcome};
use crate::{
    body::{Body, BoxError},
    fault::{BodyFault, Fault},
    visit::Routed,
};

/// See the module. The tunnel's own values win.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeoutsLayer {
    pub(crate) request: Duration,
    pub(crate) idle: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Timeouts<S> {
    inner: S,
    defaults: TimeoutsLayer,
}

impl<S> Layer<S> for TimeoutsLayer {
    type Service = Timeouts<S>;

    fn layer(&self, inner: S) -> Timeouts<S> {
        Timeouts { inner, defaults: *self }
    }
}

impl<S> Service<Routed> for Timeouts<S>
where
    S: Service<Routed, Response = Response<Body>, Error = Fault>,
    S::Future: Future<Output = Outcome> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Boxed<Outcome>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut routed: Routed) -> Self::Future {
        let request = routed.tunnel.request_timeout.unwrap_or(self.defaults.request);
        let idle = routed.tunnel.idle_timeout.unwrap_or(self.defaults.idle);
        let activity = Activity::default();
        let (ended, body_ended) = oneshot::channel();
        if !routed.request.is_end_stream() {
            let activity = activity.clone();
            routed.request = routed.request.map(|inner| {
                Sent {
                    inner,
                    ended: Some(ended),
                    activity,
                }
                .boxed_unsync()
            });
        }
        let answer = self.inner.call(routed);
        Box::pin(async move {
            let response = tokio::select! {
                biased;
                outcome = answer => outcome?,
                fault = head_is_late(body_ended, request, idle, &activity) => return Err(fault),
            };
            if response.is_end_stream() {
                return Ok(response);
            }
            activity.moved();
            Ok(response.map(|inner| {
                Watched {
                    inner,
                    idle,
                    activity,
                    alarm: None,
                }
                .boxed_unsync()
            }))
        })
    }
}

/// Resolves when the app has had its time. Cancel safe.
async fn head_is_late(
    mut body_ended: oneshot::Receiver<()>,
    request: Duration,
    idle: Duration,
    activity: &Activity,
) -> Fault {
    loop {
        tokio::select! {
            _ = &mut body_ended => break,
            () = sleep_until(activity.last() + idle) => {
                if activity.last() + idle <= Instant::now() {
                    let detail = format!("Request and answer stood still for {idle:?} (spec.traffic.timeouts.idle).");
                    return Fault::new(&codes::APP_TIMED_OUT, detail);
                }
            }
        }
    }
    sleep(request).await;
    let detail = format!("There was no answer within {request:?} (spec.traffic.timeouts.request).");
    Fault::new(&codes::APP_TIMED_OUT, detail)
}

/// When a byte last moved, in either direction.
#[derive(Debug, Clone)]
struct Activity(Arc<Mutex<Instant>>);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Activity {
    fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's body; drops `ended` when there is no more to send.
struct Sent {
    inner: Body,
    ended: Option<oneshot::Sender<()>>,
    activity: Activity,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        let frame = ready!(Pin::new(&mut me.inner).poll_frame(cx));
        me.activity.moved();
        if frame.is_none() || me.inner.is_end_stream() {
            me.ended = None;
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

/// An answer's body; fails when nothing moved for too long.
struct Watched {
    inner: Body,
    idle: Duration,
    activity: Activity,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut me.inner).poll_frame(cx) {
            me.activity.moved();
            return Poll::Ready(frame);
        }
        loop {
            let due = me.activity.last() + me.idle;
            let alarm = me.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            ready!(alarm.as_mut().poll(cx));
            if me.activity.last() + me.idle <= Instant::now() {
                return Poll::Ready(Some(Err(BodyFault(&codes::APP_TIMED_OUT).into())));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[path = "tests/timeouts.rs"]
mod tests;
