//! Visitors that cost more than they should: each meets its limit, and the others are served meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    clippy::large_futures,
    reason = "tests panic, own their tasks, are tables, and don't care about the size of a future"
)]

mod support;

use std::time::Duration;

use hawse_proto::core::EdgeOptions;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: shop.t.example\r\n\r\n";

async fn scene(options: EdgeOptions) -> Scene {
    Scene::with(options, tunnel("u1", HOST), echo).await
}

/// Reads until the edge ends the connection; how long that took.
async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> Duration {
    let begin = Instant::now();
    let mut buf = [0; 1024];
    while let Ok(1..) = soon(stream.read(&mut buf)).await {}
    begin.elapsed()
}

async fn others_are_served(scene: &Scene) {
    assert_eq!(scene.ask(GET).await.status, 200);
}

#[tokio::test]
async fn a_head_that_drips_and_an_idle_connection_end_with_the_header_timeout() {
    let scene = scene(EdgeOptions {
        header_timeout_ms: 400,
        ..EdgeOptions::default()
    })
    .await;
    let mut idle = scene.h1().await;
    assert!(
        until_closed(&mut idle).await < Duration::from_secs(3),
        "nothing was ever sent"
    );
    let mut used = scene.h1().await;
    used.write_all(GET).await.unwrap();
    assert_eq!(read_reply(&mut used, false).await.status, 200);
    assert!(
        until_closed(&mut used).await < Duration::from_secs(3),
        "kept alive for the timeout"
    );
    let (mut reads, mut writes) = tokio::io::split(scene.h1().await);
    let drip = async {
        for byte in GET.iter().cycle() {
            if writes.write_all(&[*byte]).await.is_err() || writes.flush().await.is_err() {
                break;
            }
            sleep(Duration::from_millis(40)).await;
        }
    };
    let took = tokio::select! {
        took = until_closed(&mut reads) => took,
        () = drip => Duration::ZERO,
    };
    assert!(took < Duration::from_secs(3), "{took:?}");
    others_are_served(&scene).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_with_its_timeout() {
    let scene = scene(EdgeOptions {
        handshake_timeout_ms: 300,
        ..EdgeOptions::default()
    })
    .await;
    let mut silent = TcpStream::connect(scene.addr).await.unwrap();
    assert!(until_closed(&mut silent).await < Duration::from_secs(3));
    let mut half = TcpStream::connect(scene.addr).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    assert!(until_closed(&mut half).await < Duration::from_secs(3));
    let mut noise = TcpStream::connect(scene.addr).await.unwrap();
    noise.write_all(GET).await.unwrap();
    assert!(until_closed(&mut noise).await < Duration::from_secs(3));
    assert_eq!(scene.snapshot().handshakes_failed, 3);
    others_are_served(&scene).await;
}

#[tokio::test]
async fn heads_past_the_limits_get_431() {
    let scene = scene(EdgeOptions::default()).await;
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "a".repeat(40 << 10));
    let path = format!("GET /{} HTTP/1.1\r\nhost: {HOST}\r\n\r\n", "a".repeat(40 << 10));
    for request in [
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{many}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{long}\r\n"),
        path,
    ] {
        let reply = scene.ask(request.as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (431, "HAWSE-1007"));
    }
    // Past twice the limits it is the parser that refuses, before the head is kept.
    for request in [
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{many}{many}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{long}{long}\r\n"),
    ] {
        assert_eq!(scene.ask(request.as_bytes()).await.status, 431);
    }
    let mut visitor = scene.h2().await;
    let mut ask = request("GET", "/").body(no_body()).unwrap();
    for n in 0..101 {
        ask.headers_mut().insert(
            http::HeaderName::try_from(format!("x-{n}")).unwrap(),
            "1".parse().unwrap(),
        );
    }
    let answer = soon(visitor.send_request(ask)).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-hawse-error"]),
        (431, &"HAWSE-1007".parse().unwrap())
    );
    assert_eq!(scene.opened(), 0);
    others_are_served(&scene).await;
}

