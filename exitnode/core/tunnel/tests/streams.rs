//! Streams to real apps over a real link: half-close, broken sides, refusals, stalled readers, dead links.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing unwrap is a failing test"
)]

mod common;

use std::time::Duration;

use common::{Peer, app, echo, linked, reset_code, upstream, visitor, within};
use hawse_proto::codes;
use hawse_proto::core::Transport;
use hawse_tunnel::{AppStream, OpenError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A link whose tunnel "shop" leads to an app.
struct Shop {
    node: Peer,
    agent: Peer,
    link: u64,
    _apps: JoinSet<()>,
}

async fn shop<F, Fut>(over: Transport, serve: F) -> Shop
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (node, agent, link, ours) = linked(over).await;
    let mut apps = JoinSet::new();
    let address = app(&mut apps, serve).await;
    node.tunnel.bind_link(link, vec!["shop".into()]);
    agent.tunnel.attach(ours, vec![upstream("shop", address)]);
    Shop {
        node,
        agent,
        link,
        _apps: apps,
    }
}

impl Shop {
    async fn open(&self) -> AppStream {
        self.node.tunnel.open("shop", visitor()).await.unwrap()
    }
}

over_both!(
    bytes_pass_both_ways_unchanged,
    an_answer_that_waits_for_the_end_of_the_request_arrives,
    an_early_answer_arrives_though_the_app_reads_no_further,
    refusals_carry_the_number_of_their_code,
    localhost_is_either_of_the_two_loopback_addresses,
    a_writer_learns_of_the_refusal_too,
    a_tunnel_without_a_link_has_no_agent,
    an_app_that_breaks_its_connection_breaks_the_stream,
    a_visitor_who_leaves_breaks_the_apps_connection_instead_of_ending_the_request,
    a_stream_that_is_put_away_after_its_end_closes_the_app_gently,
    an_idle_app_is_left_when_the_visitor_is_gone,
    readers_who_stall_do_not_hold_up_the_others,
    apps_that_stall_do_not_hold_up_the_others,
    a_visitor_who_pauses_gets_every_byte,
    the_newest_link_serves_and_the_older_one_takes_over,
    streams_of_a_lost_link_break_without_a_code,
);

async fn bytes_pass_both_ways_unchanged(over: Transport) {
    let shop = shop(over, echo).await;
    let mut stream = shop.open().await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n * 31 % 251) as u8).collect();
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let mut received = Vec::new();
    let (sending, receiving) = within(async {
        tokio::join!(
            async {
                write.write_all(&sent).await?;
                write.shutdown().await
            },
            read.read_to_end(&mut received)
        )
    })
    .await;
    sending.unwrap();
    receiving.unwrap();
    assert!(received == sent);
    let stats = shop.node.tunnel.stats().0.remove(0);
    assert_eq!(
        (stats.bytes_in, stats.bytes_out, stats.streams_total),
        (3_000_000, 3_000_000, 1)
    );
    let stats = shop.agent.tunnel.stats().0.remove(0);
    assert_eq!((stats.bytes_in, stats.bytes_out), (3_000_000, 3_000_000));
}

async fn an_answer_that_waits_for_the_end_of_the_request_arrives(over: Transport) {
    let shop = shop(over, common::answer_after_the_end).await;
    let mut stream = shop.open().await;
    stream.write_all(&[7; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "got 100000 bytes");
}

async fn an_early_answer_arrives_though_the_app_reads_no_further(over: Transport) {
    let shop = shop(over, |mut app| async move {
        app.write_all(b"413").await.unwrap();
        app.shutdown().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await; // a server's lingering close
    })
    .await;
    let mut stream = shop.open().await;
    stream.write_all(&[7; 100_000]).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "413");
}

async fn refusals_carry_the_number_of_their_code(over: Transport) {
    let (node, agent, link, ours) = linked(over).await;
    node.tunnel
        .bind_link(link, vec!["shop".into(), "blog".into(), "wiki".into()]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut nowhere = upstream("wiki", closed);
    nowhere.host = "no-such-host.invalid".into();
    agent.tunnel.attach(ours, vec![upstream("shop", closed), nowhere]);
    let table = [
        ("shop", codes::APP_REFUSED),
        ("wiki", codes::APP_REFUSED),
        ("blog", codes::NO_AGENT),
    ];
    for (tunnel, code) in table {
        let mut stream = node.tunnel.open(tunnel, visitor()).await.unwrap();
        assert_eq!(reset_code(&mut stream).await, Some(code.number), "{tunnel}");
    }
}

async fn localhost_is_either_of_the_two_loopback_addresses(over: Transport) {
    let (node, agent, link, ours) = linked(over).await;
    node.tunnel.bind_link(link, vec!["shop".into()]);
    // Bound and not listening: on 127.0.0.1 this port refuses, and no other test can take it.
    let refusing = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    refusing
        .bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into())
        .unwrap();
    let port = refusing.local_addr().unwrap().as_socket().unwrap().port();
    for bind in [("127.0.0.1", 0), ("::1", port)] {
        let Ok(listener) = tokio::net::TcpListener::bind(bind).await else {
            continue; // a machine without IPv6
        };
        let local = upstream("shop", listener.local_addr().unwrap());
        agent.tunnel.attach(
            ours,
            vec![hawse_proto::core::Upstream {
                host: "localhost".into(),
                ..local
            }],
        );
        let mut stream = node.tunnel.open("shop", visitor()).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        let (mut app, _) = within(listener.accept()).await.unwrap();
        assert_eq!(within(app.read_u8()).await.unwrap(), b'x');
    }
}

