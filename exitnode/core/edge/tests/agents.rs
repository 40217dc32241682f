//! Agents at the visitors' port: heard even where visitors are at their cap, never counted among them, unknown where nobody
//! takes them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use hawse_proto::core::EdgeOptions;
use support::{HOST, Scene, says, soon, tunnel};

const AGENT: &[&str] = &["hawse/1"];
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn crowded() -> Scene {
    let options = EdgeOptions {
        max_connections: 1,
        ..EdgeOptions::default()
    };
    Scene::with(options, tunnel("u1", HOST), says(ANSWER)).await
}

#[tokio::test]
async fn visitors_at_their_cap_lock_no_agent_out_and_agents_take_no_place_of_theirs() {
    let scene = crowded().await;
    let mut agents = scene.edge.agents();
    let visitor = scene.h1().await;
    for _ in 0..20 {
        // An agent waits for the tunnel server's half of the handshake, which is not there.
        let dialling = scene.tls("connect.t.example", AGENT);
        tokio::pin!(dialling);
        let (start, _) = tokio::select! {
            agent = soon(agents.recv()) => agent.unwrap(),
            done = &mut dialling => panic!("the edge answered: {done:?}"),
        };
        assert!(start.client_hello().alpn().unwrap().eq([b"hawse/1"]));
    }
    assert!(scene.tls(HOST, &["http/1.1"]).await.is_err(), "one more visitor");
    drop(visitor);
    let snapshot = scene.snapshot();
    let counted = (snapshot.connections_total, snapshot.connections_refused);
    assert_eq!((counted, snapshot.handshakes_failed), ((2, 1), 0));
}

#[tokio::test]
async fn an_agent_that_is_first_leaves_the_place_to_a_visitor() {
    let scene = crowded().await;
    let mut agents = scene.edge.agents();
    let dialling = scene.tls("connect.t.example", AGENT);
    tokio::pin!(dialling);
    let agent = tokio::select! {
        agent = soon(agents.recv()) => agent.unwrap(),
        done = &mut dialling => panic!("the edge answered: {done:?}"),
    };
    let reply = scene.ask(b"GET / HTTP/1.1\r\nhost: shop.t.example\r\n\r\n").await;
    assert_eq!(reply.status, 200);
    drop(agent);
}

#[tokio::test]
async fn without_a_tunnel_server_agents_are_refused_as_any_unknown_protocol() {
    let scene = Scene::new(says(ANSWER)).await;
    let unknown = scene.tls(HOST, &["nonsense/9"]).await.unwrap_err().to_string();
    let before = scene.tls(HOST, AGENT).await.unwrap_err().to_string();
    drop(scene.edge.agents());
    let after = scene.tls(HOST, AGENT).await.unwrap_err().to_string();
    assert!(unknown.contains("NoApplicationProtocol"), "{unknown}");
    assert_eq!([&before, &after], [&unknown, &unknown]);
}

#[tokio::test]
async fn connections_past_the_cap_that_say_nothing_are_bounded() {
    let scene = crowded().await;
    let _visitor = scene.h1().await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(tokio::net::TcpStream::connect(scene.addr).await.unwrap());
    }
    let mut closed = 0;
    for stream in &mut silent {
        let mut byte = [0];
        let wait = std::time::Duration::from_millis(50);
        let read = tokio::io::AsyncReadExt::read(stream, &mut byte);
        closed += usize::from(tokio::time::timeout(wait, read).await.is_ok());
    }
    assert_eq!(closed, 40 - 8, "as limits.rs says for one address");
}
