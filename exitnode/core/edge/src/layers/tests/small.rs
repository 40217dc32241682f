//! Layers whose decision is one line: stamp, rescue, strict, route, closed.

use std::sync::atomic::Ordering::Relaxed;

use hawse_proto::{codes, ir};
use http::{Request, Response};
use tower::{Layer, Service};

use super::{
    closed::ClosedLayer,
    rescue::RescueLayer,
    route::RouteLayer,
    stamp::StampLayer,
    strict::StrictLayer,
    testing::{HOST, arrival, below, below_nothing, routed, shared, tunnel, tunnel_ir, visit},
};
use crate::{
    body::{self, Body},
    fault::Fault,
    rules::HeadBounds,
    visit::{Arrival, Routed, Visit},
};

fn get(host: &str) -> Request<Body> {
    Request::get("/").header("host", host).body(body::empty()).unwrap()
}

fn ok() -> super::Outcome {
    Ok(Response::new(body::empty()))
}

#[tokio::test]
async fn stamp_puts_the_names_on_every_answer_over_what_was_there() {
    let layer = StampLayer {
        served_by: Some("xn-1".parse().unwrap()),
    };
    let mut service = layer.layer(below_nothing(|_: Arrival| async {
        Ok(Response::builder()
            .header("x-hawse-served-by", "forged")
            .body(body::empty())
            .unwrap())
    }));
    let arrival = arrival(&shared(), get(HOST));
    let id = arrival.request_id.clone();
    let response = service.call(arrival).await.unwrap();
    assert_eq!(response.headers()["x-hawse-served-by"], "xn-1");
    assert_eq!(response.headers()["x-hawse-request-id"], id.as_str());
    assert_eq!(response.headers().get_all("x-hawse-served-by").iter().count(), 1);
}

#[tokio::test]
async fn rescue_renders_faults_and_leaves_answers_alone() {
    let layer = RescueLayer {
        pages: Default::default(),
    };
    let mut service = layer.layer(below(|_: Arrival| async { Err(Fault::new(&codes::APP_CLOSED, "")) }));
    let response = service.call(arrival(&shared(), get(HOST))).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-hawse-error"]),
        (502, &"HAWSE-1005".parse().unwrap())
    );
    let mut service = layer.layer(below(|_: Arrival| async { ok() }));
    let response = service.call(arrival(&shared(), get(HOST))).await.unwrap();
    assert!(response.status() == 200 && response.headers().is_empty());
}

#[tokio::test]
async fn strict_names_the_host_or_refuses() {
    let bounds = HeadBounds { fields: 2, bytes: 100 };
    let layer = StrictLayer { bounds };
    let mut service = layer.layer(below(|visit: Visit| async move {
        assert_eq!(
            (visit.authority.host.as_str(), visit.authority.text.to_str().unwrap()),
            (HOST, "SHOP.t.example:443")
        );
        ok()
    }));
    service
        .call(arrival(&shared(), get("SHOP.t.example:443")))
        .await
        .unwrap();
    let fault = service.call(arrival(&shared(), get("a b"))).await.unwrap_err();
    assert_eq!(fault.code.number, 1006);
    let mut many = get(HOST);
    many.headers_mut()
        .extend(["a", "b"].map(|name| (http::HeaderName::from_static(name), "1".parse().unwrap())));
    assert_eq!(
        service.call(arrival(&shared(), many)).await.unwrap_err().code.number,
        1007
    );
    let mut long = get(HOST);
    long.headers_mut().insert("a", "b".repeat(100).parse().unwrap());
    assert_eq!(
        service.call(arrival(&shared(), long)).await.unwrap_err().code.number,
        1007
    );
}

#[tokio::test]
async fn route_finds_the_tunnel_of_a_host_that_the_connection_may_ask_for() {
    let shared = shared();
    shared.routes.apply(tunnel_ir()).unwrap();
    shared
        .routes
        .apply(ir::Tunnel {
            uid: "u2".into(),
            hostname: "shop.u.example".into(),
            ..tunnel_ir()
        })
        .unwrap();
    let mut service = RouteLayer { shared: shared.clone() }.layer(below(|routed: Routed| async move {
        assert_eq!(routed.tunnel.uid, "u1");
        ok()
    }));
    service.call(visit(&shared, HOST, get(HOST))).await.unwrap();
    let fault = service
        .call(visit(&shared, "nobody.t.example", get(HOST)))
        .await
        .unwrap_err();
    assert_eq!(fault.code.number, 1001);
    // It has a tunnel, but not on this connection.
    let fault = service
        .call(visit(&shared, "shop.u.example", get(HOST)))
        .await
        .unwrap_err();
    assert_eq!(fault.code.number, 1012);
    assert_eq!(shared.totals.unknown_host.load(Relaxed), 1);
}

#[tokio::test]
async fn closed_says_the_operators_sentence() {
    let closed = tunnel(|tunnel| {
        tunnel.closed = Some(ir::Closed {
            code: "HAWSE-1008".into(),
            message: "Suspended.".into(),
        });
    });
    let mut service = ClosedLayer.layer(below(|_: Routed| async { ok() }));
    let fault = service.call(routed(&closed, get(HOST))).await.unwrap_err();
    assert_eq!((fault.code.number, fault.detail.as_ref()), (1008, "Suspended."));
    service.call(routed(&tunnel(|_| {}), get(HOST))).await.unwrap();
}
