//! Backhaul over real QUIC on loopback: which way a visitor's stream takes, and who may give one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing unwrap is a failing test"
)]

mod common;

use std::time::Duration;

use common::shop::{Node, names, nothing_is_open, say, shop};
use common::{Ca, NAME, Peer, app, echo, reset_code, upstream, visitor, within};
use hawse_proto::codes;
use hawse_proto::core::Transport;
use hawse_tunnel::limits::{OPEN_TIMEOUT, STALLED_ANSWERS};
use hawse_tunnel::{ALPN_PEER, OpenError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn past_the_bound_the_reader_who_has_stalled_longest_is_cut_off() {
    let shop = shop(Transport::Quic, |mut app| async move {
        let _ = app.write_all(&vec![1; 4 << 20]).await;
    })
    .await;
    let mut first = shop.open().await;
    let relayed = || {
        shop.other
            .peer
            .tunnel
            .stats()
            .0
            .into_iter()
            .find(|link| link.link == shop.link.0)
            .unwrap()
    };
    let full = async {
        while relayed().bytes_out < 1 << 20 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    within(full).await; // from here on it stands still
    let mut stalled = Vec::new();
    for _ in 0..STALLED_ANSWERS {
        stalled.push(shop.open().await);
    }
    let cut = async {
        while relayed().streams_open as usize > STALLED_ANSWERS {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(common::LIMIT * 3, cut)
        .await
        .expect("one is cut off once all stand still");
    assert_eq!(reset_code(&mut first).await, Some(codes::OVERLOADED.number));
    let mut last = Vec::new();
    within(stalled.pop().unwrap().read_to_end(&mut last)).await.unwrap();
    assert_eq!(last.len(), 4 << 20, "the others have every byte");
    shop.other.peer.tunnel.relieve();
    assert_eq!(
        reset_code(&mut stalled[0]).await,
        Some(codes::OVERLOADED.number),
        "so it goes when memory is short"
    );
}

#[tokio::test]
async fn a_stream_takes_one_hop_and_no_second() {
    let (ca, mut apps) = (Ca::new("ca"), JoinSet::new());
    let (mut node, mut middle, mut far) = (
        Peer::new(),
        Node::new(&ca, Transport::Quic),
        Node::new(&ca, Transport::Quic),
    );
    let app = app(&mut apps, say("far")).await;
    let (_agent, _) = far.shop(&ca, app).await;
    far.serves(&mut middle.peer, &ca, 0, &["shop"]).await;
    middle.serves(&mut node, &ca, 0, &["shop"]).await;
    let before = far.streams();
    let refused = within(node.tunnel.open("shop", visitor())).await;
    assert_eq!(refused.unwrap_err(), OpenError::NoAgent);
    assert_eq!(far.streams(), before, "it was not asked");
    let own = within(middle.peer.tunnel.open("shop", visitor())).await;
    assert!(own.is_ok(), "its own visitors take that way");
}

#[tokio::test]
async fn an_agent_that_has_just_left_sends_visitors_to_the_next_exit_node() {
    let mut shop = shop(Transport::Quic, say("near")).await;
    let (far, _agent, _) = shop.elsewhere("far").await;
    assert_eq!(shop.ask().await, "near", "the own region comes first");
    shop.other.peer.tunnel.bind_link(shop.agent_link, vec![]);
    assert_eq!(shop.ask().await, "far", "though nobody has taken the announcement back");
    far.peer.tunnel.close("stopping").await;
    let nobody = within(shop.node.tunnel.open("shop", visitor())).await;
    assert_eq!(nobody.unwrap_err(), OpenError::NoAgent);
    assert_eq!(
        shop.node.tunnel.last_seen("shop"),
        None,
        "no agent of its own has ever been here"
    );
}

#[tokio::test]
async fn an_own_agent_comes_before_every_peer_and_takes_kept_connections_with_it() {
    let mut shop = shop(Transport::Quic, say("near")).await;
    let kept = shop.open().await;
    assert!(kept.path().is_current());
    let address = shop.node.listen(&shop.ca.issue(NAME));
    let mut agent = Peer::new();
    let (theirs, ours) = common::join(&mut shop.node, &mut agent, address, &shop.ca).await;
    let here = app(&mut shop.apps, say("here")).await;
    agent.tunnel.attach(ours, vec![upstream("shop", here)]);
    shop.node.tunnel.bind_link(theirs, names(&["shop"]));
    assert_eq!(shop.ask().await, "here");
    assert!(!kept.path().is_current());
    shop.node.tunnel.bind_link(theirs, vec![]);
    assert_eq!(shop.ask().await, "near", "and the peer when it has gone");
    assert!(shop.open().await.path().is_current());
}

#[tokio::test]
async fn a_tunnel_that_is_taken_back_leaves_the_link_and_no_other_does() {
    let shop = shop(Transport::Quic, say("near")).await;
    let (tunnel, link) = (&shop.node.tunnel, shop.link.1);
    tunnel.announce_peer(link, 0, names(&["blog"]), &[]);
    shop.other
        .peer
        .tunnel
        .bind_link(shop.agent_link, names(&["shop", "blog"]));
    let (of_shop, of_blog) = (shop.open().await, tunnel.open("blog", visitor()).await.unwrap());
    tunnel.announce_peer(link, 0, vec![], &names(&["blog", "unknown"]));
    assert!(of_shop.path().is_current() && !of_blog.path().is_current());
    assert_eq!(tunnel.open("blog", visitor()).await.unwrap_err(), OpenError::NoAgent);
    assert_eq!(shop.ask().await, "near");
}

#[tokio::test]
async fn a_peer_that_dies_breaks_its_streams_and_leaves_the_others_to_visitors() {
    let mut shop = shop(Transport::Quic, echo).await;
    let (_far, _agent, _) = shop.elsewhere("far").await;
    let mut stream = shop.open().await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'x');
    shop.other.peer.tasks.abort_all();
    let error = within(stream.read_u8()).await.unwrap_err();
    assert!(stream.reset_code().is_none(), "{error}");
    assert!(!stream.path().is_current());
    shop.node.link_down(shop.link.1).await;
    assert_eq!(shop.ask().await, "far");
}

#[tokio::test]
async fn visitors_exit_node_dies_and_the_app_hears_of_it() {
    let (seen, mut outcome) = tokio::sync::mpsc::channel(1);
    let mut shop = shop(Transport::Quic, move |mut app| {
        let seen = seen.clone();
        async move {
            let ended = app.read_to_end(&mut Vec::new()).await;
            seen.send(ended.is_err()).await.unwrap();
        }
    })
    .await;
    let mut stream = shop.open().await;
    stream.write_all(b"half a request").await.unwrap();
    sleep(Duration::from_millis(50)).await;
    shop.node.tasks.abort_all();
    assert!(within(outcome.recv()).await.unwrap());
    shop.other.peer.link_down(shop.link.0).await;
    nothing_is_open(&shop).await;
}

#[tokio::test]
async fn an_idle_link_between_exit_nodes_stays() {
    let mut shop = shop(Transport::Quic, say("near")).await;
    sleep(hawse_tunnel::limits::SILENCE + Duration::from_secs(1)).await;
    assert!(shop.node.quiet() && shop.other.peer.quiet());
    assert_eq!(shop.ask().await, "near");
}

#[tokio::test]
async fn a_visitor_who_waits_for_agents_to_return_takes_an_announcement_too() {
    let mut shop = shop(Transport::Quic, say("near")).await;
    shop.node.listen(&shop.ca.issue(NAME));
    shop.node
        .tunnel
        .announce_peer(shop.link.1, 0, vec![], &names(&["shop"]));
    let asked = shop.ask();
    let back = async {
        tokio::task::yield_now().await; // it has asked by then, and found nobody
        shop.node.tunnel.announce_peer(shop.link.1, 0, names(&["shop"]), &[]);
    };
    let (answer, ()) = tokio::join!(asked, back);
    assert_eq!(answer, "near");
}

#[tokio::test]
async fn a_peer_can_open_no_stream_before_it_is_admitted() {
    let (ca, mut node) = (Ca::new("ca"), Node::new(&Ca::new("other"), Transport::Quic));
    node.peer.rotate(&ca.issue(NAME));
    let connection = common::raw(node.address, &ca, ALPN_PEER, Some(&ca.issue("agent"))).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&[0, 0, 0, 3, 0xfa, 1, 0]).await.unwrap();
    let (link, up) = node.peer.link_up().await;
    assert_eq!(up.alpn, ALPN_PEER);
    assert!(!up.peer_certificate.is_empty(), "who it is, is Python's to say");
    node.peer.tunnel.bind_link(link, names(&["shop"])); // no agent's link
    assert_eq!(node.peer.tunnel.last_seen("shop"), None);
    let wait = Duration::from_millis(200);
    assert!(timeout(wait, connection.open_bi()).await.is_err());
    node.peer.tunnel.admit_peer(link);
    within(connection.open_bi()).await.unwrap();
}

#[tokio::test]
async fn only_a_link_that_was_dialled_to_a_peer_leads_anywhere() {
    let (node, _agent, link, ours) = common::linked(Transport::Quic).await;
    node.tunnel.announce_peer(link, 0, names(&["shop"]), &[]);
    node.tunnel.announce_peer(99, 0, names(&["shop"]), &[]);
    node.tunnel.admit_peer(link);
    node.tunnel.admit_peer(ours + 99);
    let nobody = within(node.tunnel.open("shop", visitor())).await;
    assert_eq!(nobody.unwrap_err(), OpenError::NoAgent);
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_closed_with_the_code_that_says_so() {
    let ca = Ca::new("ca");
    let mut node = Node::new(&ca, Transport::Quic);
    let connection = common::raw(node.address, &ca, ALPN_PEER, None).await;
    let quinn::ConnectionError::ApplicationClosed(close) = connection.closed().await else {
        panic!("closed by the node");
    };
    assert_eq!(close.error_code, codes::CERTIFICATE_REFUSED.number.into());
    assert!(node.peer.quiet());
}

#[tokio::test]
async fn until_a_peer_has_accepted_a_stream_what_it_says_decides_where_to_go_on() {
    let mut shop = shop(Transport::Quic, say("near")).await;
    shop.node.tunnel.announce_peer(shop.link.1, 1, vec![], &[]); // the peer by hand comes first
    let (endpoint, address) = common::raw_server_of(&shop.ca.issue(NAME), ALPN_PEER);
    let request = hawse_proto::core::DialRequest {
        address: address.to_string(),
        server_name: NAME.into(),
        alpn: ALPN_PEER.into(),
        identity: Some(shop.ca.issue(NAME)),
        ..Default::default()
    };
    let accept = async { endpoint.accept().await.unwrap().await.unwrap() };
    let (connection, link) = tokio::join!(accept, common::dial(&mut shop.node, request));
    let link = link.unwrap();
    shop.node.tunnel.send(link, &common::frame("hello")).unwrap();
    let _control = connection.accept_bi().await.unwrap();
    shop.node.tunnel.announce_peer(link, 0, names(&["shop"]), &[]);
    let open = async |say: &mut dyn FnMut(&mut quinn::SendStream)| {
        let answer = async {
            let (mut send, recv) = connection.accept_bi().await.unwrap();
            say(&mut send);
            (send, recv)
        };
        within(async {
            tokio::join!(shop.node.tunnel.open("shop", visitor()), answer)
                .0
                .unwrap()
        })
        .await
    };
    for code in [codes::NO_AGENT, codes::OVERLOADED, codes::BAD_FRAME] {
        let mut stream = open(&mut |send| send.reset(code.number.into()).unwrap()).await;
        assert_eq!(
            within(stream.read_u8()).await.unwrap(),
            b'n',
            "the next: {}",
            code.number
        );
    }
    let mut stream = open(&mut |send| send.finish().unwrap()).await;
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'n', "the next");
    // The agent was reached: its word counts, and nobody else is asked.
    let mut stream = open(&mut |send| send.reset(codes::APP_REFUSED.number.into()).unwrap()).await;
    assert!(stream.write_all(b"GET").await.is_err());
    assert_eq!(reset_code(&mut stream).await, Some(codes::APP_REFUSED.number));
    let began = tokio::time::Instant::now();
    let mut stream = open(&mut |_| ()).await; // it says nothing
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'n', "the next");
    assert!(began.elapsed() < OPEN_TIMEOUT, "there was a further way");
}
