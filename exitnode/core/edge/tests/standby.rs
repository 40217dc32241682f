//! The hot standby: what goes to it within a request, what is never sent twice, when it takes over, and when the primary is back.
//!
//! The primary is the scene's app, behind an agent; the standby an app at a URL.
#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    clippy::disallowed_methods,
    reason = "tests panic and don't care about the size of a future, and end with the runtime that they spawned on"
)]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use hawse_proto::{core::StandbyCounters, ir};
use support::*;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

/// How the primary's app treats requests that are no health checks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Mood {
    #[default]
    Answers,
    /// Takes the request and closes the connection.
    Closes,
    /// Takes the request and says nothing.
    Hangs,
    /// Says how long its answer is, sends half of it and closes the connection.
    BreaksOff(usize),
    /// 503, health checks too.
    Unwell,
}

#[derive(Default)]
struct Primary {
    mood: Mutex<Mood>,
    /// Health checks get an answer.
    is_healthy: AtomicBool,
    requests: AtomicUsize,
}

impl Primary {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        while let Some(head) = app_head(&mut stream).await {
            let is_check = head.to_ascii_lowercase().contains("user-agent: hawse-health-check/");
            let mood = *self.mood.lock().unwrap();
            if is_check && mood != Mood::Unwell {
                if !self.is_healthy.load(SeqCst) {
                    std::future::pending::<()>().await;
                }
            } else {
                self.requests.fetch_add(usize::from(!is_check), SeqCst);
                match mood {
                    Mood::Answers => {}
                    Mood::Closes => return,
                    Mood::Hangs => std::future::pending().await,
                    Mood::BreaksOff(length) => {
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                        let _ = stream.write_all((head + &"x".repeat(length / 2)).as_bytes()).await;
                        let _ = stream.shutdown().await;
                        return;
                    }
                    Mood::Unwell => {
                        let _ = stream.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await;
                        continue;
                    }
                }
            }
            if stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nprimary")
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

/// Where the standby's app listens; it answers with what it was asked.
async fn standby_app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    address
}

struct Standing {
    scene: Scene,
    primary: Arc<Primary>,
}

impl Standing {
    async fn new(change: impl FnOnce(&mut ir::Standby)) -> Self {
        Self::at(standby_app().await, change).await
    }

    async fn at(standby: SocketAddr, change: impl FnOnce(&mut ir::Standby)) -> Self {
        let primary = Arc::new(Primary::default());
        primary.is_healthy.store(true, SeqCst);
        let serving = primary.clone();
        let scene = Scene::new(move |stream| serving.clone().serve(stream)).await;
        let fleet = ir::Fleet {
            certificate_id: "certificate/fleet".into(),
            allowed_cidrs: vec!["127.0.0.0/8".into()],
            ..ir::Fleet::default()
        };
        let fleet = Some(ir::object::Object::Fleet(fleet));
        let key = "fleet".into();
        scene.edge.apply(ir::Object { key, object: fleet }).unwrap();
        let mut said = ir::Standby {
            target: Some(ir::standby::Target::Direct(ir::UrlTarget {
                scheme: "http".into(),
                host: standby.ip().to_string(),
                port: standby.port().into(),
                ..ir::UrlTarget::default()
            })),
            // Checks don't interfere unless a test wants them to.
            health_check: Some(ir::HealthCheck {
                interval_ms: 3_600_000,
                timeout_ms: 500,
                unhealthy_threshold: 2,
                healthy_threshold: 2,
                ..ir::HealthCheck::default()
            }),
            failback_ms: 300,
            ..ir::Standby::default()
        };
        change(&mut said);
        scene
            .edge
            .apply(object(ir::Tunnel {
                standby: Some(said),
                ..tunnel("u1", HOST)
            }))
            .unwrap();
        Self { scene, primary }
    }

    async fn ask(&self, request: &str) -> Reply {
        self.scene.ask(request.as_bytes()).await
    }

    fn counted(&self) -> StandbyCounters {
        self.scene.counters().standby.unwrap()
    }

