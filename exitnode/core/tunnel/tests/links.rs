//! Links over real QUIC on loopback: who gets in, what frames do, how a link ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing unwrap is a failing test"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Ca, NAME, Peer, dial, frame};
use hawse_proto::codes;
use hawse_proto::core::{DialRequest, Identity, Transport};
use hawse_tunnel::{ALPN_ENROL, ALPN_LINK, ALPN_PEER, Dial, DialFault};

fn request(address: SocketAddr, identity: Identity) -> DialRequest {
    DialRequest {
        address: address.to_string(),
        server_name: NAME.into(),
        alpn: ALPN_LINK.into(),
        identity: Some(identity),
        ..DialRequest::default()
    }
}

over_both!(
    a_link_comes_up_on_both_sides_with_what_the_handshake_proved,
    strangers_of_both_kinds_are_told_apart,
    an_enrolment_needs_no_certificate_and_learns_the_ca,
    frames_sent_before_a_close_arrive_and_the_code_follows,
    a_reader_that_does_not_take_frames_holds_only_its_credits,
    new_handshakes_see_a_rotated_identity_and_links_stay,
    closing_tells_every_peer_and_ends_the_listener,
);

async fn a_link_comes_up_on_both_sides_with_what_the_handshake_proved(over: Transport) {
    let (ca, mut node, mut agent) = (Ca::new("ca"), Peer::over(over), Peer::over(over));
    let address = node.listen(&ca.issue(NAME));
    let identity = ca.issue("agent");
    let ours = dial(&mut agent, request(address, identity.clone())).await.unwrap();
    agent.tunnel.send(ours, &frame("hi")).unwrap();
    let (theirs, up) = node.link_up().await;
    assert_eq!(
        (up.ticket, up.alpn.as_str(), up.peer_certificate),
        (1, ALPN_LINK, identity.chain[0].clone())
    );
    assert_eq!(node.frame().await, (theirs, frame("hi")));
}

async fn strangers_of_both_kinds_are_told_apart(over: Transport) {
    let (ca, other, mut node, mut agent) = (Ca::new("ca"), Ca::new("other"), Peer::over(over), Peer::over(over));
    let address = node.listen(&ca.issue(NAME));
    let untrusted = dial(&mut agent, request(address, other.issue("agent")))
        .await
        .unwrap_err();
    assert!(matches!(untrusted, DialFault::Untrusted(_)), "{untrusted}");
    let wrong_name = DialRequest {
        server_name: "connect.other.test".into(),
        ..request(address, ca.issue("agent"))
    };
    let untrusted = dial(&mut agent, wrong_name).await.unwrap_err();
    assert!(untrusted.to_string().contains("connect.other.test"), "{untrusted}");
    let stranger = Identity {
        roots: vec![ca.der.clone()],
        ..other.issue("agent")
    };
    let refused = dial(&mut agent, request(address, stranger)).await.unwrap_err();
    assert!(matches!(refused, DialFault::Certificate(_)), "{refused}");
    let expired = dial(&mut agent, request(address, ca.issue_valid("agent", -7200..-60)))
        .await
        .unwrap_err();
    assert!(matches!(expired, DialFault::Expired(_)), "{expired}");
    assert_eq!(node.tunnel.stats().1, 4, "all of them are counted");
    assert!(node.quiet());
}

#[tokio::test]
async fn a_link_without_a_certificate_is_closed_with_the_code_that_says_so() {
    let (ca, mut node) = (Ca::new("ca"), Peer::new());
    let address = node.listen(&ca.issue(NAME));
    let connection = common::raw(address, &ca, ALPN_LINK, None).await;
    let quinn::ConnectionError::ApplicationClosed(close) = connection.closed().await else {
        panic!("closed by the node");
    };
    assert_eq!(close.error_code, codes::CERTIFICATE_REFUSED.number.into());
    assert!(node.quiet());
}

async fn an_enrolment_needs_no_certificate_and_learns_the_ca(over: Transport) {
    let (ca, mut node, mut agent) = (Ca::new("ca"), Peer::over(over), Peer::over(over));
    let address = node.listen(&ca.issue(NAME));
    let enrol = |hash: Vec<u8>| DialRequest {
        alpn: ALPN_ENROL.into(),
        identity: None,
        ca_sha256: vec![hash],
        ..request(address, Identity::default())
    };
    let link = dial(&mut agent, enrol(ca.sha256())).await.unwrap();
    assert_eq!(agent.up(link).ca, ca.der);
    agent.tunnel.send(link, &frame("hi")).unwrap();
    let (_, up) = node.link_up().await;
    assert_eq!((up.alpn.as_str(), up.peer_certificate), (ALPN_ENROL, vec![]));
    let other = dial(&mut agent, enrol(vec![7; 32])).await.unwrap_err();
    assert!(
        other.to_string().contains("not the one that the token names"),
        "{other}"
    );
}

