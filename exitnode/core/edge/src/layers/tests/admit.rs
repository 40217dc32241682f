use std::{pin::pin, sync::Arc};

use http::Request;

use super::*;
use crate::{
    body,
    layers::testing::{below, routed, tunnel},
    route::Tunnel,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn two_at_once() -> Arc<Tunnel> {
    tunnel(|tunnel| tunnel.max_concurrent = 2)
}

fn one_of(tunnel: &Arc<Tunnel>) -> Routed {
    routed(tunnel, Request::get("/").body(body::empty()).unwrap())
}

/// The layer above an app that answers at once.
fn admit() -> impl Service<Routed, Response = Response<Body>, Error = Fault, Future: Send + 'static> {
    AdmitLayer {
        patience: PATIENCE,
        pressure: Arc::default(),
    }
    .layer(below(|_: Routed| async { Ok(Response::new(body::empty())) }))
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_the_last_holder_of_a_ticket_lets_go() {
    let tunnel = two_at_once();
    let mut service = admit();
    let (one, two) = (one_of(&tunnel), one_of(&tunnel));
    let held = [one.ticket.clone(), two.ticket.clone()]; // as an answer's body or a WebSocket does
    service.call(one).await.unwrap();
    service.call(two).await.unwrap();
    let mut waits = pin!(service.call(one_of(&tunnel)));
    let waited = timeout(PATIENCE / 2, waits.as_mut()).await;
    assert!(waited.is_err());
    assert_eq!(tunnel.gate.queued(), 1);
    drop(held);
    waits.await.unwrap();
    assert_eq!(tunnel.gate.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_too_long_is_answered_with_when_to_try_again() {
    let tunnel = two_at_once();
    let mut service = admit();
    let held = [one_of(&tunnel), one_of(&tunnel)];
    let mut tickets = Vec::new();
    for routed in held {
        tickets.push(routed.ticket.clone());
        service.call(routed).await.unwrap();
    }
    let begun = tokio::time::Instant::now();
    let fault = service.call(one_of(&tunnel)).await.unwrap_err();
    assert_eq!((fault.code.number, begun.elapsed()), (1010, PATIENCE));
    assert_eq!(fault.retry_after, Some(limits::TUNNEL_QUEUE_RETRY));
    assert!(
        fault.detail.starts_with("2 requests of this tunnel run"),
        "{}",
        fault.detail
    );
    assert_eq!(tunnel.gate.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn past_the_places_to_wait_in_one_is_refused_at_once() {
    let tunnel = two_at_once();
    let mut service = admit();
    let (one, two) = (one_of(&tunnel), one_of(&tunnel));
    let _held = [one.ticket.clone(), two.ticket.clone()];
    service.call(one).await.unwrap();
    service.call(two).await.unwrap();
    let waiting: Vec<_> = (0..limits::TUNNEL_QUEUE_PER_ADDRESS)
        .map(|_| service.call(one_of(&tunnel)))
        .collect();
    let begun = tokio::time::Instant::now();
    let fault = service.call(one_of(&tunnel)).await.unwrap_err();
    assert_eq!((fault.code.number, begun.elapsed()), (1010, Duration::ZERO));
    drop(waiting);
    assert_eq!(tunnel.gate.queued(), 0, "who leaves gives the turn up");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_let_in_while_memory_is_short() {
    let (tunnel, pressure) = (two_at_once(), Arc::<Pressure>::default());
    let layer = AdmitLayer {
        patience: PATIENCE,
        pressure: pressure.clone(),
    };
    let mut service = layer.layer(below(|_: Routed| async { Ok(Response::new(body::empty())) }));
    pressure.simulate(90);
    let fault = service.call(one_of(&tunnel)).await.unwrap_err();
    assert_eq!(
        (fault.code.number, fault.retry_after),
        (1010, Some(limits::MEMORY_RETRY))
    );
    pressure.simulate(10);
    service.call(one_of(&tunnel)).await.unwrap();
}