async fn a_writer_learns_of_the_refusal_too(over: Transport) {
    let (node, _agent, link, _) = linked(over).await;
    node.tunnel.bind_link(link, vec!["shop".into()]);
    let mut stream = node.tunnel.open("shop", visitor()).await.unwrap();
    let flood = async { while stream.write_all(&[0; 65_536]).await.is_ok() {} };
    within(flood).await;
    assert_eq!(stream.reset_code(), Some(codes::NO_AGENT.number));
}

async fn a_tunnel_without_a_link_has_no_agent(over: Transport) {
    let (node, ..) = linked(over).await;
    assert_eq!(
        node.tunnel.open("shop", visitor()).await.unwrap_err(),
        OpenError::NoAgent
    );
    assert_eq!(node.tunnel.last_seen("shop"), None);
}

async fn an_app_that_breaks_its_connection_breaks_the_stream(over: Transport) {
    let shop = shop(over, |mut app| async move {
        app.write_all(b"half").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        app.set_zero_linger().unwrap();
    })
    .await;
    let mut stream = shop.open().await;
    assert_eq!(reset_code(&mut stream).await, Some(codes::APP_CLOSED.number));
}

async fn a_visitor_who_leaves_breaks_the_apps_connection_instead_of_ending_the_request(over: Transport) {
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
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    let ended = within(outcome.recv()).await.unwrap();
    assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(shop.node.tunnel.stats().0[0].streams_open, 0);
}

async fn a_stream_that_is_put_away_after_its_end_closes_the_app_gently(over: Transport) {
    let (seen, mut outcome) = tokio::sync::mpsc::channel(1);
    let shop = shop(over, move |mut app| {
        let seen = seen.clone();
        async move {
            let first = app.read_to_end(&mut Vec::new()).await.map_err(|error| error.kind());
            tokio::time::sleep(Duration::from_millis(100)).await;
            let later = app.take_error().unwrap().map(|error| error.kind());
            seen.send((first, later)).await.unwrap();
        }
    })
    .await;
    let mut stream = shop.open().await;
    stream.write_all(b"GET").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await; // the app has it
    stream.shutdown().await.unwrap();
    drop(stream);
    assert_eq!(within(outcome.recv()).await.unwrap(), (Ok(3), None));
}

