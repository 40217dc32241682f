//! Behind a load balancer: the PROXY header and X-Forwarded-For count from the fleet's trusted networks, and from nowhere else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use hawse_proto::{core::EdgeOptions, ir};
use support::{HOST, Reply, Scene, echo, read_reply, soon, tunnel};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 443\r\n";

async fn behind(cidrs: &[&str], announce: bool, options: EdgeOptions) -> Scene {
    let scene = Scene::with(options, tunnel("u1", HOST), echo).await;
    let proxies = ir::Proxies {
        trusted_cidrs: cidrs.iter().map(|text| (*text).to_owned()).collect(),
        announce,
    };
    let fleet = ir::Fleet {
        certificate_id: "certificate/fleet".into(),
        proxies: Some(proxies),
        ..ir::Fleet::default()
    };
    let object = ir::Object {
        key: "fleet".into(),
        object: Some(ir::object::Object::Fleet(fleet)),
    };
    scene.edge.apply(object).unwrap();
    scene
}

/// A request on a connection that begins with `first`; the app echoes its head.
async fn ask(scene: &Scene, first: &[u8], fields: &str) -> Option<Reply> {
    let mut tcp = TcpStream::connect(scene.addr).await.unwrap();
    tcp.write_all(first).await.unwrap();
    let mut stream = scene.tls_over(tcp, HOST, &["http/1.1"]).await.ok()?;
    let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    Some(soon(read_reply(&mut stream, false)).await)
}

fn told(reply: Option<Reply>) -> String {
    let text = reply.unwrap().text().to_ascii_lowercase();
    let line = text.lines().find_map(|line| line.strip_prefix("x-forwarded-for: "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn the_visitor_is_who_the_header_says() {
    let scene = behind(&["127.0.0.0/8"], true, EdgeOptions::default()).await;
    assert_eq!(told(ask(&scene, HEADER, "").await), "203.0.113.7");
    let lie = "x-forwarded-for: 1.2.3.4\r\n";
    assert_eq!(
        told(ask(&scene, HEADER, lie).await),
        "203.0.113.7",
        "a visitor's word is dropped"
    );
    let health_check = ask(&scene, b"PROXY UNKNOWN\r\n", "").await;
    assert_eq!(told(health_check), "127.0.0.1");
}

#[tokio::test]
async fn without_the_header_a_load_balancer_is_refused_and_a_stranger_with_it() {
    let scene = behind(&["127.0.0.0/8"], true, EdgeOptions::default()).await;
    assert!(ask(&scene, b"", "").await.is_none());
    assert!(ask(&scene, b"PROXY TCP4 nobody\r\n", "").await.is_none());
    assert_eq!(scene.snapshot().handshakes_failed, 2);
    let strangers = behind(&["10.0.0.0/8"], true, EdgeOptions::default()).await;
    assert!(ask(&strangers, HEADER, "").await.is_none());
    assert_eq!(told(ask(&strangers, b"", "").await), "127.0.0.1");
}

#[tokio::test]
async fn caps_count_visitors_and_not_the_load_balancer() {
    let options = EdgeOptions {
        max_connections_per_address: 1,
        ..EdgeOptions::default()
    };
    let scene = behind(&["127.0.0.0/8"], true, options).await;
    let mut held = Vec::new();
    for number in 1..=3 {
        let mut tcp = TcpStream::connect(scene.addr).await.unwrap();
        let header = format!("PROXY TCP4 203.0.113.{number} 10.0.0.1 5000 443\r\n");
        tcp.write_all(header.as_bytes()).await.unwrap();
        held.push(scene.tls_over(tcp, HOST, &["http/1.1"]).await.unwrap());
    }
    let second = ask(&scene, b"PROXY TCP4 203.0.113.1 10.0.0.1 5001 443\r\n", "").await;
    assert!(second.is_none(), "one connection of an address");
}

#[tokio::test]
async fn x_forwarded_for_counts_from_a_trusted_proxy_alone() {
    let chain = "x-forwarded-for: 1.2.3.4, 203.0.113.7\r\n";
    let trusted = behind(&["127.0.0.0/8"], false, EdgeOptions::default()).await;
    assert_eq!(told(ask(&trusted, b"", chain).await), "1.2.3.4, 203.0.113.7, 127.0.0.1");
    let strangers = behind(&["10.0.0.0/8"], false, EdgeOptions::default()).await;
    assert_eq!(told(ask(&strangers, b"", chain).await), "127.0.0.1");
}

#[tokio::test]
async fn agents_come_through_the_load_balancer_too() {
    let scene = behind(&["127.0.0.0/8"], true, EdgeOptions::default()).await;
    let mut agents = scene.edge.agents();
    let mut tcp = TcpStream::connect(scene.addr).await.unwrap();
    tcp.write_all(HEADER).await.unwrap();
    let dialling = scene.tls_over(tcp, "connect.t.example", &["hawse/1"]);
    tokio::pin!(dialling);
    let (_, peer) = tokio::select! {
        agent = soon(agents.recv()) => agent.unwrap(),
        done = &mut dialling => panic!("the edge answered: {done:?}"),
    };
    assert_eq!(peer.to_string(), "203.0.113.7:5000");
}
