//! What HTTP/3 visitors can make an exit node keep. Apart from the other tests, since a process has one memory.
#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "tests panic and don't care about the size of a future"
)]

mod support;

use std::time::Duration;

use support::*;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Mutex};

/// One test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Resident memory of this process.
fn memory_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn a_head_of_a_gibibyte_closes_the_connection_and_costs_nothing() {
    let _alone = ALONE.lock().await;
    let scene = Scene::new(echo).await;
    assert_eq!(scene.h3().await.get("/").await.status(), 200);
    let before = memory_bytes();
    for first in [vec![], [h3_head("POST", &[]), h3_frame(DATA, b"x")].concat()] {
        let quic = scene.quic().await;
        let (mut send, _recv) = quic.open_bi().await.unwrap();
        send.write_all(&first).await.unwrap();
        send.write_all(&[HEADERS, 0xc0, 0, 0, 0, 0x40, 0, 0, 0]).await.unwrap();
        let block = vec![0; 1 << 16];
        let flood = async { while send.write_all(&block).await.is_ok() {} };
        soon(flood).await;
        assert_eq!(closed_with(&quic).await, EXCESSIVE_LOAD);
    }
    let grown = memory_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    assert_eq!(scene.h3().await.get("/").await.status(), 200);
}

#[tokio::test]
async fn readers_that_stall_hold_little_and_block_nobody() {
    let _alone = ALONE.lock().await;
    let scene = Scene::new(|mut stream: TcpStream| async move {
        let big = app_head(&mut stream)
            .await
            .is_some_and(|head| head.starts_with("GET /big"));
        let length = if big { 64 << 20 } else { 2 };
        let _ = stream
            .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes())
            .await;
        let block = vec![b'x'; length.min(1 << 16)];
        for _ in 0..length.div_ceil(1 << 16) {
            if stream.write_all(&block).await.is_err() {
                return;
            }
        }
    })
    .await;
    let before = memory_bytes();
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut narrow = quinn::TransportConfig::default();
        narrow.stream_receive_window(1024_u32.into());
        let quic = scene.try_quic(narrow).await.unwrap();
        for _ in 0..8 {
            let (mut send, recv) = quic.open_bi().await.unwrap();
            let fields = [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", HOST),
                (":path", "/big"),
            ];
            send.write_all(&h3_frame(HEADERS, &h3_fields(&fields))).await.unwrap();
            send.finish().unwrap();
            stalled.push((quic.clone(), send, recv));
        }
    }
    soon(async {
        while scene.counters().in_flight < 32 {
            tokio::time::sleep(Duration::from_millis(5)).await
        }
    })
    .await;
    for _ in 0..5 {
        assert_eq!(scene.h3().await.get("/small").await.text(), "xx");
    }
    let grown = memory_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes for {} readers", stalled.len());
}
