//! TCP tunnels on the wire: bytes both ways, ends and resets, who is turned away and how, the standby, the end of an exit node.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::large_futures,
    clippy::disallowed_methods,
    reason = "tests panic and don't care about the size of a future, and end with the runtime that they spawned on"
)]

mod support;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU8, Ordering::Relaxed},
    time::Duration,
};

use hawse_proto::{core::EdgeOptions, ir};
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

const PORT: u16 = 20_017;

fn tcp_tunnel() -> ir::Tunnel {
    ir::Tunnel {
        app_protocol: ir::AppProtocol::Tcp.into(),
        tcp_port: PORT.into(),
        required_features: vec!["tcp/1".into()],
        ..tunnel("u1", "tcp-20017.t.example")
    }
}

/// A scene with a TCP tunnel at an address of its own: all of 127/8 is this machine.
struct Port {
    scene: Scene,
    address: SocketAddr,
}

impl Port {
    async fn new<F>(app: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with(EdgeOptions::default(), tcp_tunnel(), app).await
    }

    async fn with<F>(
        options: EdgeOptions,
        tunnel: ir::Tunnel,
        app: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let at = IpAddr::from([127, 79, 0, NEXT.fetch_add(1, Relaxed)]);
        let scene = Scene::with(options, support::tunnel("u9", HOST), app).await;
        scene.edge.bind_ports_at(at);
        scene.edge.apply(object(tunnel)).unwrap();
        Self {
            scene,
            address: SocketAddr::new(at, PORT),
        }
    }

    async fn visitor(&self) -> TcpStream {
        soon(TcpStream::connect(self.address)).await.unwrap()
    }

    /// What a visitor gets that says this and then ends its side.
    async fn ask(&self, said: &[u8]) -> io::Result<Vec<u8>> {
        let mut visitor = self.visitor().await;
        visitor.write_all(said).await?;
        visitor.shutdown().await?;
        let mut got = Vec::new();
        soon(visitor.read_to_end(&mut got)).await?;
        Ok(got)
    }

    async fn is_reset(&self) -> bool {
        is_reset(&mut self.visitor().await).await
    }

    fn errors(&self) -> Vec<(String, u64)> {
        self.scene.counters().errors.into_iter().collect()
    }

    async fn until_idle(&self) {
        until(|| self.scene.counters().in_flight == 0).await;
    }
}

