//! The one tower stack between a front end and the app: the only place that names the layers, in order, with the reason.

use std::{convert::Infallible, sync::Arc};

use http::{HeaderValue, Response};
use tower::{Service as _, ServiceBuilder};

use crate::{
    body::Body,
    dial::Dialer,
    layers::{
        Boxed, access::AccessLayer, admit::AdmitLayer, body_rate::BodyRateLayer, closed::ClosedLayer,
        count::CountLayer, rescue::RescueLayer, route::RouteLayer, shield::ShieldLayer, sign_in::SignInLayer,
        stamp::StampLayer, strict::StrictLayer, timeouts::TimeoutsLayer,
    },
    limits::{self, Limits},
    respond::Pages,
    rules::HeadBounds,
    shared::Shared,
    tasks::Tasks,
    upstream::Upstream,
    visit::Arrival,
};

/// The erased stack. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Stack(Arc<dyn Fn(Arrival) -> Answering + Send + Sync>);

/// An answer on its way. Dropping it gives the request up.
pub(crate) type Answering = Boxed<Result<Response<Body>, Infallible>>;

impl Stack {
    /// Serves a request. The layers are always ready (layers/mod.rs), so there is nothing to poll before.
    pub(crate) fn call(&self, arrival: Arrival) -> Answering {
        (self.0)(arrival)
    }
}

/// What the layers of one listener need to know.
pub(crate) struct Parts<D> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
    pub(crate) pages: Pages,
    pub(crate) served_by: Option<HeaderValue>,
    /// Owner of what the layers begin and no visitor waits for.
    pub(crate) tasks: Tasks,
    pub(crate) upstream: Upstream<D>,
}

/// Builds the stack; type erasure happens here, once.
pub(crate) fn build<D: Dialer>(parts: Parts<D>) -> Stack {
    let stack = compose(parts);
    Stack(Arc::new(move |arrival| Box::pin(stack.clone().call(arrival))))
}

fn compose<D: Dialer>(
    parts: Parts<D>,
) -> impl tower::Service<Arrival, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ Sync
+ 'static {
    let Parts {
        shared,
        limits,
        pages,
        served_by,
        tasks,
        upstream,
    } = parts;
    let (pressure, access) = (shared.pressure.clone(), shared.access.clone());
    let service = shared.identity_service.clone();
    ServiceBuilder::new()
        // Outermost: pages of the edge carry the request's id like answers of the app.
        .layer(StampLayer { served_by })
        // Above everything that may fail, so that a fault is rendered in one place.
        .layer(RescueLayer { pages })
        // Before route: an unclear request has no host that could be trusted.
        .layer(StrictLayer {
            bounds: HeadBounds {
                fields: limits.headers,
                bytes: limits.header_bytes,
            },
        })
        .layer(RouteLayer { shared })
        // Right below route: what the layers below refuse is counted for the tunnel.
        .layer(CountLayer)
        // Before anything that costs: a closed tunnel is answered from memory.
        .layer(ClosedLayer)
        // Right above access: it renews the session that access looks at, and turns its refusal into the way to the login.
        .layer(SignInLayer {
            access: access.clone(),
            service,
        })
        // Who may come in is known before anything is shared, and before a place at the app is taken.
        .layer(AccessLayer { access })
        // Above admit: what is answered from memory takes no place at the app, and a fetch takes one, not those who share it.
        .layer(ShieldLayer { tasks })
        // Above the clocks: waiting for a place is not the app's time. Above body_rate: an unread body is not slow.
        .layer(AdmitLayer {
            patience: limits::TUNNEL_QUEUE_TIMEOUT,
            pressure,
        })
        // Above timeouts, so that the body which timeouts watches already ends by itself.
        .layer(BodyRateLayer {
            grace: limits::BODY_GRACE,
            rate: limits::BODY_MIN_RATE,
        })
        // Lowest: its clock is the app's, not that of the layers.
        .layer(TimeoutsLayer {
            request: limits.request_timeout,
            idle: limits.idle_timeout,
        })
        .service(upstream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::NoDialer;

    /// Changing the order is a decision: change this line with it.
    const ORDER: [&str; 13] = [
        "Stamp", "Rescue", "Strict", "Route", "Count", "Closed", "SignIn", "Access", "Shielded", "Admit", "BodyRate",
        "Timeouts", "Upstream",
    ];

    #[tokio::test]
    async fn the_layers_stand_in_the_order_that_was_decided() {
        fn name_of<T>(_: &T) -> &'static str {
            std::any::type_name::<T>()
        }
        let stack = compose(Parts {
            shared: Arc::default(),
            limits: Limits::default(),
            pages: Pages::default(),
            served_by: None,
            tasks: Tasks::default(),
            upstream: Upstream::new(NoDialer, Default::default(), &Shared::default(), &Limits::default()),
        });
        let names: Vec<&str> = name_of(&stack)
            .split('<')
            .map(|part| part.rsplit("::").next().unwrap_or(part))
            .collect();
        assert_eq!(names[..13], ORDER, "{names:?}");
    }
}
