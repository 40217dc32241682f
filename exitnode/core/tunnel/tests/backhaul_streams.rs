//! Backhaul over real QUIC on loopback: what passes a relay, whatever the agent's own link is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing unwrap is a failing test"
)]

mod common;

use std::time::Duration;

use common::shop::{nothing_is_open, shop};
use common::{echo, reset_code, upstream, visitor, within};
use hawse_proto::codes;
use hawse_proto::core::Transport;
use hawse_tunnel::OpenError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

over_both!(
    bytes_pass_both_ways_unchanged,
    an_answer_that_waits_for_the_end_of_the_request_arrives,
    an_early_answer_arrives_though_the_app_reads_no_further,
    what_the_agent_says_reaches_the_visitors_exit_node,
    an_app_that_breaks_its_connection_breaks_the_stream,
    a_visitor_who_leaves_breaks_the_apps_connection,
    an_idle_app_is_left_when_the_visitor_is_gone,
    readers_who_stall_do_not_hold_up_the_others,
    apps_that_stall_do_not_hold_up_the_others,
    a_lost_agent_breaks_the_stream_without_a_code,
);

async fn bytes_pass_both_ways_unchanged(over: Transport) {
    let shop = shop(over, echo).await;
    let mut stream = shop.open().await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n * 31 % 251) as u8).collect();
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let mut received = Vec::new();
    let sending = async {
        write.write_all(&sent).await?;
        write.shutdown().await
    };
    let (sending, receiving) = within(async { tokio::join!(sending, read.read_to_end(&mut received)) }).await;
    sending.unwrap();
    receiving.unwrap();
    assert!(received == sent);
    let ours = shop.node.tunnel.stats().0.remove(0);
    assert!(ours.peer);
    assert_eq!(
        (ours.bytes_in, ours.bytes_out, ours.streams_total),
        (3_000_000, 3_000_000, 1)
    );
    let theirs = shop.other.peer.tunnel.stats().0;
    assert_eq!(theirs.len(), 2, "the agent's link and ours");
    for link in theirs {
        assert!(!link.peer, "only the side that dialled has visitors");
        assert_eq!(
            (link.bytes_in, link.bytes_out, link.streams_total),
            (3_000_000, 3_000_000, 1)
        );
    }
}

async fn an_answer_that_waits_for_the_end_of_the_request_arrives(over: Transport) {
    let shop = shop(over, common::answer_after_the_end).await;
    let mut stream = shop.open().await;
    stream.write_all(&[7; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "got 100000 bytes");
    drop(stream);
    nothing_is_open(&shop).await;
}

async fn an_early_answer_arrives_though_the_app_reads_no_further(over: Transport) {
    let shop = shop(over, |mut app| async move {
        app.write_all(b"413").await.unwrap();
        app.shutdown().await.unwrap();
        sleep(Duration::from_millis(300)).await; // a server's lingering close
    })
    .await;
    let mut stream = shop.open().await;
    let _ = stream.write_all(&[7; 100_000]).await;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "413");
}

async fn what_the_agent_says_reaches_the_visitors_exit_node(over: Transport) {
    let shop = shop(over, echo).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (link, _) = shop.agent.only_link();
    shop.agent.tunnel.attach(link, vec![upstream("shop", closed)]);
    for _ in 0..20 {
        let mut stream = shop.open().await;
        assert_eq!(reset_code(&mut stream).await, Some(codes::APP_REFUSED.number));
        let mut stream = shop.open().await;
        let flood = async { while stream.write_all(&[0; 65_536]).await.is_ok() {} };
        within(flood).await;
        assert_eq!(stream.reset_code(), Some(codes::APP_REFUSED.number));
    }
}

async fn an_app_that_breaks_its_connection_breaks_the_stream(over: Transport) {
    let shop = shop(over, |mut app| async move {
        app.write_all(b"half").await.unwrap();
        sleep(Duration::from_millis(50)).await;
        app.set_zero_linger().unwrap();
    })
    .await;
    let mut stream = shop.open().await;
    assert_eq!(reset_code(&mut stream).await, Some(codes::APP_CLOSED.number));
    drop(stream);
    nothing_is_open(&shop).await;
}