/// Waits for something that counters say.
async fn until(is_so: impl Fn() -> bool) {
    soon(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The connection ends by a reset, and not by an end that could be taken for an answer.
async fn is_reset(visitor: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let ended = soon(visitor.read_to_end(&mut rest)).await;
    matches!(ended, Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
}

/// Says back what it hears, and ends when that ends.
async fn parrot(mut app: TcpStream) {
    let (mut from, mut to) = app.split();
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_side_ends_on_its_own() {
    let port = Port::new(|mut app: TcpStream| async move {
        let mut got = Vec::new();
        app.write_all(b"220 ready\n").await.unwrap();
        app.read_to_end(&mut got).await.unwrap(); // the visitor has ended its side
        app.write_all(&got).await.unwrap();
    })
    .await;
    let long: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let got = port.ask(&long).await.unwrap();
    assert!(got == [b"220 ready\n", long.as_slice()].concat());
    port.until_idle().await;
    let counters = port.scene.counters();
    assert_eq!(
        (counters.requests, counters.bytes_in, counters.bytes_out),
        (1, 1_000_000, 1_000_010)
    );
    assert!(counters.errors.is_empty(), "{:?}", counters.errors);
    assert_eq!(port.scene.snapshot().connections_total, 1);
}

#[tokio::test]
async fn a_connection_that_meets_no_app_is_reset_at_once_and_counted_by_its_code() {
    let port = Port::new(parrot).await;
    for (dial, code) in [
        (Dial::NoAgent, "HAWSE-1002"),
        (Dial::Fails(0, 1003), "HAWSE-1003"),
        (Dial::LinkLost, "HAWSE-1013"),
    ] {
        port.scene.dial(dial);
        assert!(port.is_reset().await, "{code}");
        assert_eq!(port.scene.counters().errors.get(code), Some(&1));
    }
    port.scene.dial(Dial::App);
    assert_eq!(port.ask(b"now").await.unwrap(), b"now");
}

#[tokio::test]
async fn what_breaks_in_the_middle_is_a_reset_on_the_other_side() {
    let port = Port::new(parrot).await;
    // The agent is lost once the visitor has the first answer.
    port.scene.dial(Dial::Fails(4, 0));
    let mut visitor = port.visitor().await;
    visitor.write_all(b"ping").await.unwrap();
    let mut got = [0; 4];
    soon(visitor.read_exact(&mut got)).await.unwrap();
    assert!(is_reset(&mut visitor).await);
    until(|| port.errors() == [("HAWSE-1013".to_owned(), 1)]).await;
}

#[tokio::test]
async fn a_visitor_that_breaks_off_is_a_broken_connection_for_the_app() {
    let (told, mut ends) = mpsc::channel(1);
    let port = Port::new(move |mut app: TcpStream| {
        let told = told.clone();
        async move {
            let mut got = Vec::new();
            let ended = app.read_to_end(&mut got).await.map_err(|error| error.kind());
            told.send((ended, got)).await.unwrap();
        }
    })
    .await;
    // Dialled by the exit node itself; that an agent's stream is reset when it is dropped is shown in hawse-tunnel.
    allow_this_machine(&port.scene);
    let target = Some(ir::tunnel::Target::Direct(direct(port.scene.app_addr())));
    port.scene
        .edge
        .apply(object(ir::Tunnel { target, ..tcp_tunnel() }))
        .unwrap();
    assert_eq!(port.ask(b"whole").await.unwrap(), b"");
    assert_eq!(soon(ends.recv()).await.unwrap(), (Ok(5), b"whole".to_vec()));
    let mut visitor = port.visitor().await;
    visitor.write_all(b"half a mess").await.unwrap();
    until(|| port.scene.counters().bytes_in == 16).await;
    visitor.set_zero_linger().unwrap();
    drop(visitor);
    let (ended, got) = soon(ends.recv()).await.unwrap();
    assert_eq!(
        (ended, got),
        (Err(io::ErrorKind::ConnectionReset), b"half a mess".to_vec())
    );
    port.until_idle().await;
    assert!(port.errors().is_empty(), "a visitor may leave");
}

#[tokio::test]
async fn a_suspended_tunnel_resets_and_one_that_is_gone_refuses() {
    let port = Port::new(parrot).await;
    let mut running = port.visitor().await;
    running.write_all(b"x").await.unwrap();
    assert_eq!(soon(running.read_u8()).await.unwrap(), b'x');
    let closed = ir::Closed {
        code: "HAWSE-1008".into(),
        message: "Suspended.".into(),
    };
    let suspended = ir::Tunnel {
        closed: Some(closed),
        ..tcp_tunnel()
    };
    port.scene.edge.apply(object(suspended)).unwrap();
    assert!(port.is_reset().await);
    assert_eq!(port.scene.counters().errors.get("HAWSE-1008"), Some(&1));
    port.scene.edge.remove("tunnel/u1");
    let refused = || async { TcpStream::connect(port.address).await.is_err() };
    soon(async { while !refused().await {} }).await;
    port.scene.edge.apply(object(tcp_tunnel())).unwrap();
    assert_eq!(port.ask(b"again").await.unwrap(), b"again", "the port is free at once");
    running.write_all(b"y").await.unwrap();
    assert_eq!(soon(running.read_u8()).await.unwrap(), b'y', "what runs is left alone");
}

#[tokio::test]
async fn caps_count_connections_of_tcp_tunnels_with_all_others() {
    let options = EdgeOptions {
        max_connections_per_address: 2,
        ..EdgeOptions::default()
    };
    let port = Port::with(options, tcp_tunnel(), parrot).await;
    let mut first = port.visitor().await;
    first.write_all(b"x").await.unwrap();
    soon(first.read_u8()).await.unwrap();
    let _second = port.scene.h1().await;
    assert!(port.is_reset().await);
    assert_eq!(port.scene.snapshot().connections_refused, 1);
    drop(first);
    port.until_idle().await;
    assert_eq!(port.ask(b"room").await.unwrap(), b"room");
}

#[tokio::test]
async fn only_so_many_connections_run_and_the_next_waits_for_its_turn() {
    let one = ir::Tunnel {
        max_concurrent: 1,
        ..tcp_tunnel()
    };
    let port = Port::with(EdgeOptions::default(), one, parrot).await;
    let mut first = port.visitor().await;
    first.write_all(b"x").await.unwrap();
    soon(first.read_u8()).await.unwrap();
    let second = port.ask(b"second");
    let turn = async {
        until(|| port.scene.counters().queued == 1).await;
        first.shutdown().await.unwrap();
    };
    let (got, ()) = tokio::join!(second, turn);
    assert_eq!(got.unwrap(), b"second");
}

#[tokio::test]
async fn silence_ends_a_connection_after_the_tunnels_own_limit() {
    let timeouts = Some(ir::Timeouts {
        idle_ms: 50,
        ..ir::Timeouts::default()
    });
    let port = Port::with(
        EdgeOptions::default(),
        ir::Tunnel {
            timeouts,
            ..tcp_tunnel()
        },
        parrot,
    )
    .await;
    assert!(port.is_reset().await);
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_app_and_little_is_kept_between() {
    let (told, mut written) = mpsc::channel(1);
    let port = Port::new(move |mut app: TcpStream| {
        let told = told.clone();
        async move {
            let (mut sum, piece) = (0_usize, vec![0; 64 << 10]);
            while let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(1), app.write_all(&piece)).await {
                sum += piece.len();
                assert!(sum < 64 << 20, "nothing stops the app");
            }
            let _ = told.send(sum).await;
        }
    })
    .await;
    let visitor = port.visitor().await;
    let sum = soon(written.recv()).await.unwrap();
    assert!(sum < 32 << 20, "{sum} bytes, which are the kernel's buffers");
    drop(visitor);
    port.until_idle().await;
}

#[tokio::test]
async fn a_load_balancer_says_whose_connection_it_is() {
    let options = EdgeOptions {
        max_connections_per_address: 1,
        ..EdgeOptions::default()
    };
    let port = Port::with(options, tcp_tunnel(), parrot).await;
    let proxies = ir::Proxies {
        trusted_cidrs: vec!["127.0.0.0/8".into()],
        announce: true,
    };
    let fleet = ir::Fleet {
        certificate_id: "certificate/fleet".into(),
        proxies: Some(proxies),
        ..ir::Fleet::default()
    };
    let fleet = ir::Object {
        key: "fleet".into(),
        object: Some(ir::object::Object::Fleet(fleet)),
    };
    port.scene.edge.apply(fleet).unwrap();
    let header = |last: u8| format!("PROXY TCP4 203.0.113.{last} 10.0.0.1 5000 20017\r\n");
    let mut first = port.visitor().await;
    first.write_all((header(7) + "x").as_bytes()).await.unwrap();
    assert_eq!(soon(first.read_u8()).await.unwrap(), b'x', "the app sees no header");
    let second = port.ask((header(8) + "another").as_bytes()).await.unwrap();
    assert_eq!(second, b"another");
    let mut same = port.visitor().await;
    same.write_all(header(7).as_bytes()).await.unwrap();
    assert!(is_reset(&mut same).await, "the cap is the visitor's");
    let mut silent = port.visitor().await;
    silent.write_all(b"no header at all").await.unwrap();
    assert!(is_reset(&mut silent).await);
    assert_eq!(port.scene.snapshot().handshakes_failed, 1);
}

#[tokio::test]
async fn an_exit_node_that_stops_takes_no_more_and_lets_connections_end_until_the_deadline() {
    let port = Port::new(parrot).await;
    let mut visitors = [port.visitor().await, port.visitor().await];
    for visitor in &mut visitors {
        visitor.write_all(b"x").await.unwrap();
        soon(visitor.read_u8()).await.unwrap();
    }
    let Port { mut scene, address } = port;
    scene.drain(Duration::from_millis(600));
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    let [mut ends, mut stays] = visitors;
    ends.write_all(b"last").await.unwrap();
    ends.shutdown().await.unwrap();
    let mut got = Vec::new();
    soon(ends.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"last");
    assert!(
        is_reset(&mut stays).await,
        "it was cut off at the deadline, and is told so"
    );
    soon(&mut scene.served).await.unwrap();
}

/// Where the standby listens; it greets and says back.
async fn standby_app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut app, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = app.write_all(b"standby:").await;
                parrot(app).await;
            });
        }
    });
    address
}

