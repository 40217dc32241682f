//! HTTP/3: the same service and the same answers as over HTTP/1.1 and 2, and how its connections live and end.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "tests panic, own their tasks and don't care about the size of a future"
)]

mod support;

use std::time::Duration;

use bytes::{Buf, Bytes};
use hawse_proto::{core::EdgeOptions, ir};
use http::{HeaderMap, Request};
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

fn get(path: &str) -> http::request::Builder {
    request("GET", path)
}

fn head_of(method: &str, path: &str) -> Vec<u8> {
    let fields = [
        (":method", method),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", path),
    ];
    h3_frame(HEADERS, &h3_fields(&fields))
}

#[tokio::test]
async fn a_request_reaches_the_app_and_says_who_asks() {
    let scene = Scene::new(echo).await;
    let ask = get("/a?b=c")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x_real_ip", "6.6.6.6")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Bytes::new())
        .unwrap();
    let answer = scene.h3().await.ask(ask).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = answer.text();
    assert!(seen.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{seen}");
    for line in [
        "host: shop.t.example",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: shop.t.example",
        "cookie: a=1; b=2",
    ] {
        assert!(seen.contains(&format!("{line}\r\n")), "{line} in {seen}");
    }
    for gone in ["6.6.6.6", "x_real_ip", "transfer-encoding", "content-length"] {
        assert!(!seen.contains(gone), "{gone} in {seen}: there was no body");
    }
    let headers = &answer.head.headers;
    assert_eq!(
        (&headers["x-hawse-served-by"], &headers["x-app"]),
        (&"xn-1".parse().unwrap(), &"yes".parse().unwrap())
    );
    assert!(headers.contains_key("date") && !headers.contains_key("alt-svc"));
    assert_eq!(headers["x-hawse-request-id"].len(), 32);
}

#[tokio::test]
async fn bodies_pass_both_ways_with_and_without_a_length() {
    let scene = Scene::new(echo).await;
    let visitor = scene.h3().await;
    let body = Bytes::from(vec![b'x'; 3 << 20]);
    for (name, length, said) in [
        ("length", Some(body.len()), "content-length: 3145728\r\n"),
        ("none", None, "transfer-encoding: chunked\r\n"),
    ] {
        let mut ask = request("POST", "/upload");
        if let Some(length) = length {
            ask = ask.header("content-length", length);
        }
        let answer = visitor.ask(ask.body(body.clone()).unwrap()).await.unwrap();
        let head = answer.body.len() - body.len();
        assert!(answer.body[head..] == body, "{name}");
        assert!(String::from_utf8_lossy(&answer.body[..head]).contains(said), "{name}");
    }
    assert_eq!(scene.opened(), 1, "the app's connection is used again");
}

#[tokio::test]
async fn head_has_the_length_and_no_body_and_the_edge_s_pages_are_the_same() {
    let scene = Scene::new(echo).await;
    let visitor = scene.h3().await;
    let answer = visitor
        .ask(request("HEAD", "/").body(Bytes::new()).unwrap())
        .await
        .unwrap();
    assert!(answer.status() == 200 && answer.body.is_empty());
    assert_ne!(answer.head.headers["content-length"], "0");
    scene.dial(Dial::NoAgent);
    for (host, status, code) in [
        ("nobody.t.example", 404, "HAWSE-1001"),
        (HOST, 503, "HAWSE-1002"),
        ("other.example", 421, "HAWSE-1012"),
    ] {
        let ask = || Request::get(format!("https://{host}/"));
        let answer = visitor.ask(ask().body(Bytes::new()).unwrap()).await.unwrap();
        assert_eq!((answer.status(), answer.code()), (status, code));
        assert!(answer.text().contains(code));
        let mut h2 = scene.h2().await;
        let over_h2 = soon(h2.send_request(ask().body(no_body()).unwrap())).await.unwrap();
        let names = |headers: &HeaderMap| {
            let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(over_h2.headers()), names(&answer.head.headers));
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let scene = Scene::new(|mut stream: TcpStream| async move {
        let head = app_head(&mut stream).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            let mut buf = [0; 1024];
            let count = stream.read(&mut buf).await.unwrap();
            assert!(count > 0);
            seen.extend_from_slice(&buf[..count]);
        }
        let text = format!("{head}{}", String::from_utf8(seen).unwrap());
        let answer = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n{:x}\r\n{text}\r\n0\r\nx-end: fin\r\n\r\n",
            text.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let mut visitor = scene.h3().await;
    let ask = request("POST", "/")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .body(())
        .unwrap();
    let mut stream = visitor.requests.send_request(ask).await.unwrap();
    stream.send_data(Bytes::from_static(b"hello")).await.unwrap();
    let sent: HeaderMap = [("x-sum", "5"), ("x-hawse-user", "root")]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .into_iter()
        .collect();
    stream.send_trailers(sent).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(soon(stream.recv_response()).await.unwrap().status(), 200);
    let body = whole_body(&mut stream).await.unwrap();
    let seen = String::from_utf8(body).unwrap();
    assert!(
        seen.contains("hello\r\n0\r\nx-sum: 5\r\n") && !seen.contains("root"),
        "{seen}"
    );
    let trailers = soon(stream.recv_trailers()).await.unwrap().unwrap();
    assert_eq!(trailers["x-end"], "fin");
}

#[tokio::test]
async fn a_visitor_that_expects_100_continue_gets_it_before_it_sends_its_body() {
    let scene = Scene::new(echo).await;
    let mut visitor = scene.h3().await;
    let ask = request("POST", "/").header("expect", "100-continue").body(()).unwrap();
    let mut stream = visitor.requests.send_request(ask).await.unwrap();
    assert_eq!(soon(stream.recv_response()).await.unwrap().status(), 100);
    stream.send_data(Bytes::from_static(b"hello")).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(soon(stream.recv_response()).await.unwrap().status(), 200);
    let body = whole_body(&mut stream).await.unwrap();
    let seen = String::from_utf8(body).unwrap();
    assert!(seen.ends_with("hello") && !seen.contains("expect"), "{seen}");
}

#[tokio::test]
async fn bytes_pass_both_ways_while_neither_side_has_ended() {
    let scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        // Each chunk goes back as it came; the last one ends both.
        let mut buf = [0; 1024];
        while let Ok(1..) = stream.read(&mut buf[..1]).await {
            if stream.write_all(&buf[..1]).await.is_err() {
                return;
            }
        }
    })
    .await;
    let mut visitor = scene.h3().await;
    let ask = request("POST", "/").body(()).unwrap();
    let mut stream = visitor.requests.send_request(ask).await.unwrap();
    assert_eq!(soon(stream.recv_response()).await.unwrap().status(), 200);
    for word in ["one", "two", "three"] {
        stream.send_data(Bytes::from(word)).await.unwrap();
        let mut echoed = Vec::new();
        while echoed.len() < word.len() {
            let mut data = soon(stream.recv_data()).await.unwrap().unwrap();
            echoed.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        assert_eq!(echoed, word.as_bytes());
    }
    stream.finish().await.unwrap();
    assert!(soon(stream.recv_data()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_hundred_requests_at_once_each_get_their_answer() {
    let scene = Scene::new(echo).await;
    let visitor = std::sync::Arc::new(scene.h3().await);
    let mut requests = JoinSet::new();
    for n in 0..100 {
        let visitor = visitor.clone();
        requests.spawn(async move {
            let answer = visitor.get(&format!("/{n}")).await;
            assert!(answer.status() == 200 && answer.text().starts_with(&format!("GET /{n} ")));
        });
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
    assert_eq!(scene.counters().by_class[2], 100);
}

#[tokio::test]
async fn a_busy_visitor_with_reserved_frames_is_not_taken_for_a_flood() {
    let scene = Scene::new(echo).await;
    let visitor = scene.h3().await;
    // More than H3_WASTE_BURST; h3's client sends a reserved frame at the end of each.
    for n in 0..1200 {
        assert_eq!(visitor.get(&format!("/{n}")).await.status(), 200);
    }
}

#[tokio::test]
async fn an_app_that_breaks_off_is_never_taken_for_one_that_ended() {
    let scene = Scene::new(says(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")).await;
    let failed = scene.h3().await.ask(get("/").body(Bytes::new()).unwrap()).await;
    assert!(
        matches!(failed, Err(h3::error::StreamError::RemoteTerminate { .. })),
        "{failed:?}"
    );
}

#[tokio::test]
async fn the_visitor_s_cancel_reaches_the_app() {
    let (left, mut leaves) = mpsc::channel(8);
    let scene = Scene::new(move |mut stream: TcpStream| {
        let left = left.clone();
        async move {
            let head = app_head(&mut stream).await.unwrap();
            if head.starts_with("GET /answering") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst").await;
            }
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            let _ = left.send(head).await;
        }
    })
    .await;
    let quic = scene.quic().await;
    let requests_at_the_app = async |count| {
        soon(async {
            while scene.counters().in_flight < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    // STOP_SENDING before there is an answer, and while it is sent.
    for path in ["/", "/answering"] {
        let (mut send, mut recv) = quic.open_bi().await.unwrap();
        send.write_all(&head_of("GET", path)).await.unwrap();
        send.finish().unwrap();
        if path == "/answering" {
            soon(recv.read_chunk(1, true)).await.unwrap().unwrap();
        } else {
            requests_at_the_app(1).await;
        }
        recv.stop(REQUEST_CANCELLED.into()).unwrap();
        assert!(soon(leaves.recv()).await.unwrap().starts_with(&format!("GET {path} ")));
    }
    // An upload that is reset ends at the app as well.
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    send.write_all(&h3_head("POST", &[])).await.unwrap();
    send.write_all(&h3_frame(DATA, b"some")).await.unwrap();
    requests_at_the_app(1).await;
    send.reset(REQUEST_CANCELLED.into()).unwrap();
    assert!(soon(leaves.recv()).await.unwrap().starts_with("POST"));
    // A connection that is closed takes all its requests along.
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    send.write_all(&head_of("GET", "/answering")).await.unwrap();
    send.finish().unwrap();
    soon(recv.read_chunk(1, true)).await.unwrap().unwrap();
    quic.close(0_u32.into(), b"");
    assert!(soon(leaves.recv()).await.unwrap().starts_with("GET /answering"));
    soon(async {
        while scene.snapshot().connections_open > 0 || scene.counters().in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn other_protocols_say_where_http_3_is() {
    let fleet = |https_port, agents_port| ir::Object {
        key: "fleet".into(),
        object: Some(ir::object::Object::Fleet(ir::Fleet {
            https_port,
            agents_port,
            certificate_id: "certificate/fleet".into(),
            ..ir::Fleet::default()
        })),
    };
    let ask = b"GET / HTTP/1.1\r\nhost: shop.t.example\r\n\r\n";
    let scene = Scene::new(says(
        b"HTTP/1.1 200 OK\r\nalt-svc: h3=\":1\"\r\ncontent-length: 0\r\n\r\n",
    ))
    .await;
    scene.edge.apply(fleet(0, 7443)).unwrap();
    assert_eq!(
        scene.ask(ask).await.headers["alt-svc"],
        "h3=\":1\"",
        "no public port is known"
    );
    scene.edge.apply(fleet(8443, 7443)).unwrap();
    assert_eq!(scene.ask(ask).await.headers["alt-svc"], "h3=\":8443\"; ma=86400");
    let mut h2 = scene.h2().await;
    let answer = soon(h2.send_request(get("/").body(no_body()).unwrap())).await.unwrap();
    assert_eq!(answer.headers()["alt-svc"], "h3=\":8443\"; ma=86400");

    scene.edge.apply(fleet(443, 443)).unwrap();
    let there = scene.ask(ask).await;
    assert_eq!(there.headers["alt-svc"], "h3=\":1\"", "agents have the UDP port");

    let off = EdgeOptions {
        http3_off: true,
        ..EdgeOptions::default()
    };
    let scene = Scene::with(off, tunnel("u1", HOST), echo).await;
    scene.edge.apply(fleet(8443, 7443)).unwrap();
    assert!(!scene.ask(ask).await.headers.contains_key("alt-svc"));
    let free = tokio::net::UdpSocket::bind(scene.addr).await;
    assert!(free.is_ok(), "no UDP socket is held");
}

#[tokio::test]
async fn a_taken_udp_port_is_named() {
    let holder = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let scene = Scene::new(echo).await;
    let error = scene
        .edge
        .bind(address, EdgeOptions::default())
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        (error.transport, error.source.kind()),
        ("UDP", std::io::ErrorKind::AddrInUse)
    );
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot listen on UDP {address}: ")),
        "{error}"
    );
}

#[tokio::test]
async fn draining_lets_requests_end_and_refuses_new_ones() {
    let (go_on, begin) = (mpsc::channel::<()>(1), mpsc::channel::<()>(1));
    let (begun, waits) = (begin.0, std::sync::Arc::new(tokio::sync::Mutex::new(go_on.1)));
    let mut begins = begin.1;
    let mut scene = Scene::new(move |mut stream: TcpStream| {
        let (begun, waits) = (begun.clone(), waits.clone());
        async move {
            // Requests that came before the drain are answered, too.
            if app_head(&mut stream)
                .await
                .is_some_and(|head| head.starts_with("GET / "))
            {
                begun.send(()).await.unwrap();
                waits.lock().await.recv().await;
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole")
                .await;
        }
    })
    .await;
    let visitor = scene.h3().await;
    let running = async {
        let answer = visitor.get("/").await;
        assert_eq!(answer.text(), "whole");
    };
    let stopping = async {
        soon(begins.recv()).await.unwrap();
        scene.drain(PATIENCE);
        // GOAWAY has come once a new request fails while the first one still runs.
        soon(async { while visitor.ask(get("/late").body(Bytes::new()).unwrap()).await.is_ok() {} }).await;
        let refused = scene.try_quic(quinn::TransportConfig::default()).await;
        assert!(refused.is_err(), "new connections are refused, not left to wait");
        go_on.0.send(()).await.unwrap();
    };
    tokio::join!(running, stopping);
    assert_eq!(closed_with(&visitor.quic).await, NO_ERROR);
    soon(&mut scene.served).await.unwrap();
}

#[tokio::test]
async fn a_visitor_that_says_goodbye_still_gets_its_answer() {
    let scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3145728\r\n\r\n")
            .await;
        let _ = stream.write_all(&vec![b'x'; 3 << 20]).await;
    })
    .await;
    let quic = scene.quic().await;
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    send.write_all(&h3_head("GET", &[])).await.unwrap();
    send.finish().unwrap();
    soon(recv.read_chunk(1, true)).await.unwrap().unwrap();
    let mut control = quic.open_uni().await.unwrap();
    let goodbye = [&[0][..], &h3_frame(4, b""), &h3_frame(7, &[0])].concat();
    control.write_all(&goodbye).await.unwrap();
    let rest = soon(recv.read_to_end(4 << 20)).await.unwrap();
    assert!(rest.len() > 3 << 20 && rest.ends_with(b"xxx"));
    assert_eq!(closed_with(&quic).await, NO_ERROR);
}