async fn a_visitor_who_leaves_breaks_the_apps_connection(over: Transport) {
    let (seen, mut outcome) = tokio::sync::mpsc::channel(1);
    let shop = shop(over, move |mut app| {
        let seen = seen.clone();
        async move {
            let ended = app.read_to_end(&mut Vec::new()).await;
            seen.send(ended.map_err(|error| error.kind())).await.unwrap();
        }
    })
    .await;
    let mut stream = shop.open().await;
    stream.write_all(b"half a request").await.unwrap();
    sleep(Duration::from_millis(50)).await;
    drop(stream);
    let ended = within(outcome.recv()).await.unwrap();
    assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset));
    nothing_is_open(&shop).await;
}

async fn an_idle_app_is_left_when_the_visitor_is_gone(over: Transport) {
    let shop = shop(over, |mut app| async move {
        let _ = app.read_to_end(&mut Vec::new()).await;
        sleep(common::LIMIT).await;
    })
    .await;
    let mut stream = shop.open().await;
    stream.write_all(b"GET").await.unwrap();
    stream.shutdown().await.unwrap();
    sleep(Duration::from_millis(50)).await;
    drop(stream);
    nothing_is_open(&shop).await;
}

async fn readers_who_stall_do_not_hold_up_the_others(over: Transport) {
    let shop = shop(over, |mut app| async move {
        let mut kind = [0];
        app.read_exact(&mut kind).await.unwrap();
        let bytes = vec![1; if kind == *b"L" { 16 << 20 } else { 1000 }];
        let _ = app.write_all(&bytes).await;
    })
    .await;
    let mut stalled = Vec::new();
    for _ in 0..40 {
        // More than the send window of the link, 32 MiB, in all.
        let mut stream = shop.open().await;
        stream.write_all(b"L").await.unwrap();
        stalled.push(stream);
    }
    sleep(Duration::from_millis(500)).await; // their windows are full now
    common::others_are_answered(&shop.node.tunnel, b"s", false).await;
    let taken: u64 = shop
        .other
        .peer
        .tunnel
        .stats()
        .0
        .iter()
        .map(|link| link.bytes_out)
        .max()
        .unwrap();
    assert!(taken < 40 * (3 << 20), "what waits is bounded: {taken}");
}

async fn apps_that_stall_do_not_hold_up_the_others(over: Transport) {
    let shop = shop(over, |mut app| async move {
        let mut kind = [0];
        app.read_exact(&mut kind).await.unwrap();
        if kind == *b"L" {
            sleep(common::LIMIT * 2).await; // reads no more, and is not gone
        }
        echo(app).await;
    })
    .await;
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let mut stream = shop.open().await;
        stream.write_all(b"L").await.unwrap();
        let flood = async { while stream.write_all(&[0; 65_536]).await.is_ok() {} };
        assert!(timeout(Duration::from_millis(500), flood).await.is_err(), "it waits");
        stalled.push(stream);
    }
    let taken = shop.node.tunnel.stats().0[0].bytes_in;
    assert!(taken < 6 * (14 << 20), "what waits is bounded: {taken}");
    common::others_are_answered(&shop.node.tunnel, &[b's'; 1001], true).await;
    drop(stalled);
    nothing_is_open(&shop).await;
}

async fn a_lost_agent_breaks_the_stream_without_a_code(over: Transport) {
    let mut shop = shop(over, echo).await;
    let mut stream = shop.open().await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'x');
    shop.agent.tasks.abort_all();
    let error = within(stream.read_u8()).await.unwrap_err();
    assert!(stream.reset_code().is_none(), "{error}");
    shop.other.peer.link_down(shop.agent_link).await;
    let gone = within(shop.node.tunnel.open("shop", visitor())).await;
    assert_eq!(gone.unwrap_err(), OpenError::NoAgent);
}