#[tokio::test]
async fn an_http_2_head_past_the_limit_never_reaches_the_app() {
    let scene = scene(EdgeOptions::default()).await;
    let mut stream = scene.raw_h2().await;
    // 300 fields of 126 bytes, in frames of 16 KiB: 47 KiB of list against 32.
    let field = block(&[("x-bomb", &"a".repeat(120))]);
    let all = [get_block(), field.repeat(300)].concat();
    let mut parts = all.chunks(16 << 10).peekable();
    let mut kind = 1;
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_none() { 4 } else { 0 } | u8::from(kind == 1);
        if stream.write_all(&frame(kind, flags, 1, part)).await.is_err() {
            break;
        }
        kind = 9;
    }
    let frames = read_frames(&mut stream, |frames| {
        frames.iter().any(|(kind, ..)| matches!(kind, 1 | 3 | 7))
    })
    .await;
    assert!(
        frames.iter().any(|(kind, ..)| matches!(kind, 1 | 3 | 7)),
        "refused: {frames:?}"
    );
    assert_eq!(scene.opened(), 0);
    others_are_served(&scene).await;
}

#[tokio::test]
async fn a_continuation_flood_ends_the_connection() {
    let scene = scene(EdgeOptions::default()).await;
    let (mut reads, mut writes) = tokio::io::split(scene.raw_h2().await);
    writes.write_all(&frame(1, 1, 1, &get_block())).await.unwrap();
    let flood = async {
        let field = block(&[("x", &"a".repeat(120))]).repeat(100);
        let mut sent = 0;
        while writes.write_all(&frame(9, 0, 1, &field)).await.is_ok() && writes.flush().await.is_ok() && sent < 2000 {
            sent += 1;
        }
        sent
    };
    let (_, sent) = tokio::join!(until_closed(&mut reads), soon(flood));
    assert!(sent < 2000, "{sent} frames were taken");
    others_are_served(&scene).await;
}

