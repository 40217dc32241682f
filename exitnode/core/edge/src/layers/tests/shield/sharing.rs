//! Who shares an answer with whom while it is fetched, and what becomes of them when it fails.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hawse_proto::{codes, ir};
use http::Request;
use http_body_util::BodyExt;
use tokio::{
    sync::Semaphore,
    time::{Instant, advance, sleep, timeout},
};

use super::stage::*;
use crate::{body, fault::Fault, limits};

#[tokio::test(start_paused = true)]
async fn a_thousand_at_once_are_one_request() {
    let gate = Arc::new(Semaphore::new(0));
    let opens = gate.clone();
    let stage = stage(on(), move |_, _| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(ok("page", &[]))
        }
    });
    let all: Vec<_> = (0..1000).map(|_| stage.get()).collect();
    let mut all = pin!(futures(all));
    assert!(timeout(Duration::from_secs(1), all.as_mut()).await.is_err());
    opens.add_permits(2);
    let all = all.await;
    assert_eq!(stage.requests(), 1);
    assert!(all.iter().all(|got| got.text() == "page"));
    assert_eq!(stage.counted(), [0, 1, 999, 0, 0]);
    // It said nothing of how long it is fresh, and neither does the tunnel: the next one asks again.
    assert_eq!(stage.get().await.says(), "hawse; fwd=miss");
    assert_eq!(stage.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_fresh_is_answered_from_memory_and_then_asked_for_again() {
    let stage = numbered(on(), &[("cache-control", "max-age=60"), ("age", "10")]);
    assert_eq!((stage.get().await.text(), stage.get().await.text()), ("1", "1"));
    advance(Duration::from_secs(49)).await;
    let got = stage.get().await;
    assert_eq!((got.text(), got.field("age"), got.says()), ("1", "59", "hawse; hit"));
    advance(Duration::from_secs(1)).await;
    assert_eq!(stage.get().await.text(), "2");
    assert_eq!(stage.counted(), [2, 2, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_ttl_is_for_answers_that_don_t_say() {
    let two_seconds = ir::Shield { ttl_ms: 2000, ..on() };
    let silent = numbered(two_seconds.clone(), &[]);
    let speaks = numbered(two_seconds, &[("cache-control", "max-age=60")]);
    for (stage, after) in [(&silent, "2"), (&speaks, "1")] {
        assert_eq!((stage.get().await.text(), stage.get().await.text()), ("1", "1"));
        advance(Duration::from_secs(2)).await;
        assert_eq!(stage.get().await.text(), after);
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_t_be_shared_is_waited_for_once() {
    for fields in [
        &[("set-cookie", "sid=1"), ("cache-control", "public, max-age=60")][..],
        &[("cache-control", "Private")],
        &[("cache-control", "no-store")],
        &[("cache-control", "no-cache")],
        &[("vary", "*")],
        &[("content-type", "text/event-stream")],
    ] {
        let fields: &'static [_] = fields;
        let stage = stage(ir::Shield { ttl_ms: 60_000, ..on() }, move |number, _| async move {
            sleep(Duration::from_secs(1)).await;
            Ok(ok(number.to_string(), fields))
        });
        let begun = Instant::now();
        let all = futures((0..50).map(|_| stage.get()).collect()).await;
        let mut texts: Vec<_> = all.iter().map(|got| got.text().to_owned()).collect();
        texts.sort();
        texts.dedup();
        assert_eq!((texts.len(), stage.requests()), (50, 50), "{fields:?}");
        assert_eq!(begun.elapsed().as_secs(), 2, "one after the other: {fields:?}");
        // From now on nobody waits for another, also when it is time to look again.
        for pause in [0, 4, 6, 100] {
            advance(Duration::from_secs(pause)).await;
            let begun = Instant::now();
            futures((0..50).map(|_| stage.get()).collect()).await;
            assert_eq!(begun.elapsed().as_secs(), 1, "{fields:?} after {pause} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_turns_out_to_be_for_all_is_shared_again() {
    let stage = stage(on(), |number, _| async move {
        let said = if number == 1 { "private" } else { "max-age=60" };
        Ok(ok(number.to_string(), &[("cache-control", said)]))
    });
    stage.get().await;
    assert_eq!(stage.get().await.says(), "hawse; fwd=bypass");
    advance(limits::SHIELD_UNSHARED).await;
    assert_eq!(stage.get().await.text(), "3");
    assert_eq!(stage.get().await.says(), "hawse; hit");
}

#[tokio::test(start_paused = true)]
async fn each_variant_is_fetched_once() {
    let stage = stage(on(), |_, request| {
        let language = request.headers().get("accept-language").cloned();
        async move {
            sleep(Duration::from_secs(1)).await;
            let text = language.map_or(String::new(), |one| one.to_str().unwrap().to_owned());
            Ok(ok(
                text,
                &[("vary", "Accept-Language"), ("cache-control", "max-age=60")],
            ))
        }
    });
    let ask = |language: &'static str| stage.ask(Request::get("/").header("accept-language", language));
    let all = futures((0..90).map(|n| ask(["de", "en", "fr"][n % 3])).collect()).await;
    for (n, got) in all.into_iter().enumerate() {
        assert_eq!(got.unwrap().text(), ["de", "en", "fr"][n % 3]);
    }
    assert_eq!(stage.requests(), 3);
    assert_eq!(ask("fr").await.unwrap().says(), "hawse; hit");
    assert_eq!(ask("nl").await.unwrap().text(), "nl");
    assert_eq!(stage.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn fields_of_the_tunnel_tell_answers_apart() {
    let shield = ir::Shield {
        key_headers: vec!["x-tenant".into()],
        ttl_ms: 60_000,
        ..on()
    };
    let stage = numbered(shield, &[]);
    let ask = |tenant: &'static str| stage.ask(Request::get("/").header("x-tenant", tenant));
    for (tenant, text) in [("a", "1"), ("b", "2"), ("a", "1"), ("b", "2")] {
        assert_eq!(ask(tenant).await.unwrap().text(), text);
    }
    assert_eq!(stage.get().await.text(), "3");
}

#[tokio::test(start_paused = true)]
async fn who_has_credentials_gets_nobody_else_s_answer() {
    let stage = numbered(ir::Shield { ttl_ms: 60_000, ..on() }, &[]);
    assert_eq!(stage.get().await.text(), "1");
    let basic = stage
        .ask(Request::get("/").header("authorization", "Basic eA=="))
        .await
        .unwrap();
    assert_eq!((basic.text(), basic.says()), ("2", "hawse; fwd=bypass"));
    let cookie = stage.ask(Request::get("/").header("cookie", "sid=1")).await.unwrap();
    assert_eq!(cookie.text(), "3", "silence is no consent");
    for (name, text) in [("anna", "4"), ("ben", "5")] {
        let mut routed = stage.routed(Request::get("/").body(body::empty()).unwrap());
        routed.identity = Some(Arc::new(crate::access::Identity::new(name, Default::default())));
        assert_eq!(Got::of(stage.serve(routed).await.unwrap()).await.unwrap().text(), text);
    }
    assert_eq!(stage.get().await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn cookies_don_t_matter_where_the_app_says_it_is_for_all() {
    let stage = numbered(on(), &[("cache-control", "public, max-age=60")]);
    let with = |cookie: &'static str| stage.ask(Request::get("/").header("cookie", cookie));
    assert_eq!(with("a=1").await.unwrap().text(), "1");
    assert_eq!(with("a=2").await.unwrap().text(), "1");
    assert_eq!(stage.get().await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_head_is_another_s_turn() {
    let stage = stage(on(), |number, _| async move {
        sleep(Duration::from_secs(1)).await;
        match number {
            1 => Err(Fault::new(&codes::APP_CLOSED, "")),
            _ => Ok(ok("page", &[])),
        }
    });
    let all = futures((0..100).map(|_| stage.get()).collect()).await;
    assert!(
        all.iter().all(|got| got.text() == "page"),
        "also the one for whom it failed"
    );
    assert_eq!(stage.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_keeps_failing_is_not_asked_by_everyone() {
    for (code, requests) in [
        (&codes::APP_CLOSED, 2),
        (&codes::APP_TIMED_OUT, 1),
        (&codes::NO_AGENT, 1),
    ] {
        let stage = stage(on(), move |_, _| async move {
            sleep(Duration::from_secs(1)).await;
            Err(Fault::new(code, ""))
        });
        let all = futures((0..100).map(|_| stage.ask(Request::get("/"))).collect()).await;
        assert!(
            all.iter()
                .all(|got| got.as_ref().unwrap_err().code.number == code.number)
        );
        assert_eq!(stage.requests(), requests);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_head_cuts_every_reader_and_stores_nothing() {
    let stage = stage(on(), |number, _| async move {
        let mut response = ok("page", &[("cache-control", "max-age=60")]);
        if number == 1 {
            *response.body_mut() = Breaks(false).boxed_unsync();
        }
        Ok(response)
    });
    let all = futures((0..20).map(|_| stage.get()).collect()).await;
    assert!(all.iter().all(|got| got.status == 200 && got.body.is_err()));
    assert_eq!(stage.requests(), 1);
    assert_eq!(stage.get().await.text(), "page");
}

#[tokio::test(start_paused = true)]
async fn those_who_come_late_read_from_the_beginning_and_go_on_when_the_first_leaves() {
    let (stage, send) = fed(on(), &[("cache-control", "max-age=60")]);
    let mut first = reader(&stage).await;
    send.send(Bytes::from_static(b"one")).await.unwrap();
    assert_eq!(piece(&mut first).await.unwrap().unwrap(), "one");
    let mut second = reader(&stage).await;
    drop(first);
    assert_eq!(piece(&mut second).await.unwrap().unwrap(), "one");
    send.send(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(piece(&mut second).await.unwrap().unwrap(), "two");
    drop(send);
    assert!(piece(&mut second).await.is_none());
    assert_eq!((stage.get().await.text(), stage.requests()), ("onetwo", 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_can_be_stored_is_fetched_to_its_end_though_nobody_reads_it() {
    let (stage, send) = fed(on(), &[("cache-control", "max-age=60")]);
    drop(reader(&stage).await);
    send.send(Bytes::from_static(b"page")).await.unwrap();
    drop(send);
    tokio::task::yield_now().await;
    assert_eq!((stage.get().await.text(), stage.requests()), ("page", 1));
    // But not for ever.
    let (stage, send) = fed(on(), &[("cache-control", "max-age=60")]);
    drop(reader(&stage).await);
    let begun = Instant::now();
    send.closed().await;
    assert_eq!(begun.elapsed(), limits::SHIELD_UNREAD);
    // And one that can't be stored not at all.
    let (stage, send) = fed(on(), &[]);
    drop(reader(&stage).await);
    let begun = Instant::now();
    send.closed().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_given_up_at_the_app_when_all_who_waited_have_left() {
    let (held, app) = (Arc::new(()), Arc::new(Mutex::new(None)));
    *app.lock().unwrap() = Some(held.clone());
    let stage = stage(on(), move |_, _| {
        let held = app.lock().unwrap().take();
        async move {
            sleep(Duration::from_secs(60)).await;
            drop(held);
            Ok(ok("", &[]))
        }
    });
    let one = timeout(Duration::from_secs(1), stage.get());
    let two = timeout(Duration::from_secs(2), stage.get());
    let (one, two) = tokio::join!(one, two);
    assert!(one.is_err() && two.is_err());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(Arc::strong_count(&held), 1);
}
