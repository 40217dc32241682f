//! What a visitor is told when a hop fails: the code, the page, and that a cut answer is never taken for a whole one.
#![allow(
    clippy::too_many_lines,
    clippy::large_futures,
    reason = "tests are tables and don't care about the size of a future"
)]

mod support;

use hawse_proto::{core::EdgeOptions, ir};
use http_body_util::BodyExt;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nhost: shop.t.example\r\n\r\n";

#[tokio::test]
async fn every_failing_hop_has_its_code() {
    let unset = None::<&'static [u8]>;
    for (name, dial, app, status, code, says_so) in [
        ("no agent", Dial::NoAgent, unset, 503, "HAWSE-1002", "14 min"),
        (
            "configuration too old",
            Dial::TooOld,
            unset,
            503,
            "HAWSE-1017",
            "since noon",
        ),
        (
            "app refused",
            Dial::Fails(0, 1003),
            unset,
            502,
            "HAWSE-1003",
            "Is it running?",
        ),
        ("app closed", Dial::App, Some(b"".as_slice()), 502, "HAWSE-1005", ""),
        (
            "app closed in its head",
            Dial::App,
            Some(b"HTTP/1.1 200 OK\r\nconte"),
            502,
            "HAWSE-1005",
            "",
        ),
        (
            "link lost while dialling",
            Dial::LinkLost,
            unset,
            502,
            "HAWSE-1013",
            "timed out",
        ),
        ("link lost after it", Dial::Fails(0, 0), unset, 502, "HAWSE-1013", ""),
        (
            "agent drains",
            Dial::Fails(0, 2015),
            unset,
            502,
            "HAWSE-1013",
            "HAWSE-2015",
        ),
        (
            "not HTTP",
            Dial::App,
            Some(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            502,
            "HAWSE-1014",
            "",
        ),
        (
            "unasked upgrade",
            Dial::App,
            Some(b"HTTP/1.1 101 X\r\nupgrade: y\r\nconnection: upgrade\r\n\r\n"),
            502,
            "HAWSE-1014",
            "",
        ),
    ] {
        let scene = match app {
            Some(bytes) => Scene::new(says(bytes)).await,
            None => Scene::new(echo).await,
        };
        scene.dial(dial);
        let reply = scene.ask(GET).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{name}: {}", reply.text());
        assert!(reply.text().contains(says_so), "{name}: {}", reply.text());
        assert_eq!(reply.headers.contains_key("retry-after"), status == 503, "{name}");
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert_eq!(scene.counters().errors.get(code), Some(&1), "{name}");
    }
}

#[tokio::test]
async fn an_h2c_app_that_refuses_has_its_code() {
    let scene = Scene::with(
        EdgeOptions::default(),
        ir::Tunnel {
            app_protocol: ir::AppProtocol::H2c.into(),
            ..tunnel("u1", HOST)
        },
        echo,
    )
    .await;
    scene.dial(Dial::Fails(0, 1003));
    for _ in 0..2 {
        let reply = scene.ask(GET).await;
        assert_eq!((reply.status, reply.code()), (502, "HAWSE-1003"), "{}", reply.text());
    }
}

#[tokio::test]
async fn hosts_without_a_tunnel_closed_tunnels_and_foreign_hosts() {
    let scene = Scene::new(echo).await;
    let closed = Some(ir::Closed {
        code: "HAWSE-1008".into(),
        message: "Suspended by its owner.".into(),
    });
    scene
        .edge
        .apply(object(ir::Tunnel {
            closed,
            ..tunnel("u2", OTHER)
        }))
        .unwrap();
    for (host, status, code) in [
        ("nobody.t.example", 404, "HAWSE-1001"),
        (OTHER, 503, "HAWSE-1008"),
        ("shop.u.example", 421, "HAWSE-1012"),
        ("10.0.0.1", 421, "HAWSE-1012"),
    ] {
        let reply = scene
            .ask(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes())
            .await;
        assert_eq!((reply.status, reply.code()), (status, code), "{host}");
        assert_eq!(reply.headers["content-type"], "application/problem+json");
    }
    assert_eq!(scene.snapshot().unknown_host, 1);
    scene.edge.remove("tunnel/u1");
    assert_eq!(scene.ask(GET).await.code(), "HAWSE-1001");
}

#[tokio::test]
async fn a_browser_gets_the_page_of_the_exit_node() {
    let page = "<h1>{host}</h1>{request_id} {detail}";
    let options = EdgeOptions {
        pages: [("HAWSE-1001".to_owned(), page.into())].into(),
        ..EdgeOptions::default()
    };
    let scene = Scene::with(options, tunnel("u1", HOST), echo).await;
    let reply = scene
        .ask(b"GET / HTTP/1.1\r\nhost: x.t.example\r\naccept: text/html\r\n\r\n")
        .await;
    assert_eq!(
        (reply.status, reply.headers["content-type"].as_str()),
        (404, "text/html; charset=utf-8")
    );
    assert!(reply.text().starts_with("<h1>x.t.example</h1>"), "{}", reply.text());
    assert!(reply.text().contains(&reply.headers["x-hawse-request-id"]));
}

#[tokio::test]
async fn an_app_that_does_not_answer_in_time_is_named() {
    let timeouts = Some(ir::Timeouts {
        request_ms: 150,
        idle_ms: 0,
    });
    let scene = Scene::with(
        EdgeOptions::default(),
        ir::Tunnel {
            timeouts,
            ..tunnel("u1", HOST)
        },
        |mut stream| async move {
            // Stays open: only the edge ends it.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        },
    )
    .await;
    let reply = scene.ask(GET).await;
    assert_eq!((reply.status, reply.code()), (504, "HAWSE-1004"));
    assert!(reply.text().contains("150ms"), "{}", reply.text());
}

#[tokio::test]
async fn an_answer_cut_by_the_app_is_broken_for_the_visitor() {
    for (name, dial, answer, code) in [
        (
            "length",
            Dial::App,
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".as_slice(),
            "HAWSE-1005",
        ),
        (
            "chunked",
            Dial::App,
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HAWSE-1005",
        ),
        (
            "link",
            Dial::Fails(48, 0),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HAWSE-1013",
        ),
        // Ended by its close alone: a lost link must not look like the end.
        (
            "until close",
            Dial::Fails(35, 0),
            b"HTTP/1.1 200 OK\r\nx-app: 1\r\n\r\nhalf of it",
            "HAWSE-1013",
        ),
    ] {
        let scene = Scene::new(says(answer)).await;
        scene.dial(dial);
        let reply = scene.ask(GET).await;
        assert_eq!((reply.status, reply.whole), (200, false), "{name}: {reply:?}");
        assert_eq!(scene.counters().errors.get(code), Some(&1), "{name}");

        let mut visitor = scene.h2().await;
        let answer = soon(visitor.send_request(request("GET", "/").body(no_body()).unwrap()))
            .await
            .unwrap();
        assert!(soon(answer.into_body().collect()).await.is_err(), "{name} over HTTP/2");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_whole() {
    let scene = Scene::new(says(b"HTTP/1.0 200 OK\r\n\r\nall of it")).await;
    let reply = scene.ask(GET).await;
    assert_eq!(
        (reply.status, reply.whole, reply.text().as_str()),
        (200, true, "all of it")
    );
}

#[tokio::test]
async fn a_body_for_head_is_not_taken_for_the_next_answer() {
    // The body that HEAD must not have comes late: it would be read as the answer to what is sent next.
    let scene = Scene::new(|mut stream: TcpStream| async move {
        let mut late = &b""[..];
        while let Some(head) = app_head(&mut stream).await {
            stream.write_all(late).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
                .await
                .unwrap();
            if head.starts_with("HEAD") {
                late = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned";
            } else {
                stream.write_all(b"mine").await.unwrap();
            }
        }
    })
    .await;
    let mut visitor = scene.h1().await;
    for _ in 0..3 {
        visitor
            .write_all(b"HEAD / HTTP/1.1\r\nhost: shop.t.example\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_reply(&mut visitor, true).await.status, 200);
        visitor.write_all(GET).await.unwrap();
        let reply = read_reply(&mut visitor, false).await;
        assert_eq!((reply.status, reply.body.as_slice()), (200, &b"mine"[..]));
    }
}