    async fn until(&self, what: &str, holds: impl Fn(&StandbyCounters) -> bool) {
        for _ in 0..1000 {
            if holds(&self.counted()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let counted = self.counted();
        assert!(holds(&counted), "not in time: {what}; {counted:?}");
    }
}

/// Checks ten times a second, as quick as they may be.
fn quick(said: &mut ir::Standby) {
    let check = said.health_check.as_mut().unwrap();
    (check.interval_ms, check.timeout_ms) = (100, 200);
}

const GET: &str = "GET /a HTTP/1.1\r\nhost: shop.t.example\r\n\r\n";
const POST: &str = "POST /a HTTP/1.1\r\nhost: shop.t.example\r\ncontent-length: 5\r\n\r\nhello";
const POST_WITH_KEY: &str =
    "POST /a HTTP/1.1\r\nhost: shop.t.example\r\nidempotency-key: 8f3\r\ncontent-length: 5\r\n\r\nhello";
const PUT: &str = "PUT /a HTTP/1.1\r\nhost: shop.t.example\r\ncontent-length: 5\r\n\r\nhello";

fn is_from_standby(reply: &Reply) -> bool {
    reply.status == 200
        && reply
            .headers
            .get("x-hawse-target")
            .is_some_and(|target| target == "standby")
}

#[tokio::test]
async fn a_healthy_primary_answers_and_says_nothing_of_targets() {
    let it = Standing::new(|_| {}).await;
    let reply = it.ask(GET).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "primary"));
    assert!(!reply.headers.contains_key("x-hawse-target"));
    assert!(!it.counted().active);
}

#[tokio::test]
async fn without_an_agent_every_request_goes_to_the_standby_at_once_because_nothing_was_sent() {
    let none = [GET, POST, POST_WITH_KEY, PUT].map(|request| (request, Dial::NoAgent));
    for (request, dial) in none.into_iter().chain([(POST, Dial::TooOld)]) {
        let it = Standing::new(|_| {}).await;
        it.scene.dial(dial);
        let reply = it.ask(request).await;
        assert!(is_from_standby(&reply), "{request}: {}", reply.status);
        assert!(
            reply.text().ends_with(request.split("\r\n\r\n").last().unwrap()),
            "{}",
            reply.text()
        );
        let counted = it.counted();
        assert_eq!(
            (counted.active, counted.failovers, counted.requests, counted.repeated),
            (true, 1, 1, 1)
        );
        let next = it.ask(request).await;
        assert!(is_from_standby(&next));
        assert_eq!(it.counted().repeated, 1, "the next one does not try the primary");
    }
}

#[tokio::test]
async fn an_app_that_refuses_has_seen_nothing_of_a_post() {
    let it = Standing::new(|_| {}).await;
    it.scene.dial(Dial::Fails(0, 1003));
    assert!(is_from_standby(&it.ask(POST).await));
}

#[tokio::test]
async fn what_may_be_repeated_goes_to_the_standby_when_the_app_took_it_and_did_not_answer() {
    for request in [GET, PUT, POST_WITH_KEY] {
        let it = Standing::new(|_| {}).await;
        it.primary.set(Mood::Closes);
        let reply = it.ask(request).await;
        assert!(is_from_standby(&reply), "{request}: {}", reply.status);
        assert!(
            reply.text().ends_with(request.split("\r\n\r\n").last().unwrap()),
            "{}",
            reply.text()
        );
        assert!(it.primary.requests() >= 1);
    }
}

#[tokio::test]
async fn a_post_without_a_key_is_never_sent_twice() {
    let it = Standing::new(|_| {}).await;
    it.primary.set(Mood::Closes);
    let reply = it.ask(POST).await;
    assert_eq!(reply.status, 502);
    let counted = it.counted();
    assert_eq!((it.primary.requests(), counted.requests, counted.repeated), (1, 0, 0));
    assert!(counted.active, "the next one is the standby's");
    assert!(is_from_standby(&it.ask(POST).await));
    assert_eq!(it.primary.requests(), 1);
}

#[tokio::test]
async fn a_body_that_is_gone_is_not_repeated() {
    let it = Standing::new(|_| {}).await;
    it.primary.set(Mood::Closes);
    let long = "x".repeat(100_000);
    let head = format!(
        "PUT /a HTTP/1.1\r\nhost: shop.t.example\r\ncontent-length: {}\r\n\r\n",
        long.len()
    );
    let reply = it.ask(&(head + &long)).await;
    assert_eq!(reply.status, 502);
    assert_eq!((it.counted().requests, it.counted().repeated), (0, 0));
}

#[tokio::test]
async fn a_short_answer_that_breaks_off_is_asked_for_again_and_a_long_one_is_broken() {
    for (request, length, is_repeated) in [
        (GET, 100, true),
        (PUT, 100, true),
        (POST, 100, false),
        (GET, 100_000, false),
    ] {
        let it = Standing::new(|_| {}).await;
        it.primary.set(Mood::BreaksOff(length));
        let reply = it.ask(request).await;
        assert_eq!(reply.status, 200);
        assert_eq!(is_from_standby(&reply), is_repeated, "{request} {length}");
        assert_eq!(reply.whole, is_repeated, "{request} {length}");
        assert_eq!(it.counted().repeated, u64::from(is_repeated));
        assert_eq!(it.primary.requests(), 1);
    }
}

#[tokio::test]
async fn a_standby_that_is_down_costs_the_primarys_visitors_nothing() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let it = Standing::at(nobody, |_| {}).await;
    it.primary.set(Mood::Closes);
    let both = it.ask(GET).await;
    assert_eq!((both.status, &*both.headers["x-hawse-error"]), (502, "HAWSE-1003"));
    it.primary.set(Mood::Answers);
    assert!(it.counted().active);
    for request in [GET, POST] {
        let reply = it.ask(request).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "primary"), "{request}");
        assert!(!reply.headers.contains_key("x-hawse-target"));
    }
}

