//! Bounds the requests of one tunnel at its app (`spec.traffic.maxConcurrent`). One more waits for a place, in turn among the
//! visitors' addresses (gate.rs); when too many wait or it takes too long: 503, HAWSE-1010.
//!
//! The bound spares a laptop, and keeps one tunnel from taking the memory of the exit node: an unread answer may hold about
//! 2 MiB of windows. The request's ticket holds the place, so a WebSocket counts while it lives. While the process is short of
//! memory (pressure.rs) nobody is let in.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hawse_proto::codes;
use http::Response;
use tokio::time::timeout;
use tower::{Layer, Service, ServiceExt};

use super::{Outcome, Step};
use crate::{
    body::Body,
    caps::visitor_of,
    fault::Fault,
    gate::{Entry, Gate, Place, Waiting},
    limits,
    pressure::Pressure,
    visit::Routed,
};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct AdmitLayer {
    /// How long a request waits for its place.
    pub(crate) patience: Duration,
    pub(crate) pressure: Arc<Pressure>,
}

#[derive(Debug, Clone)]
pub(crate) struct Admit<S> {
    inner: S,
    patience: Duration,
    pressure: Arc<Pressure>,
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit {
            inner,
            patience: self.patience,
            pressure: self.pressure.clone(),
        }
    }
}

impl<S> Service<Routed> for Admit<S>
where
    S: Service<Routed, Response = Response<Body>, Error = Fault> + Clone + Send + 'static,
    S::Future: Future<Output = Outcome> + Send,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Step<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        if self.pressure.refuses_requests() {
            let fault = Fault::new(&codes::OVERLOADED, "Its memory is nearly used up.");
            return Step::refused(fault.retry_after(limits::MEMORY_RETRY));
        }
        let visitor = routed.connection.visitor(routed.request.headers());
        match routed.tunnel.gate.enter(visitor_of(visitor)) {
            Entry::Placed(place) => {
                routed.ticket.hold(place);
                Step::next(self.inner.call(routed))
            }
            Entry::Waits(waiting) => {
                let (inner, patience) = (self.inner.clone(), self.patience);
                Step::later(async move {
                    let place = turn(waiting, patience, &routed.tunnel.gate).await?;
                    routed.ticket.hold(place);
                    inner.oneshot(routed).await
                })
            }
            Entry::Full => Step::refused(overloaded(&routed.tunnel.gate, "Too many others wait already.")),
        }
    }
}

/// Waits for the request's turn. Cancel safe: a visitor that leaves gives it up.
async fn turn(mut waiting: Waiting, patience: Duration, gate: &Gate) -> Result<Place, Fault> {
    match timeout(patience, waiting.place()).await {
        Ok(Some(place)) => Ok(place),
        _ => Err(overloaded(gate, &format!("None of them ended within {patience:?}."))),
    }
}

fn overloaded(gate: &Gate, why: &str) -> Fault {
    let most = gate.most();
    let detail = format!("{most} requests of this tunnel run at its app, as many as may at once. {why}");
    Fault::new(&codes::OVERLOADED, detail).retry_after(limits::TUNNEL_QUEUE_RETRY)
}

#[cfg(test)]
#[path = "tests/admit.rs"]
mod tests;
