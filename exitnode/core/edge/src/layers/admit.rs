//! Bounds the requests of one tunnel at the same time; one more is refused (503, HAWSE-1010), never queued.
//!
//! The bound keeps one tunnel from taking the memory of the exit node: an unread answer may hold about 2 MiB of windows.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use hawse_proto::codes;
use http::Response;
use tower::{Layer, Service};

use super::{Outcome, Step};
use crate::{body::Body, fault::Fault, visit::Routed};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdmitLayer {
    /// Most requests of one tunnel.
    pub(crate) most: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Admit<S> {
    inner: S,
    most: u64,
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit { inner, most: self.most }
    }
}

impl<S> Service<Routed> for Admit<S>
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
        if routed.ticket.place > self.most {
            let detail = format!(
                "{} requests of this tunnel are running already. Try again in a moment.",
                self.most
            );
            return Step::refused(Fault::new(&codes::OVERLOADED, detail).retry_after(Duration::from_secs(1)));
        }
        Step::next(self.inner.call(routed))
    }
}