#[tokio::test]
async fn requests_that_cannot_work_are_rejected_before_a_packet_is_sent() {
    let address = "127.0.0.1:1".parse().unwrap();
    let ca = Ca::new("ca");
    let table = [
        (
            DialRequest {
                identity: None,
                ..request(address, Identity::default())
            },
            "hawse/1 needs an identity",
        ),
        (
            DialRequest {
                alpn: ALPN_PEER.into(),
                identity: None,
                ..request(address, Identity::default())
            },
            "hawse-peer/1 needs an identity",
        ),
        (
            DialRequest {
                alpn: ALPN_PEER.into(),
                transport: Transport::Tcp.into(),
                ..request(address, ca.issue("a"))
            },
            "hawse-peer/1 is spoken over QUIC",
        ),
        (
            DialRequest {
                alpn: ALPN_ENROL.into(),
                ..request(address, Identity::default())
            },
            "needs the hash of a CA",
        ),
        (
            DialRequest {
                alpn: "h3".into(),
                ..request(address, ca.issue("a"))
            },
            "\"h3\" is not a protocol of links",
        ),
        (request(address, Identity::default()), "the identity has no certificate"),
    ];
    for (request, words) in table {
        let fault = Dial::parse(request).unwrap_err();
        assert!(
            matches!(&fault, DialFault::Rejected(text) if text.contains(words)),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn nobody_there_is_said_after_the_time_that_was_asked_for() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut agent = Peer::new();
    let quick = DialRequest {
        timeout_ms: 200,
        ..request(silent.local_addr().unwrap(), Ca::new("ca").issue("agent"))
    };
    let fault = dial(&mut agent, quick).await.unwrap_err();
    assert!(
        matches!(&fault, DialFault::Unreachable(text) if text.contains("within 0.2 s")),
        "{fault}"
    );
}

async fn frames_sent_before_a_close_arrive_and_the_code_follows(over: Transport) {
    let (mut node, mut agent, theirs, ours) = common::linked(over).await;
    for number in 0..40 {
        node.tunnel.send(theirs, &frame(&format!("{number}"))).unwrap();
    }
    node.tunnel.close_link(theirs, codes::REVOKED.number, "revoked");
    for number in 0..40 {
        assert_eq!(agent.frame().await, (ours, frame(&format!("{number}"))));
    }
    let down = agent.link_down(ours).await;
    assert_eq!(
        (down.code, down.reason.as_str(), down.by.as_str()),
        (codes::REVOKED.number, "revoked", "peer")
    );
    assert_eq!(node.link_down(theirs).await.by, "us");
    assert!(node.tunnel.stats().0.is_empty());
}

#[tokio::test]
async fn bytes_that_are_no_frame_close_the_link_and_say_so() {
    let (ca, mut node) = (Ca::new("ca"), Peer::new());
    let address = node.listen(&ca.issue(NAME));
    let table: [(&str, &[u8]); 3] = [
        ("longer than 65536", &[0, 1, 0, 1]),
        ("a message is empty", &[0, 0, 0, 0]),
        ("not a frame", &[0, 0, 0, 1, 0xff]),
    ];
    for (words, bytes) in table {
        let connection = common::raw(address, &ca, ALPN_LINK, Some(&ca.issue("agent"))).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        let quinn::ConnectionError::ApplicationClosed(close) = connection.closed().await else {
            panic!("closed by the node");
        };
        assert_eq!(close.error_code, codes::BAD_FRAME.number.into());
        assert!(String::from_utf8_lossy(&close.reason).contains(words), "{close:?}");
        let (link, _) = node.link_up().await;
        assert_eq!(node.link_down(link).await.by, "us");
    }
}

#[tokio::test]
async fn an_agent_can_open_no_second_stream() {
    let (ca, mut node) = (Ca::new("ca"), Peer::new());
    let address = node.listen(&ca.issue(NAME));
    let connection = common::raw(address, &ca, ALPN_LINK, Some(&ca.issue("agent"))).await;
    let _control = connection.open_bi().await.unwrap();
    let wait = Duration::from_millis(200);
    assert!(tokio::time::timeout(wait, connection.open_bi()).await.is_err());
    assert!(tokio::time::timeout(wait, connection.open_uni()).await.is_err());
}

async fn a_reader_that_does_not_take_frames_holds_only_its_credits(over: Transport) {
    let (node, mut agent, theirs, _) = common::linked(over).await;
    agent.keep_credits = true;
    let big = frame(&"x".repeat(60_000));
    for _ in 0..60 {
        node.tunnel.send(theirs, &big).unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let waiting = agent.waiting_frames();
    assert!(
        (1..=hawse_tunnel::limits::FRAMES_RECEIVED).contains(&waiting),
        "{waiting}"
    );
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_control_stream_is_closed() {
    let (ca, mut node) = (Ca::new("ca"), Peer::new());
    let address = node.listen(&ca.issue(NAME));
    let connection = common::raw(address, &ca, ALPN_LINK, Some(&ca.issue("agent"))).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&[0, 0, 0, 3, 0xfa, 1, 0]).await.unwrap();
    let (link, _) = node.link_up().await;
    let big = frame(&"x".repeat(60_000));
    let flood = async {
        loop {
            node.tunnel.send(link, &big).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let closed = tokio::select! {
        () = flood => unreachable!(),
        closed = connection.closed() => closed,
    };
    assert!(closed.to_string().contains("does not read"), "{closed}");
}

#[tokio::test]
async fn a_peer_that_vanishes_is_noticed_by_silence() {
    let (ca, mut node) = (Ca::new("ca"), Peer::new());
    let address = node.listen(&ca.issue(NAME));
    // A client on a runtime of its own: dropping the runtime is kill -9, nothing says goodbye.
    let identity = ca.issue("agent");
    let (gone, up) = std::sync::mpsc::channel();
    let ca_der = ca.der.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let connection = common::raw_with(address, ca_der, ALPN_LINK, Some(&identity)).await;
            let (mut send, _recv) = connection.open_bi().await.unwrap();
            send.write_all(&[0, 0, 0, 3, 0xfa, 1, 0]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            std::mem::forget(connection);
        });
        runtime.shutdown_background();
        gone.send(()).unwrap();
    });
    let (link, _) = node.link_up().await;
    node.tunnel.bind_link(link, vec!["shop".into()]);
    tokio::task::spawn_blocking(move || up.recv().unwrap()).await.unwrap();
    let down = node.link_down_within(link, Duration::from_secs(6)).await;
    assert_eq!(down.by, "timeout");
    assert!(node.tunnel.last_seen("shop").is_some());
}

async fn new_handshakes_see_a_rotated_identity_and_links_stay(over: Transport) {
    let (ca, successor, mut node, mut agent) =
        (Ca::new("ca"), Ca::new("successor"), Peer::over(over), Peer::over(over));
    let address = node.listen(&ca.issue(NAME));
    let first = dial(&mut agent, request(address, ca.issue("agent"))).await.unwrap();
    agent.tunnel.send(first, &frame("hi")).unwrap();
    let (theirs, _) = node.link_up().await;
    node.frame().await;
    node.rotate(&successor.issue(NAME));
    assert!(dial(&mut agent, request(address, ca.issue("agent"))).await.is_err());
    let second = dial(&mut agent, request(address, successor.issue("agent")))
        .await
        .unwrap();
    agent.tunnel.send(second, &frame("hi")).unwrap();
    node.link_up().await;
    node.frame().await;
    agent.tunnel.send(first, &frame("still here")).unwrap();
    assert_eq!(node.frame().await, (theirs, frame("still here")));
}

async fn closing_tells_every_peer_and_ends_the_listener(over: Transport) {
    let (mut node, mut agent, theirs, ours) = common::linked(over).await;
    node.tunnel.close("stopping").await;
    let down = agent.link_down(ours).await;
    assert_eq!((down.by.as_str(), down.reason.as_str()), ("peer", "stopping"));
    node.link_down(theirs).await;
    node.ended().await;
    assert!(node.quiet());
}

#[tokio::test]
async fn an_agent_that_comes_back_gets_a_whole_handshake_and_can_send_nothing_early() {
    let (ca, mut node) = (Ca::new("ca"), Peer::new());
    let address = node.listen(&ca.issue(NAME));
    let config = common::raw_config(ca.der.clone(), ALPN_LINK, Some(&ca.issue("agent")));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = endpoint
        .connect_with(config.clone(), address, NAME)
        .unwrap()
        .await
        .unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&[0, 0, 0, 3, 0xfa, 1, 0]).await.unwrap();
    let (link, _) = node.link_up().await;
    node.tunnel.send(link, &frame("hi")).unwrap();
    recv.read_chunk(1, true).await.unwrap().unwrap(); // behind what TLS had to say
    let again = endpoint.connect_with(config, address, NAME).unwrap();
    assert!(again.into_0rtt().is_err(), "it was given no ticket");
}
