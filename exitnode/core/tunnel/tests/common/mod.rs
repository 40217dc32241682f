//! Both ends of a link in one test: peers that remember what they saw, raw clients that break rules, apps of a few lines.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests: shared by several binaries, and a failing unwrap is a failing test"
)]

mod ca;
pub mod shop;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawse_proto::core::{DialRequest, Identity as Message, LinkDown, LinkUp, Transport, Upstream};
use hawse_proto::frames::{Frame, Refused, frame::Frame as Kind};
use hawse_tunnel::{ALPN_LINK, ALPN_PEER, AgentHandshake, AppStream, Dial, DialFault, Events, Identity, Tunnel};
use prost::Message as _;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use ca::Ca;

/// What the exit nodes of these tests are called.
pub const NAME: &str = "connect.tunnels.example.test";
pub const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub enum Seen {
    Up(u64, LinkUp),
    Frame(u64, Bytes, OwnedSemaphorePermit),
    Down(u64, LinkDown),
}

struct Channel(mpsc::Sender<Seen>);

impl Events for Channel {
    fn link_up(&self, link: u64, up: LinkUp) {
        self.0.try_send(Seen::Up(link, up)).unwrap();
    }
    fn frame(&self, link: u64, frame: Bytes, credit: OwnedSemaphorePermit) -> bool {
        self.0.try_send(Seen::Frame(link, frame, credit)).is_ok()
    }
    fn link_down(&self, link: u64, down: LinkDown) {
        let _ = self.0.try_send(Seen::Down(link, down)); // at the end of a test nobody listens any more
    }
}

/// One side.
pub struct Peer {
    /// What it dials over, and where `listen` says that it listens.
    pub over: Transport,
    pub tunnel: Arc<Tunnel>,
    pub tasks: JoinSet<()>,
    pub keep_credits: bool,
    seen: mpsc::Receiver<Seen>,
    ups: HashMap<u64, LinkUp>,
}

impl Peer {
    pub fn new() -> Self {
        Self::over(Transport::Quic)
    }

    pub fn over(over: Transport) -> Self {
        let (sender, seen) = mpsc::channel(1024);
        let tunnel = Tunnel::new(Arc::new(Channel(sender)));
        Self {
            over,
            tunnel,
            tasks: JoinSet::new(),
            keep_credits: false,
            seen,
            ups: HashMap::new(),
        }
    }

    /// Listens for agents, with ticket 1.
    pub fn listen(&mut self, identity: &Message) -> SocketAddr {
        let (udp, tcp) = self.listen_both(identity);
        if self.over == Transport::Tcp { tcp } else { udp }
    }

    /// The same: its addresses over UDP and TCP.
    pub fn listen_both(&mut self, identity: &Message) -> (SocketAddr, SocketAddr) {
        let identity = Identity::parse(identity.clone()).unwrap();
        let listening = self
            .tunnel
            .listen(1, "127.0.0.1:0".parse().unwrap(), &identity)
            .unwrap();
        let udp = listening.local_addr().unwrap();
        let (tcp, agents) = agents_over_tcp(&mut self.tasks);
        self.tasks.spawn(listening.run(agents));
        (udp, tcp)
    }

    pub fn rotate(&self, identity: &Message) {
        self.tunnel.rotate(&Identity::parse(identity.clone()).unwrap()).unwrap();
    }

    pub async fn next(&mut self) -> Option<Seen> {
        timeout(LIMIT, self.seen.recv())
            .await
            .expect("an event within the time limit")
    }

    pub async fn link_up(&mut self) -> (u64, LinkUp) {
        match self.next().await {
            Some(Seen::Up(link, up)) => (link, up),
            other => panic!("link_up expected, not {other:?}"),
        }
    }

    pub async fn frame(&mut self) -> (u64, Bytes) {
        match self.next().await {
            Some(Seen::Frame(link, frame, _credit)) => (link, frame),
            other => panic!("a frame expected, not {other:?}"),
        }
    }

    pub async fn link_down(&mut self, link: u64) -> LinkDown {
        self.link_down_within(link, LIMIT).await
    }

