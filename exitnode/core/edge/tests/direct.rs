//! URL and Service targets: dialled by the edge itself, on the same path as agents' streams.
#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "tests panic and don't care about the size of a future"
)]

mod support;

use hawse_proto::ir;
use http_body_util::BodyExt;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn fleet(allowed: &[&str]) -> ir::Object {
    ir::Object {
        key: "fleet".into(),
        object: Some(ir::object::Object::Fleet(ir::Fleet {
            certificate_id: "certificate/fleet".into(),
            allowed_cidrs: allowed.iter().map(ToString::to_string).collect(),
            ..ir::Fleet::default()
        })),
    }
}

/// Leads the scene's tunnel to its app by `host`, or to a Service at `addresses`.
fn lead(scene: &Scene, host: &str, addresses: &[&str], protocol: ir::AppProtocol) {
    let direct = ir::UrlTarget {
        scheme: "http".into(),
        host: host.into(),
        port: scene.app_addr().port().into(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
    };
    let tunnel = ir::Tunnel {
        target: Some(ir::tunnel::Target::Direct(direct)),
        app_protocol: protocol.into(),
        ..tunnel("u1", HOST)
    };
    scene.edge.apply(object(tunnel)).unwrap();
}

/// A scene whose tunnel leads to its app by the URL http://127.0.0.1:<port>.
async fn scene<F: Future<Output = ()> + Send + 'static>(app: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Scene {
    let scene = Scene::new(app).await;
    scene.edge.apply(fleet(&["127.0.0.0/8"])).unwrap();
    lead(&scene, "127.0.0.1", &[], ir::AppProtocol::Http1);
    scene
}

const GET: &[u8] = b"GET /a?b HTTP/1.1\r\nhost: shop.t.example\r\n\r\n";

#[tokio::test]
async fn the_app_at_a_url_is_reached_without_any_agent_under_its_own_host() {
    let scene = scene(echo).await;
    scene.dial(Dial::NoAgent);
    let mut visitor = scene.h1().await;
    let url = format!("host: {}\r\n", scene.app_addr());
    for _ in 0..3 {
        visitor.write_all(GET).await.unwrap();
        let reply = read_reply(&mut visitor, false).await;
        let seen = reply.text();
        assert_eq!(reply.status, 200, "{seen}");
        assert!(
            seen.starts_with("GET /a?b HTTP/1.1\r\n") && seen.contains(&url),
            "{seen}"
        );
        assert!(seen.contains("x-forwarded-host: shop.t.example\r\n"), "{seen}");
        assert!(seen.contains("x-forwarded-for: 127.0.0.1\r\n"), "{seen}");
    }
}

#[tokio::test]
async fn the_app_behind_a_service_sees_the_public_host() {
    let scene = scene(echo).await;
    lead(&scene, "web.team-a.svc", &["127.0.0.1"], ir::AppProtocol::Http1);
    let reply = scene.ask(GET).await;
    assert!(reply.text().contains("host: shop.t.example\r\n"), "{}", reply.text());
}

#[tokio::test]
async fn what_is_not_allowed_is_answered_502_and_nothing_is_dialled() {
    let scene = Scene::new(|_| async { panic!("dialled") }).await;
    scene.edge.apply(fleet(&[])).unwrap();
    for (host, addresses) in [
        ("127.0.0.1", &[][..]),
        ("localhost", &[]),
        ("169.254.169.254", &[]),
        ("web", &["127.0.0.1"]),
    ] {
        lead(&scene, host, addresses, ir::AppProtocol::Http1);
        let reply = scene.ask(GET).await;
        assert_eq!(
            (reply.status, &*reply.headers["x-hawse-error"]),
            (502, "HAWSE-1016"),
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_the_visitors() {
    let scene = scene(says(
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/meta-data\r\ncontent-length: 0\r\n\r\n",
    ))
    .await;
    let reply = scene.ask(GET).await;
    assert_eq!(
        (reply.status, &*reply.headers["location"]),
        (302, "http://169.254.169.254/latest/meta-data")
    );
}

#[tokio::test]
async fn whose_fault_it_is_is_told_without_an_agent_to_blame() {
    let closing = scene(|mut stream| async move {
        app_head(&mut stream).await;
    })
    .await;
    assert_eq!(closing.ask(GET).await.headers["x-hawse-error"], "HAWSE-1005");
    let resetting = scene(|mut stream| async move {
        app_head(&mut stream).await;
        #[expect(deprecated, reason = "a reset is what is wanted")]
        stream.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    })
    .await;
    assert_eq!(resetting.ask(GET).await.headers["x-hawse-error"], "HAWSE-1005");
    let gone = scene(echo).await;
    let port = TcpStream::connect(gone.app_addr())
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let direct = ir::UrlTarget {
        scheme: "http".into(),
        host: "127.0.0.1".into(),
        port: port.into(),
        ..ir::UrlTarget::default()
    };
    let target = Some(ir::tunnel::Target::Direct(direct));
    gone.edge
        .apply(object(ir::Tunnel {
            target,
            ..tunnel("u1", HOST)
        }))
        .unwrap();
    assert_eq!(gone.ask(GET).await.headers["x-hawse-error"], "HAWSE-1003");
}

#[tokio::test]
async fn websockets_and_h2c_take_the_same_way() {
    let scene = scene(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n")
            .await;
        let mut buf = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut buf).await {
            let _ = stream.write_all(&buf[..count].to_ascii_uppercase()).await;
        }
    })
    .await;
    let mut visitor = scene.h1().await;
    let ask = b"GET / HTTP/1.1\r\nhost: shop.t.example\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    visitor.write_all(ask).await.unwrap();
    assert!(read_head(&mut visitor).await.unwrap().starts_with("HTTP/1.1 101"));
    visitor.write_all(b"ahoy").await.unwrap();
    let mut buf = [0; 4];
    soon(visitor.read_exact(&mut buf)).await.unwrap();
    assert_eq!(&buf, b"AHOY");

    let scene = self::scene(|stream| async move {
        use hyper_util::rt::{TokioExecutor, TokioIo};
        let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            Ok::<_, std::convert::Infallible>(http::Response::new(format!(
                "{:?} {}",
                request.version(),
                request.uri()
            )))
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    })
    .await;
    lead(&scene, "127.0.0.1", &[], ir::AppProtocol::H2c);
    let answer = soon(
        scene
            .h2()
            .await
            .send_request(request("GET", "/x").body(no_body()).unwrap()),
    )
    .await
    .unwrap();
    let seen = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(seen, format!("HTTP/2.0 http://{}/x", scene.app_addr()));
}
