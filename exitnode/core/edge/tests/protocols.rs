//! Both protocols on both sides: what passes between a visitor and the app, upgrades, and what TLS agrees on.
#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "tests panic and don't care about the size of a future"
)]

mod support;

use bytes::Bytes;
use hawse_proto::{core::EdgeOptions, ir};
use http_body_util::BodyExt;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
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
    let over_quic = request("POST", "/svc/Method")
        .header("te", "trailers")
        .body(Bytes::from_static(b"m3"))
        .unwrap();
    let answer = scene.h3().await.ask(over_quic).await.unwrap();
    assert_eq!(
        (
            answer.trailers.as_ref().unwrap()["grpc-status"].to_str().unwrap(),
            answer.text()
        ),
        ("0", "m3".into())
    );
    assert_eq!(scene.opened(), 1);
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