    pub async fn link_down_within(&mut self, link: u64, limit: Duration) -> LinkDown {
        let down = async {
            loop {
                match self.seen.recv().await {
                    Some(Seen::Down(id, down)) if id == link => return down,
                    Some(_) => {}
                    None => panic!("no link_down of {link}"),
                }
            }
        };
        timeout(limit, down).await.expect("link_down within the time limit")
    }

    /// The one that it dialled.
    pub fn only_link(&self) -> (u64, &LinkUp) {
        let (link, up) = self.ups.iter().next().unwrap();
        (*link, up)
    }

    /// What `dial` reported.
    pub fn up(&self, link: u64) -> &LinkUp {
        &self.ups[&link]
    }

    /// Nothing happened that nobody asked for.
    pub fn quiet(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }

    /// Frames in the queue that were not taken, their credits kept.
    pub fn waiting_frames(&self) -> usize {
        self.seen.len()
    }

    /// Every task is over.
    pub async fn ended(&mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        timeout(LIMIT, all).await.expect("the tasks end");
    }
}

/// What the edge does with agents; it ends when nobody takes them any more.
fn agents_over_tcp(tasks: &mut JoinSet<()>) -> (SocketAddr, mpsc::Receiver<AgentHandshake>) {
    let (sender, agents) = mpsc::channel(16);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tasks.spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let (stream, peer) = accepted.unwrap();
            let hello = tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
            if let Ok(start) = hello.await {
                let _ = sender.send((start, peer)).await;
            }
        }
    });
    (address, agents)
}

/// Dials and waits until the link is reported.
pub async fn dial(agent: &mut Peer, request: DialRequest) -> Result<u64, DialFault> {
    let request = DialRequest {
        transport: agent.over.into(),
        ..request
    };
    let dialed = agent.tunnel.dial(9, Dial::parse(request)?).await?;
    agent.tasks.spawn(dialed.run());
    let (link, up) = agent.link_up().await;
    assert_eq!((up.ticket, up.transport()), (9, agent.over));
    agent.ups.insert(link, up);
    Ok(link)
}

/// A frame with this text in it.
pub fn frame(text: &str) -> Bytes {
    let refused = Refused {
        message: text.into(),
        ..Refused::default()
    };
    Frame {
        frame: Some(Kind::Refused(refused)),
    }
    .encode_to_vec()
    .into()
}

/// A node and an agent with one link between them: (node, agent, the node's number, the agent's number).
pub async fn linked(over: Transport) -> (Peer, Peer, u64, u64) {
    let (ca, mut node, mut agent) = (Ca::new("ca"), Peer::over(over), Peer::over(over));
    let address = node.listen(&ca.issue(NAME));
    let (theirs, ours) = join(&mut node, &mut agent, address, &ca).await;
    (node, agent, theirs, ours)
}

/// One more link of `agent`.
pub async fn join(node: &mut Peer, agent: &mut Peer, address: SocketAddr, ca: &Ca) -> (u64, u64) {
    let request = DialRequest {
        address: address.to_string(),
        server_name: NAME.into(),
        alpn: ALPN_LINK.into(),
        identity: Some(ca.issue("agent")),
        ..DialRequest::default()
    };
    let ours = dial(agent, request).await.unwrap();
    agent.tunnel.send(ours, &frame("hello")).unwrap();
    let (theirs, _) = node.link_up().await;
    node.frame().await;
    (theirs, ours)
}

/// A link of `node` to another exit node that admits it: (the number there, the number at `node`).
pub async fn peer(node: &mut Peer, other: &mut Peer, address: SocketAddr, ca: &Ca) -> (u64, u64) {
    let request = DialRequest {
        address: address.to_string(),
        server_name: NAME.into(),
        alpn: ALPN_PEER.into(),
        identity: Some(ca.issue(NAME)),
        ..DialRequest::default()
    };
    let ours = dial(node, request).await.unwrap();
    node.tunnel.send(ours, &frame("hello")).unwrap();
    let (theirs, _) = other.link_up().await;
    other.frame().await;
    other.tunnel.admit_peer(theirs);
    (theirs, ours)
}

