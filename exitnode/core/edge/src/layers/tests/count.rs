use http::{Request, StatusCode};
use http_body_util::BodyExt;

use super::*;
use crate::{
    body,
    fault::BodyFault,
    layers::testing::{below, routed, tunnel},
    route::Tunnel,
};

fn get() -> Request<Body> {
    Request::get("/").body(body::empty()).unwrap()
}

fn read(tunnel: &Tunnel) -> hawse_proto::core::TunnelCounters {
    tunnel.counters.read("u1")
}

#[tokio::test]
async fn an_answer_counts_its_class_its_bytes_and_is_in_flight_until_its_body_is_gone() {
    let tunnel = tunnel(|_| {});
    let mut service = CountLayer.layer(below(|routed: Routed| async {
        let taken = routed.request.into_body().collect().await.unwrap().to_bytes();
        let mut response = Response::new(body::full(taken));
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok(response)
    }));
    let response = service
        .call(routed(&tunnel, Request::post("/").body(body::full("hello")).unwrap()))
        .await
        .unwrap();
    assert_eq!(read(&tunnel).in_flight, 1);
    response.into_body().collect().await.unwrap();
    let counters = read(&tunnel);
    assert_eq!(counters.by_class, [0, 0, 0, 0, 1, 0]);
    assert_eq!(
        (
            counters.requests,
            counters.bytes_in,
            counters.bytes_out,
            counters.in_flight
        ),
        (1, 5, 5, 0)
    );
}

#[tokio::test]
async fn a_fault_counts_as_the_answer_that_it_becomes() {
    let tunnel = tunnel(|_| {});
    let mut service = CountLayer.layer(below(|_: Routed| async {
        Err(Fault::new(&hawse_proto::codes::APP_REFUSED, ""))
    }));
    service.call(routed(&tunnel, get())).await.unwrap_err();
    let counters = read(&tunnel);
    assert_eq!(counters.by_class, [0, 0, 0, 0, 0, 1]);
    assert_eq!(counters.errors["HAWSE-1003"], 1);
    assert_eq!(counters.in_flight, 0);
}

#[tokio::test]
async fn a_visitor_that_left_before_the_answer_counts_in_no_class() {
    let tunnel = tunnel(|_| {});
    let mut service = CountLayer.layer(below(|routed: Routed| async move {
        let _held = routed;
        std::future::pending().await
    }));
    let answer = service.call(routed(&tunnel, get()));
    assert_eq!(read(&tunnel).in_flight, 1);
    drop(answer);
    let counters = read(&tunnel);
    assert_eq!((counters.by_class, counters.in_flight), (vec![1, 0, 0, 0, 0, 0], 0));
}

#[tokio::test]
async fn an_answer_that_breaks_counts_its_code() {
    let tunnel = tunnel(|_| {});
    let mut service = CountLayer.layer(below(|_: Routed| async {
        let broken = Broken(Some(BodyFault(&hawse_proto::codes::AGENT_LOST).into()));
        Ok(Response::new(broken.boxed_unsync()))
    }));
    let response = service.call(routed(&tunnel, get())).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(read(&tunnel).errors["HAWSE-1013"], 1);
}

/// A body that only fails.
struct Broken(Option<BoxError>);

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.get_mut().0.take().map(Err))
    }
}