async fn an_idle_app_is_left_when_the_visitor_is_gone(over: Transport) {
    let shop = shop(over, |mut app| async move {
        let _ = app.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut stream = shop.open().await;
    stream.write_all(b"GET").await.unwrap();
    drop(stream);
    let gone = async {
        while shop.agent.tunnel.stats().0[0].streams_open > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(gone).await;
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
    for _ in 0..12 {
        // More than the send window of a connection, 8 MiB, in all.
        let mut stream = shop.open().await;
        stream.write_all(b"L").await.unwrap();
        stalled.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(500)).await; // their windows are full now
    common::others_are_answered(&shop.node.tunnel, b"s", false).await;
    let held = shop.node.tunnel.stats().0[0].bytes_out;
    assert!(held < 100_000, "stalled readers have taken nothing: {held}");
}

async fn apps_that_stall_do_not_hold_up_the_others(over: Transport) {
    let shop = shop(over, |mut app| async move {
        let mut kind = [0];
        app.read_exact(&mut kind).await.unwrap();
        if kind == *b"L" {
            tokio::time::sleep(common::LIMIT).await; // reads no more, and is not gone
        }
        echo(app).await;
    })
    .await;
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let mut stream = shop.open().await;
        stream.write_all(b"L").await.unwrap();
        let flood = async { while stream.write_all(&[0; 65_536]).await.is_ok() {} };
        assert!(timeout(Duration::from_millis(300), flood).await.is_err(), "it waits");
        stalled.push(stream);
    }
    let taken = shop.node.tunnel.stats().0[0].bytes_in;
    assert!(taken < 6 * (12 << 20), "what waits is bounded: {taken}");
    common::others_are_answered(&shop.node.tunnel, &[b's'; 1001], true).await;
}

async fn a_visitor_who_pauses_gets_every_byte(over: Transport) {
    let shop = shop(over, |mut app| async move {
        app.write_all(&vec![7; 8 << 20]).await.unwrap();
    })
    .await;
    let mut stream = shop.open().await;
    let mut first = vec![0; 100_000];
    within(stream.read_exact(&mut first)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await; // every window on the way is full now
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(first.len() + rest.len(), 8 << 20);
}

async fn the_newest_link_serves_and_the_older_one_takes_over(over: Transport) {
    let (ca, mut node) = (common::Ca::new("ca"), Peer::over(over));
    let address = node.listen(&ca.issue(common::NAME));
    let mut apps = JoinSet::new();
    let say = |word: &'static str| {
        move |mut app: TcpStream| async move {
            app.write_all(word.as_bytes()).await.unwrap();
        }
    };
    let (old_app, new_app) = (app(&mut apps, say("old")).await, app(&mut apps, say("new")).await);
    let (mut old, mut new) = (Peer::over(over), Peer::over(over));
    let (first, ours) = common::join(&mut node, &mut old, address, &ca).await;
    old.tunnel.attach(ours, vec![upstream("shop", old_app)]);
    let (second, ours) = common::join(&mut node, &mut new, address, &ca).await;
    new.tunnel.attach(ours, vec![upstream("shop", new_app)]);
    node.tunnel.bind_link(second, vec!["shop".into()]);
    node.tunnel.bind_link(first, vec!["shop".into()]);
    let ask = async |node: &Peer| {
        let mut answer = String::new();
        let mut stream = node.tunnel.open("shop", visitor()).await.unwrap();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    assert_eq!(ask(&node).await, "new");
    new.tunnel.close_link(ours, 0, "bye");
    node.link_down(second).await;
    assert_eq!(ask(&node).await, "old");
    node.tunnel.close_link(first, 0, "bye");
    node.link_down(first).await;
    assert_eq!(
        node.tunnel.open("shop", visitor()).await.unwrap_err(),
        OpenError::NoAgent
    );
    assert!(node.tunnel.last_seen("shop").unwrap() < common::LIMIT);
}

async fn streams_of_a_lost_link_break_without_a_code(over: Transport) {
    let mut shop = shop(over, echo).await;
    let mut stream = shop.open().await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    shop.agent.tasks.abort_all();
    let error = within(stream.read_u8()).await.unwrap_err();
    assert!(stream.reset_code().is_none(), "{error}");
    shop.node.link_down(shop.link).await;
}

#[tokio::test]
async fn an_opening_that_is_none_is_reset_and_the_link_lives() {
    // The node's side by hand: the agent must not trust it.
    let (ca, mut agent) = (common::Ca::new("ca"), Peer::new());
    let identity = ca.issue(common::NAME);
    let (endpoint, address) = common::raw_server(&identity);
    let request = hawse_proto::core::DialRequest {
        address: address.to_string(),
        server_name: common::NAME.into(),
        alpn: hawse_tunnel::ALPN_LINK.into(),
        identity: Some(ca.issue("agent")),
        ..Default::default()
    };
    let accept = async { endpoint.accept().await.unwrap().await.unwrap() };
    let (connection, link) = tokio::join!(accept, common::dial(&mut agent, request));
    link.unwrap();
    for bytes in [&[0xff, 0xff][..], &[0, 0], &[0, 2, 0x10, 1], &[0, 1, 0xff]] {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        let error = within(recv.read_to_end(10)).await.unwrap_err().to_string();
        assert!(error.contains(&codes::BAD_FRAME.number.to_string()), "{error}");
    }
    assert_eq!(agent.tunnel.stats().0[0].streams_total, 4);
}

#[tokio::test]
async fn a_visitor_of_an_exit_node_that_has_just_started_waits_for_the_agents_return() {
    let (node, agent, link, ours) = linked(Transport::Quic).await;
    let mut apps = JoinSet::new();
    let address = app(&mut apps, echo).await;
    agent.tunnel.attach(ours, vec![upstream("shop", address)]);
    let asked = node.tunnel.open("shop", visitor());
    let back = async {
        tokio::task::yield_now().await; // it has asked by then, and found nobody
        node.tunnel.bind_link(link, vec!["shop".into()]);
    };
    let (stream, ()) = within(Box::pin(async { tokio::join!(asked, back) })).await;
    stream.unwrap();
    node.tunnel.bind_link(link, vec![]);
    let nobody = within(node.tunnel.open("shop", visitor())).await;
    assert_eq!(nobody.unwrap_err(), OpenError::NoAgent, "not for ever");
}