#[tokio::test]
async fn checks_turn_to_the_standby_and_back_and_say_so() {
    let it = Standing::new(quick).await;
    let turned = it.scene.edge.clone();
    it.until("checks pass", |counted| counted.checks_passed > 1).await;
    it.primary.set(Mood::Unwell);
    soon(turned.turned()).await;
    let target = it.scene.edge.targets().targets.remove(0);
    assert_eq!((target.tunnel_uid.as_str(), target.standby), ("u1", true));
    assert!(target.reason.contains("503"), "{}", target.reason);
    assert!(is_from_standby(&it.ask(POST).await), "no request had to fail for it");
    assert_eq!(it.primary.requests(), 0);
    it.primary.set(Mood::Answers);
    soon(turned.turned()).await;
    let target = it.scene.edge.targets().targets.remove(0);
    assert!(!target.standby && target.reason.contains("passed"), "{target:?}");
    assert_eq!(it.ask(GET).await.text(), "primary");
    let counted = it.counted();
    assert_eq!((counted.failovers, counted.failbacks, counted.repeated), (1, 1, 0));
}

#[tokio::test]
async fn a_request_that_waits_for_a_primary_that_hangs_goes_to_the_standby() {
    let it = Standing::new(quick).await;
    it.until("checks pass", |counted| counted.checks_passed > 0).await;
    it.primary.set(Mood::Hangs);
    it.primary.is_healthy.store(false, SeqCst);
    let (get, put) = tokio::join!(it.ask(GET), it.ask(PUT));
    assert!(is_from_standby(&get) && is_from_standby(&put));
    assert_eq!(it.counted().repeated, 2);
    assert_eq!(it.primary.requests(), 2);
}

#[tokio::test]
async fn checks_end_with_the_standby_and_begin_with_a_new_one() {
    let it = Standing::new(quick).await;
    it.until("checks pass", |counted| counted.checks_passed > 0).await;
    it.scene.edge.apply(object(tunnel("u1", HOST))).unwrap();
    assert!(it.scene.counters().standby.is_none());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let opened = it.scene.opened();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(it.scene.opened(), opened);
    assert_eq!(it.ask(GET).await.text(), "primary");
    it.scene.edge.remove("tunnel/u1");
    assert!(it.scene.snapshot().tunnels.is_empty());
}

#[tokio::test]
async fn a_websocket_opens_at_the_standby() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        app_head(&mut stream).await;
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\nahoy";
        stream.write_all(switch).await.unwrap();
        std::future::pending::<()>().await;
    });
    let it = Standing::at(address, |_| {}).await;
    it.primary.set(Mood::Closes);
    let mut visitor = it.scene.h1().await;
    let ask = b"GET / HTTP/1.1\r\nhost: shop.t.example\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    visitor.write_all(ask).await.unwrap();
    let head = read_head(&mut visitor).await.unwrap().to_ascii_lowercase();
    assert!(
        head.starts_with("http/1.1 101") && head.contains("x-hawse-target: standby"),
        "{head}"
    );
    let mut said = [0; 4];
    soon(tokio::io::AsyncReadExt::read_exact(&mut visitor, &mut said))
        .await
        .unwrap();
    assert_eq!(&said, b"ahoy");
}
