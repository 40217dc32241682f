//! Finds the tunnel of a request by its host: exact names only. No tunnel: HAWSE-1001.
//!
//! Before that: a host that the connection's certificate doesn't cover is answered 421 (HAWSE-1012), so that a visitor opens
//! another connection (RFC 9110, 15.5.20). Browsers reuse an HTTP/2 connection for every name in its certificate: allowed.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use hawse_proto::codes;
use http::Response;
use tower::{Layer, Service};

use super::{Outcome, Step};
use crate::{
    body::Body,
    fault::Fault,
    shared::Shared,
    visit::{Connection, Routed, Ticket, Visit},
};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct RouteLayer {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
pub(crate) struct Route<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Layer<S> for RouteLayer {
    type Service = Route<S>;

    fn layer(&self, inner: S) -> Route<S> {
        Route {
            inner,
            shared: self.shared.clone(),
        }
    }
}

impl<S> Service<Visit> for Route<S>
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

    fn call(&mut self, visit: Visit) -> Self::Future {
        let Visit {
            connection,
            request_id,
            authority,
            request,
        } = visit;
        if !may_ask_for(&connection, &authority.host) {
            return Step::refused(Fault::new(&codes::MISDIRECTED, ""));
        }
        let Some(tunnel) = self.shared.routes.find(&authority.host) else {
            self.shared.totals.unknown_host.fetch_add(1, Relaxed);
            let detail =
                "Check the name: it may have been mistyped, or its Tunnel was deleted or is not served here yet.";
            return Step::refused(Fault::new(&codes::NO_SUCH_TUNNEL, detail));
        };
        let ticket = Ticket::new(tunnel.clone());
        Step::next(self.inner.call(Routed {
            connection,
            request_id,
            authority,
            tunnel,
            identity: None,
            ticket,
            request,
        }))
    }
}

fn may_ask_for(connection: &Connection, host: &str) -> bool {
    connection.sni.as_deref() == Some(host) || connection.certificate.covers(host)
}