/// A bare QUIC client that keeps none of our rules.
pub async fn raw(address: SocketAddr, ca: &Ca, alpn: &str, identity: Option<&Message>) -> quinn::Connection {
    raw_with(address, ca.der.clone(), alpn, identity).await
}

pub async fn raw_with(address: SocketAddr, ca: Vec<u8>, alpn: &str, identity: Option<&Message>) -> quinn::Connection {
    let config = raw_config(ca, alpn, identity);
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.connect_with(config, address, NAME).unwrap().await.unwrap()
}

/// Of a client that keeps tickets and would send early.
pub fn raw_config(ca: Vec<u8>, alpn: &str, identity: Option<&Message>) -> quinn::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut tls = match identity {
        Some(identity) => builder
            .with_client_auth_cert(
                identity.chain.iter().map(|der| der.clone().into()).collect(),
                PrivatePkcs8KeyDer::from(identity.key.clone()).into(),
            )
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.into()];
    tls.enable_early_data = true;
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

/// An app: what it does with each connection.
pub async fn app<F, Fut>(tasks: &mut JoinSet<()>, serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            connections.spawn(serve(connection));
        }
    });
    address
}

/// Sends back what comes, then its end.
pub async fn echo(mut connection: TcpStream) {
    let (mut read, mut write) = connection.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
    let _ = write.shutdown().await;
}

/// Answers only once the request has ended: what a cut half-close breaks.
pub async fn answer_after_the_end(mut connection: TcpStream) {
    let mut request = Vec::new();
    connection.read_to_end(&mut request).await.unwrap();
    connection
        .write_all(format!("got {} bytes", request.len()).as_bytes())
        .await
        .unwrap();
}

pub fn upstream(uid: &str, app: SocketAddr) -> Upstream {
    Upstream {
        tunnel_uid: uid.into(),
        host: app.ip().to_string(),
        port: app.port().into(),
    }
}

pub fn visitor() -> SocketAddr {
    "198.51.100.4:50000".parse().unwrap()
}

/// A bare QUIC server that asks for no client certificate.
pub fn raw_server(identity: &Message) -> (quinn::Endpoint, SocketAddr) {
    raw_server_of(identity, ALPN_LINK)
}

pub fn raw_server_of(identity: &Message, alpn: &str) -> (quinn::Endpoint, SocketAddr) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            identity.chain.iter().map(|der| der.clone().into()).collect(),
            PrivatePkcs8KeyDer::from(identity.key.clone()).into(),
        )
        .unwrap();
    tls.alpn_protocols = vec![alpn.into()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    (endpoint, address)
}

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(LIMIT, work).await.expect("within the time limit")
}

/// Reads until the stream breaks, and says with which code.
pub async fn reset_code(stream: &mut AppStream) -> Option<u32> {
    let error = within(stream.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    stream.reset_code()
}

/// Each of these tests over both transports.
#[macro_export]
macro_rules! over_both {
    ($($name:ident),* $(,)?) => {
        mod over_quic {
            $(#[tokio::test]
            async fn $name() {
                super::$name(hawse_proto::core::Transport::Quic).await;
            })*
        }
        mod over_tcp {
            $(#[tokio::test]
            async fn $name() {
                super::$name(hawse_proto::core::Transport::Tcp).await;
            })*
        }
    };
}

/// Visitors of "shop" come one after the other, and each gets its 1,000 bytes although others have stalled; `ends`: it says that
/// its request is over.
pub async fn others_are_answered(tunnel: &Tunnel, request: &[u8], ends: bool) {
    for _ in 0..20 {
        let mut stream = within(tunnel.open("shop", visitor())).await.unwrap();
        stream.write_all(request).await.unwrap();
        if ends {
            stream.shutdown().await.unwrap();
        }
        let mut answer = Vec::new();
        let answered = timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
        answered.expect("not held up").unwrap();
        assert_eq!(answer.len(), 1000);
    }
}
