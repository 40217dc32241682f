//! What is stored: for how long it serves, and what makes it go.

use std::time::Duration;

use bytes::Bytes;
use hawse_proto::{codes, ir};
use http::{Request, Response};
use tokio::time::{Instant, advance, sleep};

use super::stage::*;
use crate::{body, fault::Fault};

#[tokio::test(start_paused = true)]
async fn stale_answers_serve_while_one_request_asks_again() {
    let shield = ir::Shield {
        ttl_ms: 2000,
        stale_while_revalidate_ms: 10_000,
        ..on()
    };
    let stage = stage(shield, |number, _| async move {
        sleep(Duration::from_secs(1)).await;
        Ok(ok(number.to_string(), &[]))
    });
    stage.get().await;
    advance(Duration::from_secs(3)).await;
    let begun = Instant::now();
    for got in futures((0..50).map(|_| stage.get()).collect()).await {
        assert_eq!((got.text(), got.says()), ("1", "hawse; hit; detail=stale"));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits");
    sleep(Duration::from_millis(1100)).await;
    let got = stage.get().await;
    assert_eq!((got.text(), got.says(), stage.requests()), ("2", "hawse; hit", 2));
    advance(Duration::from_secs(60)).await;
    assert_eq!(stage.get().await.text(), "3", "too old to be given out");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_for_one_visitor_now_is_not_given_out_stale_any_more() {
    let shield = ir::Shield {
        ttl_ms: 1000,
        stale_while_revalidate_ms: 60_000,
        ..on()
    };
    let stage = stage(shield, |number, _| async move {
        let said = if number == 1 { "public" } else { "private" };
        Ok(ok(number.to_string(), &[("cache-control", said)]))
    });
    assert_eq!(stage.get().await.text(), "1");
    advance(Duration::from_secs(2)).await;
    assert_eq!(stage.get().await.says(), "hawse; hit; detail=stale");
    sleep(Duration::from_millis(1)).await; // the refresh comes in
    let got = stage.get().await;
    assert_eq!((got.text(), got.says()), ("3", "hawse; fwd=bypass"));
}

#[tokio::test(start_paused = true)]
async fn an_app_that_fails_is_covered_by_what_it_said_before() {
    let shield = ir::Shield {
        stale_if_error_ms: 3_600_000,
        ..on()
    };
    let stage = stage(shield, |number, _| async move {
        match number {
            1 => Ok(ok("page", &[])),
            2 => Err(Fault::new(&codes::NO_AGENT, "")),
            3 => Ok(Response::builder().status(503).body(body::full("busy")).unwrap()),
            4 => Ok(Response::builder().status(404).body(body::full("gone")).unwrap()),
            _ => Err(Fault::new(&codes::NO_AGENT, "")),
        }
    });
    for says in [
        "hawse; fwd=miss",
        "hawse; fwd=stale; detail=error",
        "hawse; fwd=stale; detail=error",
    ] {
        let got = stage.get().await;
        assert_eq!((got.status, got.text(), got.says()), (200, "page", says));
    }
    assert_eq!(stage.get().await.text(), "gone", "that is no failure");
    assert_eq!(stage.get().await.text(), "gone", "but what it says now");
    advance(Duration::from_secs(3601)).await;
    assert_eq!(stage.ask(Request::get("/")).await.unwrap_err().code.number, 1002);
    assert_eq!(stage.counted()[3], 3);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_says_nothing_has_changed_sends_no_body_again() {
    let stage = stage(on(), |number, request| {
        let condition = request.headers().get("if-none-match").cloned();
        async move {
            match condition {
                Some(tag) if tag == "\"v1\"" => Ok(Response::builder()
                    .status(304)
                    .header("cache-control", "max-age=10")
                    .header("x-said", number.to_string())
                    .body(body::empty())
                    .unwrap()),
                _ => Ok(ok(
                    "page",
                    &[("etag", "\"v1\""), ("cache-control", "max-age=5"), ("x-said", "1")],
                )),
            }
        }
    });
    assert_eq!(stage.get().await.text(), "page");
    advance(Duration::from_secs(5)).await;
    let all = futures((0..20).map(|_| stage.get()).collect()).await;
    for got in &all {
        let said = (got.status, got.text(), got.field("x-said"), got.says());
        assert_eq!(said, (200, "page", "2", "hawse; fwd=stale; fwd-status=304"));
        assert_eq!(got.field("content-length"), "4");
    }
    advance(Duration::from_secs(9)).await;
    assert_eq!((stage.get().await.says(), stage.requests()), ("hawse; hit", 2));
}

#[tokio::test(start_paused = true)]
async fn a_visitor_that_has_it_makes_no_answer_of_its_own() {
    let stage = numbered(on(), &[("etag", "\"v1\""), ("cache-control", "max-age=60")]);
    let has_it = || Request::get("/").header("if-none-match", "\"v1\"");
    let first = stage.ask(has_it()).await.unwrap();
    assert_eq!((first.status, first.text(), first.says()), (304, "", "hawse; fwd=miss"));
    assert!(
        !stage.asked.lock().unwrap()[0].contains_key("if-none-match"),
        "the app is asked for all of it"
    );
    tokio::task::yield_now().await;
    let second = stage.ask(has_it()).await.unwrap();
    assert_eq!(
        (second.status, second.says(), second.field("etag")),
        (304, "hawse; hit", "\"v1\"")
    );
    assert_eq!((stage.get().await.text(), stage.requests()), ("1", 1));
}

#[tokio::test(start_paused = true)]
async fn what_visitors_change_is_asked_for_again() {
    let fields = &[("cache-control", "max-age=60"), ("vary", "accept")];
    let stage = stage(on(), move |number, request| {
        let status = if request.uri().path() == "/refused" { 403 } else { 200 };
        async move {
            let mut response = ok(number.to_string(), fields);
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            Ok(response)
        }
    });
    assert_eq!(stage.get().await.text(), "1");
    let post = stage.ask(Request::post("/other")).await.unwrap();
    assert_eq!((post.text(), post.says()), ("2", "hawse; fwd=method"));
    assert_eq!(stage.get().await.text(), "1");
    stage.ask(Request::delete("/")).await.unwrap();
    assert_eq!(stage.get().await.text(), "4");
}

#[tokio::test(start_paused = true)]
async fn another_holder_another_purge_and_other_words_forget_everything() {
    let shield = ir::Shield { ttl_ms: 60_000, ..on() };
    let stage = numbered(shield.clone(), &[]);
    assert_eq!(stage.get().await.text(), "1");
    stage.apply(|tunnel| {
        tunnel.shield = Some(shield.clone());
        tunnel.timeouts = Some(ir::Timeouts {
            request_ms: 5000,
            ..ir::Timeouts::default()
        });
    });
    assert_eq!(stage.get().await.text(), "1", "another edit");
    let store = stage.routes.store.clone();
    for (text, change) in [
        (
            "2",
            ir::Shield {
                purge: "now".into(),
                ..shield.clone()
            },
        ),
        (
            "3",
            ir::Shield {
                ttl_ms: 50_000,
                ..shield.clone()
            },
        ),
        ("4", shield.clone()),
    ] {
        stage.apply(|tunnel| tunnel.shield = Some(change.clone()));
        assert_eq!((stage.get().await.text(), stage.get().await.text()), (text, text));
        assert_eq!(store.entries(), 1, "the old one is gone");
    }
    stage.apply(|tunnel| {
        tunnel.shield = Some(shield.clone());
        tunnel.holder_generation = 2;
    });
    assert_eq!(stage.get().await.text(), "5");
    let tunnel = stage.tunnel();
    let shield = tunnel.shield.as_ref().unwrap();
    assert_eq!((shield.purge(), shield.purge()), (1, 0));
    assert_eq!(stage.get().await.text(), "6");
    assert!(shield.read().bytes > 0);
    drop(tunnel);
    stage.routes.remove("u1");
    assert_eq!(store.entries(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_before_a_purge_is_not_stored_after_it() {
    let (stage, send) = fed(ir::Shield { ttl_ms: 60_000, ..on() }, &[]);
    let mut before = reader(&stage).await;
    stage.tunnel().shield.as_ref().unwrap().purge();
    send.send(Bytes::from_static(b"old")).await.unwrap();
    drop(send);
    assert_eq!(piece(&mut before).await.unwrap().unwrap(), "old");
    assert!(piece(&mut before).await.is_none());
    assert_eq!(stage.routes.store.entries(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_collapsing_everyone_asks_and_what_is_stored_still_serves() {
    let shield = ir::Shield {
        ttl_ms: 60_000,
        ..ir::Shield::default()
    };
    let stage = stage(shield, |_, _| async {
        sleep(Duration::from_secs(1)).await;
        Ok(ok("page", &[]))
    });
    futures((0..10).map(|_| stage.get()).collect()).await;
    assert_eq!(stage.requests(), 10);
    assert_eq!((stage.get().await.says(), stage.requests()), ("hawse; hit", 10));
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_without_a_shield_is_passed_by() {
    let stage = numbered(on(), &[("cache-control", "max-age=60")]);
    stage.apply(|tunnel| tunnel.shield = None);
    assert_eq!((stage.get().await.text(), stage.get().await.text()), ("1", "2"));
    assert_eq!(stage.get().await.says(), "");
}
