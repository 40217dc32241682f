//! What visitors get over a real connection: both protocols, streaming, upgrades, pages for every failing hop.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    clippy::large_futures,
    reason = "tests panic, own their tasks, are tables, and don't care about the size of a future"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use hawse_proto::{core::EdgeOptions, ir};
use http_body_util::BodyExt;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, mpsc},
};

const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nhost: shop.t.example\r\n\r\n";

#[tokio::test]
async fn a_request_reaches_the_app_and_says_who_asks() {
    let scene = Scene::new(echo).await;
    let reply = scene
        .ask(
            b"GET /a?b=c HTTP/1.1\r\nhost: Shop.t.example:443\r\nx-forwarded-for: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\n\
              x-real-ip: 6.6.6.6\r\nx_forwarded_for: 6.6.6.6\r\nx-hawse-user: root\r\nconnection: x-secret, host\r\n\
              x-secret: 1\r\nkeep-alive: 1\r\nte: trailers\r\ncookie: a=1\r\nupgrade: h2c\r\n\r\n",
        )
        .await;
    assert_eq!(reply.status, 200);
    let seen = reply.text();
    assert!(seen.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{seen}");
    for line in [
        "host: Shop.t.example:443",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: Shop.t.example:443",
        "te: trailers",
        "connection: te",
        "cookie: a=1",
    ] {
        assert!(seen.contains(&format!("{line}\r\n")), "{line} in {seen}");
    }
    for gone in [
        "6.6.6.6",
        "x-secret",
        "keep-alive",
        "x-hawse-user",
        "upgrade",
        "x_forwarded",
    ] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    assert_eq!(reply.headers["x-hawse-served-by"], "xn-1");
    assert_eq!(reply.headers["x-app"], "yes");
    let id = &reply.headers["x-hawse-request-id"];
    assert!(id.len() == 32 && seen.contains(&format!("x-hawse-request-id: {id}\r\n")));
}

#[tokio::test]
async fn http_2_reaches_an_http_1_app_with_its_cookie_crumbs_joined() {
    let scene = Scene::new(echo).await;
    let mut visitor = scene.h2().await;
    let request = request("POST", "/x")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(bytes_body("hello"))
        .unwrap();
    let (head, body) = soon(visitor.send_request(request)).await.unwrap().into_parts();
    assert_eq!((head.status.as_u16(), head.version), (200, http::Version::HTTP_2));
    let seen = String::from_utf8(soon(body.collect()).await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(
        seen.starts_with("POST /x HTTP/1.1\r\n") && seen.ends_with("hello"),
        "{seen}"
    );
    assert!(
        seen.contains("host: shop.t.example\r\n") && seen.contains("cookie: a=1; b=2\r\n"),
        "{seen}"
    );
}

#[tokio::test]
async fn connections_to_the_app_are_used_again() {
    let scene = Scene::new(echo).await;
    let mut visitor = scene.h1().await;
    for _ in 0..5 {
        visitor.write_all(GET).await.unwrap();
        assert_eq!(read_reply(&mut visitor, false).await.status, 200);
    }
    assert_eq!(scene.opened(), 1);
    let counters = scene.counters();
    assert_eq!((counters.requests, counters.by_class[2], counters.in_flight), (5, 5, 0));
    assert!(counters.bytes_out > 0);
}

#[tokio::test]
async fn every_failing_hop_has_its_code() {
    let unset = None::<&'static [u8]>;
    for (name, dial, app, status, code, says_so) in [
        ("no agent", Dial::NoAgent, unset, 503, "HAWSE-1002", "14 min"),
        (
            "app refused",
            Dial::Fails(0, 1003),
            unset,
            502,
            "HAWSE-1003",
            "Is it running?",
        ),
        ("app closed", Dial::App, Some(b"".as_slice()), 502, "HAWSE-1005", ""),
        (
            "app closed in its head",
            Dial::App,
            Some(b"HTTP/1.1 200 OK\r\nconte"),
            502,
            "HAWSE-1005",
            "",
        ),
        (
            "link lost while dialling",
            Dial::LinkLost,
            unset,
            502,
            "HAWSE-1013",
            "timed out",
        ),
        ("link lost after it", Dial::Fails(0, 0), unset, 502, "HAWSE-1013", ""),
        (
            "agent drains",
            Dial::Fails(0, 2015),
            unset,
            502,
            "HAWSE-1013",
            "HAWSE-2015",
        ),
        (
            "not HTTP",
            Dial::App,
            Some(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            502,
            "HAWSE-1014",
            "",
        ),
        (
            "unasked upgrade",
            Dial::App,
            Some(b"HTTP/1.1 101 X\r\nupgrade: y\r\nconnection: upgrade\r\n\r\n"),
            502,
            "HAWSE-1014",
            "",
        ),
    ] {
        let scene = match app {
            Some(bytes) => Scene::new(says(bytes)).await,
            None => Scene::new(echo).await,
        };
        scene.dial(dial);
        let reply = scene.ask(GET).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{name}: {}", reply.text());
        assert!(reply.text().contains(says_so), "{name}: {}", reply.text());
        assert_eq!(reply.headers.contains_key("retry-after"), status == 503, "{name}");
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert_eq!(scene.counters().errors.get(code), Some(&1), "{name}");
    }
}

#[tokio::test]
async fn hosts_without_a_tunnel_closed_tunnels_and_foreign_hosts() {
    let scene = Scene::new(echo).await;
    let closed = Some(ir::Closed {
        code: "HAWSE-1008".into(),
        message: "Suspended by its owner.".into(),
    });
    scene
        .edge
        .apply(object(ir::Tunnel {
            closed,
            ..tunnel("u2", OTHER)
        }))
        .unwrap();
    for (host, status, code) in [
        ("nobody.t.example", 404, "HAWSE-1001"),
        (OTHER, 503, "HAWSE-1008"),
        ("shop.u.example", 421, "HAWSE-1012"),
        ("10.0.0.1", 421, "HAWSE-1012"),
    ] {
        let reply = scene
            .ask(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes())
            .await;
        assert_eq!((reply.status, reply.code()), (status, code), "{host}");
        assert_eq!(reply.headers["content-type"], "application/problem+json");
    }
    assert_eq!(scene.snapshot().unknown_host, 1);
    scene.edge.remove("tunnel/u1");
    assert_eq!(scene.ask(GET).await.code(), "HAWSE-1001");
}

#[tokio::test]
async fn a_browser_gets_the_page_of_the_exit_node() {
    let page = "<h1>{host}</h1>{request_id} {detail}";
    let options = EdgeOptions {
        pages: [("HAWSE-1001".to_owned(), page.into())].into(),
        ..EdgeOptions::default()
    };
    let scene = Scene::with(options, tunnel("u1", HOST), echo).await;
    let reply = scene
        .ask(b"GET / HTTP/1.1\r\nhost: x.t.example\r\naccept: text/html\r\n\r\n")
        .await;
    assert_eq!(
        (reply.status, reply.headers["content-type"].as_str()),
        (404, "text/html; charset=utf-8")
    );
    assert!(reply.text().starts_with("<h1>x.t.example</h1>"), "{}", reply.text());
    assert!(reply.text().contains(&reply.headers["x-hawse-request-id"]));
}

#[tokio::test]
async fn an_app_that_does_not_answer_in_time_is_named() {
    let timeouts = Some(ir::Timeouts {
        request_ms: 150,
        idle_ms: 0,
    });
    let scene = Scene::with(
        EdgeOptions::default(),
        ir::Tunnel {
            timeouts,
            ..tunnel("u1", HOST)
        },
        |mut stream| async move {
            // Stays open: only the edge ends it.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        },
    )
    .await;
    let reply = scene.ask(GET).await;
    assert_eq!((reply.status, reply.code()), (504, "HAWSE-1004"));
    assert!(reply.text().contains("150ms"), "{}", reply.text());
}

#[tokio::test]
async fn an_answer_cut_by_the_app_is_broken_for_the_visitor() {
    for (name, dial, answer, code) in [
        (
            "length",
            Dial::App,
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".as_slice(),
            "HAWSE-1005",
        ),
        (
            "chunked",
            Dial::App,
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HAWSE-1005",
        ),
        (
            "link",
            Dial::Fails(48, 0),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HAWSE-1013",
        ),
        // Ended by its close alone: a lost link must not look like the end.
        (
            "until close",
            Dial::Fails(35, 0),
            b"HTTP/1.1 200 OK\r\nx-app: 1\r\n\r\nhalf of it",
            "HAWSE-1013",
        ),
    ] {
        let scene = Scene::new(says(answer)).await;
        scene.dial(dial);
        let reply = scene.ask(GET).await;
        assert_eq!((reply.status, reply.whole), (200, false), "{name}: {reply:?}");
        assert_eq!(scene.counters().errors.get(code), Some(&1), "{name}");

        let mut visitor = scene.h2().await;
        let answer = soon(visitor.send_request(request("GET", "/").body(no_body()).unwrap()))
            .await
            .unwrap();
        assert!(soon(answer.into_body().collect()).await.is_err(), "{name} over HTTP/2");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_whole() {
    let scene = Scene::new(says(b"HTTP/1.0 200 OK\r\n\r\nall of it")).await;
    let reply = scene.ask(GET).await;
    assert_eq!(
        (reply.status, reply.whole, reply.text().as_str()),
        (200, true, "all of it")
    );
}

#[tokio::test]
async fn events_come_one_by_one_and_the_first_at_once() {
    let next = Arc::new(Notify::new());
    let waits = next.clone();
    let scene = Scene::new(move |mut stream| {
        let next = waits.clone();
        async move {
            app_head(&mut stream).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
                .await;
            for n in 0..3 {
                next.notified().await;
                let _ = stream.write_all(format!("data: {n}\n\n").as_bytes()).await;
            }
        }
    })
    .await;
    let mut visitor = scene.h2().await;
    let answer = soon(visitor.send_request(request("GET", "/events").body(no_body()).unwrap()))
        .await
        .unwrap();
    let mut body = answer.into_body();
    for n in 0..3 {
        next.notify_one();
        let event = soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(event, format!("data: {n}\n\n"));
    }
    assert!(soon(body.collect()).await.unwrap().to_bytes().is_empty());
    drop(visitor);

    let mut visitor = scene.h1().await;
    visitor.write_all(GET).await.unwrap();
    let head = read_head(&mut visitor).await.unwrap();
    assert!(
        head.contains("text/event-stream"),
        "the head came before any event: {head}"
    );
    next.notify_one();
    let mut got = vec![0; 64];
    let count = soon(visitor.read(&mut got)).await.unwrap();
    assert!(String::from_utf8_lossy(&got[..count]).contains("data: 0"));
}

#[tokio::test]
async fn an_upload_streams_and_answers_may_come_before_its_end() {
    let scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        // Whatever comes goes back at once, as a chunk.
        let mut buf = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buf).await {
            let text = String::from_utf8_lossy(&buf[..count]).into_owned();
            let last = text.contains("0\r\n\r\n");
            let data = text.lines().nth(1).unwrap_or_default().to_owned();
            if !data.is_empty() {
                let _ = stream
                    .write_all(format!("{:x}\r\n{data}\r\n", data.len()).as_bytes())
                    .await;
            }
            if last {
                let _ = stream.write_all(b"0\r\n\r\n").await;
            }
        }
    })
    .await;
    let mut visitor = scene.h2().await;
    let (send, receive) = mpsc::channel(1);
    let sending = visitor.send_request(request("POST", "/").body(Fed(receive).boxed()).unwrap());
    send.send(Ok(http_body::Frame::data(Bytes::from_static(b"one"))))
        .await
        .unwrap();
    let mut answer = soon(sending).await.unwrap().into_body();
    let first = soon(answer.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one", "answered while the upload goes on");
    send.send(Ok(http_body::Frame::data(Bytes::from_static(b"two"))))
        .await
        .unwrap();
    assert_eq!(soon(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), "two");
    drop(send);
    assert!(soon(answer.collect()).await.is_ok());
}

#[tokio::test]
async fn ten_mebibytes_go_up_and_down_whole() {
    let scene = Scene::new(echo).await;
    let mut visitor = scene.h2().await;
    let bytes = Bytes::from(vec![7; 10 << 20]);
    let answer = soon(visitor.send_request(request("PUT", "/").body(bytes_body(bytes.clone())).unwrap()))
        .await
        .unwrap();
    let got = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    assert!(got.ends_with(&bytes) && got.len() > bytes.len());
    let counters = scene.counters();
    assert_eq!((counters.bytes_in, counters.bytes_out), (10 << 20, got.len() as u64));
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let scene = Scene::new(echo).await;
    let mut visitor = scene.h1().await;
    for _ in 0..2 {
        visitor
            .write_all(b"HEAD / HTTP/1.1\r\nhost: shop.t.example\r\n\r\n")
            .await
            .unwrap();
        let reply = read_reply(&mut visitor, true).await;
        assert_eq!(reply.status, 200);
        assert_ne!(reply.headers["content-length"], "0");
    }
    let mut visitor = scene.h2().await;
    let answer = soon(visitor.send_request(request("HEAD", "/").body(no_body()).unwrap()))
        .await
        .unwrap();
    assert!(answer.headers().contains_key("content-length"));
    assert!(soon(answer.into_body().collect()).await.unwrap().to_bytes().is_empty());
    let unknown = request("HEAD", "/")
        .uri("https://nobody.t.example/")
        .body(no_body())
        .unwrap();
    let answer = soon(visitor.send_request(unknown)).await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(soon(answer.into_body().collect()).await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn a_visitor_that_expects_100_continue_gets_it_when_the_app_takes_the_body() {
    let scene = Scene::new(echo).await;
    let mut visitor = scene.h1().await;
    visitor
        .write_all(b"POST / HTTP/1.1\r\nhost: shop.t.example\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    assert!(read_head(&mut visitor).await.unwrap().starts_with("HTTP/1.1 100"));
    visitor.write_all(b"hello").await.unwrap();
    let reply = read_reply(&mut visitor, false).await;
    assert!(reply.status == 200 && reply.text().ends_with("hello"), "{reply:?}");
    assert!(!reply.text().contains("expect"));
    // Refused before the body is asked for: no 100.
    scene.dial(Dial::NoAgent);
    let mut visitor = scene.h1().await;
    visitor
        .write_all(b"POST / HTTP/1.1\r\nhost: x.t.example\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    assert!(read_head(&mut visitor).await.unwrap().starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn informational_answers_of_the_app_do_not_disturb() {
    let scene = Scene::new(says(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ))
    .await;
    let reply = scene.ask(GET).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n")
            .await;
    })
    .await;
    let mut visitor = scene.h2().await;
    let answer = soon(visitor.send_request(request("GET", "/").body(no_body()).unwrap()))
        .await
        .unwrap();
    let collected = soon(answer.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    let ask = b"GET / HTTP/1.1\r\nhost: shop.t.example\r\nte: trailers\r\n\r\n";
    assert!(scene.ask(ask).await.trailers.contains("grpc-status: 0"));

    let scene = Scene::new(echo).await;
    let mut visitor = scene.h2().await;
    let (send, receive) = mpsc::channel(4);
    send.send(Ok(http_body::Frame::data(Bytes::from_static(b"body"))))
        .await
        .unwrap();
    let fields = [
        ("x-sum", "1"),
        ("x_forwarded_for", "6"),
        ("x-forwarded-for", "6"),
        ("x-hawse-user", "root"),
    ];
    let mut trailers = http::HeaderMap::new();
    for (name, value) in fields {
        trailers.insert(name, value.parse().unwrap());
    }
    send.send(Ok(http_body::Frame::trailers(trailers))).await.unwrap();
    drop(send);
    let names = "x-sum, x_forwarded_for, x-forwarded-for, x-hawse-user";
    let ask = request("POST", "/")
        .header("trailer", names)
        .body(Fed(receive).boxed())
        .unwrap();
    let answer = soon(visitor.send_request(ask)).await.unwrap();
    let seen = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    assert!(
        seen.ends_with(b"bodyx-sum: 1\r\n"),
        "{}",
        String::from_utf8_lossy(&seen)
    );
}

#[tokio::test]
async fn a_stale_pooled_connection_is_replaced_if_the_request_may_be_repeated() {
    // Answers one request, then closes when the next one arrives, without a word.
    let scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        app_head(&mut stream).await;
    })
    .await;
    let mut visitor = scene.h1().await;
    for _ in 0..3 {
        visitor.write_all(GET).await.unwrap();
        assert_eq!(read_reply(&mut visitor, false).await.status, 200);
    }
    assert_eq!(scene.opened(), 3);
    visitor
        .write_all(b"POST / HTTP/1.1\r\nhost: shop.t.example\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    let reply = read_reply(&mut visitor, false).await;
    assert_eq!(
        (reply.status, reply.code()),
        (502, "HAWSE-1005"),
        "it may have been carried out: not repeated"
    );
}

#[tokio::test]
async fn a_visitor_that_leaves_ends_its_request_at_the_app() {
    let (left, mut leaves) = mpsc::channel(8);
    let begun = Arc::new(Notify::new());
    let begins = begun.clone();
    let scene = Scene::new(move |mut stream| {
        let (left, begun) = (left.clone(), begins.clone());
        async move {
            app_head(&mut stream).await;
            begun.notify_one();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst").await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let _ = left.send(()).await;
        }
    })
    .await;
    let mut visitor = scene.h1().await;
    visitor.write_all(GET).await.unwrap();
    soon(begun.notified()).await;
    read_head(&mut visitor).await.unwrap();
    drop(visitor);
    soon(leaves.recv()).await.unwrap();

    let mut visitor = scene.h2().await;
    let answer = soon(visitor.send_request(request("GET", "/").body(no_body()).unwrap()))
        .await
        .unwrap();
    soon(begun.notified()).await;
    drop(answer);
    soon(leaves.recv()).await.unwrap();
    assert_eq!(scene.counters().in_flight, 0);
}

#[tokio::test]
async fn a_visitor_that_said_it_sends_no_more_still_gets_its_answer() {
    let scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
    })
    .await;
    let mut visitor = scene.h1().await;
    visitor.write_all(GET).await.unwrap();
    visitor.shutdown().await.unwrap();
    let reply = read_reply(&mut visitor, false).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
}

async fn websocket_app(mut stream: TcpStream) {
    let head = app_head(&mut stream).await.unwrap().to_ascii_lowercase();
    assert!(head.starts_with("get /chat http/1.1"), "{head}");
    assert!(
        head.contains("upgrade: websocket") && head.contains("connection: upgrade"),
        "{head}"
    );
    assert!(head.contains("sec-websocket-key: "), "{head}");
    let _ = stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: x\r\nsec-websocket-protocol: chat\r\n\r\n")
        .await;
    let mut buf = [0; 64];
    while let Ok(count @ 1..) = stream.read(&mut buf).await {
        let _ = stream.write_all(&buf[..count].to_ascii_uppercase()).await;
    }
    let _ = stream.write_all(b"bye").await;
}

#[tokio::test]
async fn websockets_run_over_http_1() {
    let scene = Scene::new(websocket_app).await;
    let mut visitor = scene.h1().await;
    visitor
        .write_all(b"GET /chat HTTP/1.1\r\nhost: shop.t.example\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n")
        .await
        .unwrap();
    let head = read_head(&mut visitor).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(
        head.contains("sec-websocket-accept: x") && head.contains("x-hawse-served-by: xn-1"),
        "{head}"
    );
    for word in ["ping", "pong"] {
        visitor.write_all(word.as_bytes()).await.unwrap();
        let mut got = [0; 4];
        soon(visitor.read_exact(&mut got)).await.unwrap();
        assert_eq!(got, *word.to_ascii_uppercase().as_bytes());
    }
    assert_eq!((scene.counters().in_flight, scene.snapshot().connections_open), (1, 1));
    // Half-close: the app's last words still arrive.
    visitor.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(visitor.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"bye");
    drop(visitor);
    soon(async {
        while scene.counters().in_flight > 0 || scene.snapshot().connections_open > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn websockets_run_over_http_2() {
    let scene = Scene::new(websocket_app).await;
    let mut visitor = scene.h2_after_settings().await;
    let mut ask = request("CONNECT", "/chat")
        .header("sec-websocket-version", "13")
        .body(no_body())
        .unwrap();
    ask.extensions_mut()
        .insert(hyper::ext::Protocol::from_static("websocket"));
    let answer = soon(visitor.send_request(ask)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    let mut io = hyper_util::rt::TokioIo::new(soon(hyper::upgrade::on(answer)).await.unwrap());
    io.write_all(b"ping").await.unwrap();
    let mut got = [0; 4];
    soon(io.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"PING");
    io.shutdown().await.unwrap();
    let mut rest = Vec::new();
    soon(io.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"bye");
}

#[tokio::test]
async fn an_app_that_does_not_open_the_websocket_is_not_taken_for_open() {
    let scene = Scene::new(says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno")).await;
    let ask = b"GET / HTTP/1.1\r\nhost: shop.t.example\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    let reply = scene.ask(ask).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "no"));
    let mut visitor = scene.h2_after_settings().await;
    let mut ask = request("CONNECT", "/").body(no_body()).unwrap();
    ask.extensions_mut()
        .insert(hyper::ext::Protocol::from_static("websocket"));
    let answer = soon(visitor.send_request(ask)).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-hawse-error"]),
        (502, &"HAWSE-1014".parse().unwrap())
    );
}

#[tokio::test]
async fn an_h2c_app_gets_http_2_with_trailers_over_one_stream() {
    let scene = Scene::with(
        EdgeOptions::default(),
        ir::Tunnel {
            app_protocol: ir::AppProtocol::H2c.into(),
            ..tunnel("u1", HOST)
        },
        |stream| async move {
            let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                assert_eq!(request.version(), http::Version::HTTP_2);
                assert_eq!(request.headers()["te"], "trailers");
                assert_eq!(request.uri().authority().unwrap(), HOST);
                assert_eq!(request.headers()["x-forwarded-proto"], "https");
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let (send, receive) = mpsc::channel(2);
                send.send(Ok(http_body::Frame::data(body))).await.unwrap();
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                send.send(Ok(http_body::Frame::trailers(trailers))).await.unwrap();
                Ok::<_, std::io::Error>(http::Response::new(Fed(receive)))
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                .serve_connection(io, service)
                .await;
        },
    )
    .await;
    let mut visitor = scene.h2().await;
    let mut asks = tokio::task::JoinSet::new();
    for n in 0..10 {
        let ask = request("POST", "/svc/Method")
            .header("te", "trailers")
            .header("content-type", "application/grpc");
        let sending = visitor.send_request(ask.body(bytes_body(format!("m{n}"))).unwrap());
        asks.spawn(async move {
            let answer = soon(sending).await.unwrap();
            assert_eq!(answer.status(), 200);
            let collected = soon(answer.into_body().collect()).await.unwrap();
            assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
            assert_eq!(collected.to_bytes(), format!("m{n}"));
        });
    }
    while let Some(done) = soon(asks.join_next()).await {
        done.unwrap();
    }
    assert_eq!(scene.opened(), 1);
}

#[tokio::test]
async fn an_h2c_app_that_refuses_has_its_code() {
    let scene = Scene::with(
        EdgeOptions::default(),
        ir::Tunnel {
            app_protocol: ir::AppProtocol::H2c.into(),
            ..tunnel("u1", HOST)
        },
        echo,
    )
    .await;
    scene.dial(Dial::Fails(0, 1003));
    for _ in 0..2 {
        let reply = scene.ask(GET).await;
        assert_eq!((reply.status, reply.code()), (502, "HAWSE-1003"), "{}", reply.text());
    }
}

#[tokio::test]
async fn certificates_are_chosen_by_sni_and_a_name_without_one_is_refused_cleanly() {
    let scene = Scene::new(echo).await;
    let error = scene.tls("shop.u.example", &["http/1.1"]).await.unwrap_err();
    assert!(error.to_string().contains("alert"), "an alert, no cut: {error}");
    let error = scene.tls(HOST, &["smtp"]).await.unwrap_err();
    assert!(error.to_string().contains("alert"), "{error}");
    let mut refused = scene.snapshot().handshakes_failed;
    for _ in 0..100 {
        tokio::task::yield_now().await;
        refused = scene.snapshot().handshakes_failed;
    }
    assert_eq!(refused, 2);
    let stream = scene.tls(HOST, &["h2", "http/1.1"]).await.unwrap();
    let (_, session) = stream.get_ref();
    assert_eq!(session.alpn_protocol(), Some(b"h2".as_slice()));
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(
        session.negotiated_key_exchange_group().unwrap().name(),
        rustls::NamedGroup::X25519MLKEM768
    );
}

#[tokio::test]
async fn a_stopping_edge_finishes_what_runs_and_takes_nothing_new() {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes) = (begun.clone(), go.clone());
    let mut scene = Scene::new(move |mut stream| {
        let (begun, go) = (begins.clone(), goes.clone());
        async move {
            app_head(&mut stream).await;
            begun.notify_one();
            go.notified().await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let mut idle = scene.h1().await;
    let mut h1 = scene.h1().await;
    h1.write_all(GET).await.unwrap();
    soon(begun.notified()).await;
    let mut h2 = scene.h2().await;
    let asked = tokio::spawn(h2.send_request(request("GET", "/").body(no_body()).unwrap()));
    soon(begun.notified()).await;
    scene.stop();
    assert_eq!(
        soon(idle.read(&mut [0])).await.unwrap(),
        0,
        "an idle connection is closed at once"
    );
    go.notify_one();
    go.notify_one();
    soon(async {
        while TcpStream::connect(scene.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    go.notify_waiters();
    let reply = read_reply(&mut h1, false).await;
    assert_eq!((reply.status, reply.headers["connection"].as_str()), (200, "close"));
    go.notify_one();
    assert_eq!(soon(asked).await.unwrap().unwrap().status(), 200);
    soon(&mut scene.served).await.unwrap();
    assert_eq!(scene.snapshot().connections_open, 0);
}

#[tokio::test]
async fn many_idle_connections_cost_nothing_but_their_places() {
    let scene = Scene::new(echo).await;
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(scene.h1().await);
    }
    assert_eq!(scene.snapshot().connections_open, 200);
    assert_eq!(scene.ask(GET).await.status, 200);
    drop(held);
    let count = Arc::new(AtomicUsize::new(0));
    soon(async {
        while scene.snapshot().connections_open > 0 {
            count.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_that_goes_ends_its_idle_connections_in_order() {
    let (ended, mut ends) = mpsc::channel(1);
    let scene = Scene::new(move |mut stream: TcpStream| {
        let ended = ended.clone();
        async move {
            app_head(&mut stream).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
            let _ = ended
                .send(stream.read(&mut [0]).await.map_err(|error| error.kind()))
                .await;
        }
    })
    .await;
    assert_eq!(scene.ask(GET).await.status, 200);
    scene.edge.remove("tunnel/u1");
    assert_eq!(soon(ends.recv()).await, Some(Ok(0)), "an end, no reset");
}

#[tokio::test]
async fn an_app_that_answers_before_the_upload_has_ended_is_heard() {
    let scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
            .await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut visitor = scene.h2().await;
    let (send, receive) = mpsc::channel(1);
    let sending = visitor.send_request(request("POST", "/").body(Fed(receive).boxed()).unwrap());
    send.send(Ok(http_body::Frame::data(Bytes::from_static(b"part"))))
        .await
        .unwrap();
    let answer = soon(sending).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "no");

    let mut visitor = scene.h1().await;
    let head = "POST / HTTP/1.1\r\nhost: shop.t.example\r\ncontent-length: 1000000\r\n\r\npart";
    visitor.write_all(head.as_bytes()).await.unwrap();
    let reply = read_reply(&mut visitor, false).await;
    assert_eq!((reply.status, reply.text().as_str()), (413, "no"));
    assert_eq!(
        scene.opened(),
        2,
        "a connection with half a request in it serves no other"
    );
}

#[tokio::test]
async fn a_connection_with_an_unfinished_upload_is_given_up_with_its_answer() {
    let (ended, mut ends) = mpsc::channel(1);
    let scene = Scene::new(move |mut stream: TcpStream| {
        let ended = ended.clone();
        async move {
            app_head(&mut stream).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let _ = ended.send(()).await;
        }
    })
    .await;
    let mut visitor = scene.h2().await;
    let (send, receive) = mpsc::channel(1);
    let sending = visitor.send_request(request("POST", "/").body(Fed(receive).boxed()).unwrap());
    send.send(Ok(http_body::Frame::data(Bytes::from_static(b"part"))))
        .await
        .unwrap();
    let answer = soon(sending).await.unwrap();
    soon(answer.into_body().collect()).await.unwrap();
    soon(ends.recv()).await.unwrap();
    assert_eq!(scene.counters().in_flight, 0);
}