/// Sends `frames` again and again while reading; how many rounds the edge took.
async fn flood(scene: &Scene, round: impl Fn(u32) -> Vec<u8>) -> u32 {
    let (mut reads, mut writes) = tokio::io::split(scene.raw_h2().await);
    let write = async {
        let mut rounds = 0;
        while rounds < 20_000 && writes.write_all(&round(rounds)).await.is_ok() && writes.flush().await.is_ok() {
            rounds += 1;
        }
        rounds
    };
    let read = until_closed(&mut reads);
    tokio::pin!(read);
    tokio::pin!(write);
    soon(async {
        tokio::select! {
            _ = &mut read => 0,
            rounds = &mut write => rounds,
        }
    })
    .await
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_the_app_hardly_sees_them() {
    let scene = scene(EdgeOptions::default()).await;
    let rounds = flood(&scene, |n| {
        let id = 2 * n + 1;
        [frame(1, 5, id, &get_block()), frame(3, 0, id, &[0, 0, 0, 8])].concat()
    })
    .await;
    assert!(rounds < 20_000, "{rounds}");
    assert!(scene.opened() < 200, "{}", scene.opened());
    others_are_served(&scene).await;
}

#[tokio::test]
async fn floods_of_frames_that_carry_nothing_end_the_connection() {
    let scene = scene(EdgeOptions::default()).await;
    for (name, one) in [
        ("PING", frame(6, 0, 0, &[0; 8])),
        ("SETTINGS", frame(4, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("PRIORITY", frame(2, 0, 3, &[0, 0, 0, 1, 5])),
        ("unknown", frame(0x42, 0, 0, b"x")),
    ] {
        let rounds = flood(&scene, |_| one.clone()).await;
        assert!(rounds < 20_000, "{name}: {rounds}");
    }
    let rounds = flood(&scene, |n| {
        let begin = if n == 0 {
            frame(1, 4, 1, &get_block())
        } else {
            Vec::new()
        };
        [begin, frame(0, 0, 1, b"")].concat()
    })
    .await;
    assert!(rounds < 20_000, "empty DATA: {rounds}");
    others_are_served(&scene).await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_and_the_rest_is_served() {
    let scene = Scene::with(
        EdgeOptions {
            max_concurrent_streams: 3,
            ..EdgeOptions::default()
        },
        tunnel("u1", HOST),
        |mut stream| async move {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        },
    )
    .await;
    let mut stream = scene.raw_h2().await;
    for n in 0..5 {
        stream.write_all(&frame(1, 5, 2 * n + 1, &get_block())).await.unwrap();
    }
    let frames = read_frames(&mut stream, |frames| {
        frames.iter().filter(|(kind, ..)| *kind == 3).count() == 2
    })
    .await;
    let refused: Vec<_> = frames
        .iter()
        .filter(|(kind, ..)| *kind == 3)
        .map(|(_, _, id, code)| (*id, code[3]))
        .collect();
    assert_eq!(refused, [(7, 7), (9, 7)], "REFUSED_STREAM");
}

#[tokio::test]
async fn connections_past_the_caps_are_closed_before_their_handshake() {
    for options in [
        EdgeOptions {
            max_connections: 2,
            ..EdgeOptions::default()
        },
        EdgeOptions {
            max_connections_per_address: 2,
            ..EdgeOptions::default()
        },
    ] {
        let scene = scene(options).await;
        let (one, two) = (scene.h1().await, scene.h1().await);
        assert!(scene.tls(HOST, &["http/1.1"]).await.is_err());
        let snapshot = scene.snapshot();
        assert_eq!((snapshot.connections_open, snapshot.connections_refused), (2, 1));
        drop((one, two));
        soon(async {
            while scene.snapshot().connections_open > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        others_are_served(&scene).await;
    }
}

#[tokio::test]
async fn readers_that_stall_do_not_stop_the_others() {
    let scene = Scene::new(|mut stream: TcpStream| async move {
        let head = app_head(&mut stream).await.unwrap_or_default();
        let size: usize = if head.starts_with("GET /big ") { 64 << 20 } else { 2 };
        let _ = stream
            .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").as_bytes())
            .await;
        let chunk = vec![1; 64 << 10];
        let mut left = size;
        while left > 0 {
            let count = left.min(chunk.len());
            if stream.write_all(&chunk[..count]).await.is_err() {
                return;
            }
            left -= count;
        }
    })
    .await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut visitor = scene.h1().await;
        visitor
            .write_all(b"GET /big HTTP/1.1\r\nhost: shop.t.example\r\n\r\n")
            .await
            .unwrap();
        read_head(&mut visitor).await.unwrap();
        stalled.push(visitor);
    }
    let mut visitor = scene.h2().await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(
            soon(visitor.send_request(request("GET", "/big").body(no_body()).unwrap()))
                .await
                .unwrap(),
        );
    }
    others_are_served(&scene).await;
    let counters = scene.counters();
    assert_eq!(counters.in_flight, 40);
    // The kernel's buffers on loopback are the largest part of it.
    assert!(
        counters.bytes_out < 40 * (8 << 20),
        "{} bytes are held",
        counters.bytes_out
    );
}

#[tokio::test]
async fn an_idle_transfer_ends_broken_with_the_tunnels_idle_timeout() {
    let timeouts = Some(hawse_proto::ir::Timeouts {
        request_ms: 0,
        idle_ms: 300,
    });
    let tunnel = hawse_proto::ir::Tunnel {
        timeouts,
        ..tunnel("u1", HOST)
    };
    let scene = Scene::with(EdgeOptions::default(), tunnel, |mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
            .await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let reply = scene.ask(GET).await;
    assert_eq!((reply.status, reply.whole, reply.text().as_str()), (200, false, "ok"));
    assert_eq!(scene.counters().errors.get("HAWSE-1004"), Some(&1));
}
