//! How connections live and end: used again, replaced when stale, left by the visitor, closed with the tunnel or the edge.
#![allow(
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "tests own their tasks and don't care about the size of a future"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, mpsc},
};

const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nhost: shop.t.example\r\n\r\n";

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
    idle.write_all(b"GET / HTTP/1.1\r\nhost: nobody.t.example\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_reply(&mut idle, false).await.status, 404);
    let mut h1 = scene.h1().await;
    h1.write_all(GET).await.unwrap();
    soon(begun.notified()).await;
    let mut h2 = scene.h2().await;
    let asked = tokio::spawn(h2.send_request(request("GET", "/").body(no_body()).unwrap()));
    soon(begun.notified()).await;
    scene.drain(PATIENCE);
    assert_eq!(
        soon(idle.read(&mut [0])).await.unwrap(),
        0,
        "an idle connection is closed at once"
    );
    go.notify_one();
    go.notify_one();
    refuses_visitors(&scene).await;
    go.notify_waiters();
    let reply = read_reply(&mut h1, false).await;
    assert_eq!((reply.status, reply.headers["connection"].as_str()), (200, "close"));
    go.notify_one();
    assert_eq!(soon(asked).await.unwrap().unwrap().status(), 200);
    soon(&mut scene.served).await.unwrap();
    assert_eq!(scene.snapshot().connections_open, 0);
}

async fn refuses_visitors(scene: &Scene) {
    soon(async {
        while TcpStream::connect(scene.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn visitors_that_have_just_connected_when_an_edge_drains_get_an_answer() {
    let mut scene = Scene::new(echo).await;
    let (h1, mut silent) = (scene.h1().await, scene.h1().await);
    // In the kernel's queue, or on its way to a task: the edge has not seen it yet.
    let queued = std::net::TcpStream::connect(scene.addr).unwrap();
    queued.set_nonblocking(true).unwrap();
    scene.drain(PATIENCE);
    let queued = TcpStream::from_std(queued).unwrap();
    let queued = scene.tls_over(queued, HOST, &["http/1.1"]).await.unwrap();
    refuses_visitors(&scene).await;
    for mut visitor in [queued, h1] {
        visitor.write_all(GET).await.unwrap();
        let reply = read_reply(&mut visitor, false).await;
        assert_eq!((reply.status, reply.headers["connection"].as_str()), (200, "close"));
    }
    assert_eq!(soon(silent.read(&mut [0])).await.unwrap(), 0);
    soon(&mut scene.served).await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_does_not_come_holds_no_drain_up() {
    let options = hawse_proto::core::EdgeOptions {
        handshake_timeout_ms: 3_600_000,
        ..Default::default()
    };
    let mut scene = Scene::with(options, tunnel("u1", HOST), echo).await;
    let mut silent = TcpStream::connect(scene.addr).await.unwrap();
    assert_eq!(scene.ask(GET).await.status, 200, "the edge has seen both");
    scene.drain(Duration::from_secs(3600));
    soon(&mut scene.served).await.unwrap();
    assert!(!matches!(soon(silent.read(&mut [0])).await, Ok(1..)));
}

/// An app that has the request and never answers.
async fn mute(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn what_still_runs_when_the_grace_is_over_is_cut_off_and_a_later_order_moves_the_end() {
    let mut scene = Scene::new(mute).await;
    let mut h1 = scene.h1().await;
    h1.write_all(GET).await.unwrap();
    let mut h2 = scene.h2().await;
    let asked = tokio::spawn(h2.send_request(request("GET", "/").body(no_body()).unwrap()));
    soon(async {
        while scene.counters().in_flight < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    scene.drain(Duration::from_secs(3600));
    refuses_visitors(&scene).await;
    assert!(!scene.served.is_finished());
    scene.drain(Duration::ZERO);
    soon(&mut scene.served).await.unwrap();
    assert!(
        !matches!(soon(h1.read(&mut [0])).await, Ok(1..)),
        "no answer is made up"
    );
    assert!(soon(asked).await.unwrap().is_err());
    assert_eq!(scene.snapshot().connections_open, 0);
}

#[tokio::test]
async fn a_websocket_holds_a_drain_until_it_ends() {
    let mut scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            .await;
        let (mut reads, mut writes) = stream.split();
        let _ = tokio::io::copy(&mut reads, &mut writes).await;
    })
    .await;
    let mut visitor = scene.h1().await;
    visitor
        .write_all(b"GET / HTTP/1.1\r\nhost: shop.t.example\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .await
        .unwrap();
    assert!(read_head(&mut visitor).await.unwrap().starts_with("HTTP/1.1 101"));
    scene.drain(Duration::from_secs(3600));
    refuses_visitors(&scene).await;
    let mut echoed = [0; 4];
    visitor.write_all(b"ping").await.unwrap();
    soon(visitor.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(&echoed, b"ping");
    assert!(!scene.served.is_finished());
    drop(visitor);
    soon(&mut scene.served).await.unwrap();
}

#[tokio::test]
async fn an_idle_visitor_over_http_2_that_reads_nothing_holds_no_drain_up() {
    let mut scene = Scene::new(echo).await;
    let mut idle = scene.tls(HOST, &["h2"]).await.unwrap();
    // The preface and empty SETTINGS; GOAWAY and the PING behind it are never read.
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        .await
        .unwrap();
    assert_eq!(scene.ask(GET).await.status, 200, "the edge has seen both");
    scene.drain(Duration::from_secs(3600));
    soon(&mut scene.served).await.unwrap();
}

#[tokio::test]
async fn a_visitor_over_http_2_that_reads_slowly_gets_all_of_its_answer_though_the_edge_drains() {
    const LENGTH: usize = 16 << 20;
    let mut scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&vec![7; LENGTH]).await;
    })
    .await;
    let io = hyper_util::rt::TokioIo::new(scene.tls(HOST, &["h2"]).await.unwrap());
    let (mut visitor, connection) = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
        .initial_stream_window_size(1 << 30)
        .initial_connection_window_size(1 << 30)
        .handshake(io)
        .await
        .unwrap();
    let mut connection = Box::pin(connection);
    let asking = visitor.send_request(request("GET", "/").body(no_body()).unwrap());
    let answer = tokio::select! {
        _ = connection.as_mut() => panic!("the connection ended"),
        answer = soon(asking) => answer.unwrap(),
    };
    scene.drain(Duration::from_secs(3600));
    refuses_visitors(&scene).await;
    // Nobody reads the socket: longer than a connection is kept that has nothing to send.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let reading = tokio::spawn(connection);
    let body = soon(http_body_util::BodyExt::collect(answer.into_body())).await;
    assert_eq!(body.unwrap().to_bytes().len(), LENGTH);
    soon(&mut scene.served).await.unwrap();
    let _ = soon(reading).await.unwrap();
}