fn direct(address: SocketAddr) -> ir::UrlTarget {
    ir::UrlTarget {
        scheme: "tcp".into(),
        host: address.ip().to_string(),
        port: address.port().into(),
        addresses: vec![],
    }
}

fn with_standby(address: SocketAddr, interval_ms: u32) -> ir::Tunnel {
    let standby = ir::Standby {
        target: Some(ir::standby::Target::Direct(direct(address))),
        app_protocol: ir::AppProtocol::Tcp.into(),
        health_check: Some(ir::HealthCheck {
            interval_ms,
            timeout_ms: 1000,
            unhealthy_threshold: 1,
            healthy_threshold: 1,
            ..ir::HealthCheck::default()
        }),
        ..ir::Standby::default()
    };
    ir::Tunnel {
        standby: Some(standby),
        ..tcp_tunnel()
    }
}

/// The standby is on this machine, which tenants may not reach unless the fleet says so.
fn allow_this_machine(scene: &Scene) {
    let fleet = ir::Fleet {
        certificate_id: "certificate/fleet".into(),
        allowed_cidrs: vec!["127.0.0.0/8".into()],
        ..ir::Fleet::default()
    };
    let fleet = ir::Object {
        key: "fleet".into(),
        object: Some(ir::object::Object::Fleet(fleet)),
    };
    scene.edge.apply(fleet).unwrap();
}

#[tokio::test]
async fn the_standby_takes_what_the_primary_never_had_and_nothing_else() {
    // Checks far apart: the connections themselves decide here.
    let port = Port::with(
        EdgeOptions::default(),
        with_standby(standby_app().await, 3_600_000),
        parrot,
    )
    .await;
    allow_this_machine(&port.scene);
    assert_eq!(port.ask(b"one").await.unwrap(), b"one");
    // The app refused: the agent says so after the visitor has spoken. Nothing reached the app, so nothing is lost.
    port.scene.dial(Dial::Fails(0, 1003));
    assert_eq!(port.ask(b"two").await.unwrap(), b"standby:two");
    assert_eq!(port.ask(b"three").await.unwrap(), b"standby:three", "it has turned");
    let counted = port.scene.counters().standby.unwrap();
    assert_eq!(
        (counted.active, counted.requests, counted.failovers, counted.repeated),
        (true, 2, 1, 1)
    );
}

#[tokio::test]
async fn a_primary_that_may_have_had_something_is_not_asked_for_twice() {
    let port = Port::with(
        EdgeOptions::default(),
        with_standby(standby_app().await, 3_600_000),
        parrot,
    )
    .await;
    allow_this_machine(&port.scene);
    // The link is lost (no code): the app may have done what it was told.
    port.scene.dial(Dial::Fails(0, 0));
    assert!(port.is_reset().await);
    // It spoke, and then the agent has it that there is no app: a lie that costs this connection alone.
    port.scene.dial(Dial::Fails(1, 1003));
    assert!(port.ask(b"x").await.is_err());
    assert_eq!(port.scene.counters().standby.unwrap().repeated, 0);
}

#[tokio::test]
async fn checks_connect_turn_to_the_standby_and_back() {
    let port = Port::with(EdgeOptions::default(), with_standby(standby_app().await, 100), parrot).await;
    allow_this_machine(&port.scene);
    let standby = || port.scene.counters().standby.unwrap();
    until(|| standby().checks_passed > 0).await;
    assert!(!standby().active);
    port.scene.dial(Dial::Fails(0, 1003));
    until(|| standby().active).await;
    assert_eq!(port.ask(b"x").await.unwrap(), b"standby:x");
    port.scene.dial(Dial::App);
    until(|| !standby().active).await;
    assert_eq!(port.ask(b"y").await.unwrap(), b"y");
}

#[tokio::test]
async fn a_request_for_the_name_of_a_tcp_tunnel_finds_no_tunnel() {
    let port = Port::new(parrot).await;
    let reply = port
        .scene
        .ask(b"GET / HTTP/1.1\r\nhost: tcp-20017.t.example\r\n\r\n")
        .await;
    assert_eq!((reply.status, reply.code()), (404, "HAWSE-1001"));
    assert_eq!(port.scene.opened(), 0);
}
