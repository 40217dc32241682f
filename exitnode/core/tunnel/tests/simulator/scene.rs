//! An exit node as it is, and an agent whose apps echo without a network of their own, over a simulated one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hawse_proto::core::{LinkDown, LinkUp};
use hawse_proto::frames::{Frame, Refused, StreamOpen, frame, stream_open::Kind};
use hawse_proto::stream_open::{self, OpenDecoder};
use prost::Message as _;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::network::{Network, Socket, Weather};
use crate::hub::{Connected, Events, Side, Tunnel};
use crate::identity::Identity;
use crate::link::{Link, Role, run_control};
use crate::pulse;
use crate::testing::Ca;
use crate::tls::{self, ALPN_LINK, Trust};
use crate::transport::{Connection, RecvHalf, SendHalf};

const NAME: &str = "connect.example.test";
const TUNNEL: &str = "shop";

/// How a stream that sent and wants its bytes back ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Whole,
    Broken,
    /// It seemed whole, and was not.
    Short,
}

pub(super) struct Scene {
    network: Arc<Network>,
    ca: Ca,
    node: Endpoint,
    tunnel: Arc<Tunnel>,
    seen: Arc<Seen>,
    agent_seen: Arc<Seen>,
    agent: Mutex<Option<Arc<Socket>>>,
}

/// A link, from both sides; both tasks end with it.
pub(super) struct SimLink {
    id: u64,
    agent: Arc<Link>,
    tasks: JoinSet<()>,
}

/// What one side was told.
#[derive(Debug, Default)]
struct Seen {
    frames: Mutex<Vec<u64>>,
    up: watch::Sender<u64>,
    down: Mutex<Vec<u64>>,
}

impl Events for Seen {
    fn link_up(&self, link: u64, _: LinkUp) {
        self.up.send_replace(link);
    }

    fn frame(&self, _: u64, frame: Bytes, _: OwnedSemaphorePermit) -> bool {
        if let Some(frame::Frame::Refused(refused)) = Frame::decode(frame).unwrap().frame {
            self.frames.lock().unwrap().push(refused.epoch);
        }
        true
    }

    fn link_down(&self, link: u64, _: LinkDown) {
        self.down.lock().unwrap().push(link);
    }
}

fn address(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 7443).into()
}

fn endpoint(socket: Arc<Socket>, server: Option<quinn::ServerConfig>) -> Endpoint {
    let runtime = Arc::new(TokioRuntime);
    Endpoint::new_with_abstract_socket(EndpointConfig::default(), server, socket, runtime).unwrap()
}

impl Scene {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        let (network, ca) = (Network::new(seed, weather), Ca::new("ca"));
        let identity = Identity::parse(ca.issue(NAME)).unwrap();
        let config = tls::server_configs(&identity).unwrap().quic;
        let seen = Arc::<Seen>::default();
        Self {
            node: endpoint(network.socket(address(1)), Some(config)),
            tunnel: Tunnel::new(seen.clone()),
            network,
            ca,
            seen,
            agent_seen: Arc::default(),
            agent: Mutex::default(),
        }
    }

    pub(super) fn swallow(&self, everything: bool) {
        self.network.swallow(everything);
    }

    pub(super) fn move_agent(&self) {
        self.agent.lock().unwrap().as_ref().unwrap().move_to(address(77));
    }

    /// The weather stays, the path is good.
    pub(super) fn clear_up(&self) {
        self.swallow(false);
        self.seen.frames.lock().unwrap().clear();
        self.agent_seen.frames.lock().unwrap().clear();
    }

    /// Dials until it works: a handshake may be lost as a whole.
    pub(super) async fn link(&self) -> SimLink {
        loop {
            if let Ok(Some(link)) = timeout(Duration::from_secs(10), self.dial()).await {
                return link;
            }
        }
    }

    async fn dial(&self) -> Option<SimLink> {
        let trust = Trust::Identity(Identity::parse(self.ca.issue("agent")).unwrap());
        let config = tls::quic_client_config(&trust, ALPN_LINK).unwrap();
        let socket = self.network.socket(address(2));
        *self.agent.lock().unwrap() = Some(socket.clone());
        let client = endpoint(socket, None);
        let connecting = client.connect_with(config, address(1), NAME).unwrap();
        let (accepted, dialled) = tokio::join!(async { self.node.accept().await?.await.ok() }, connecting);
        let (accepted, dialled) = (accepted?, dialled.ok()?);
        let (send, recv) = dialled.open_bi().await.ok()?;
        let mut control = (SendHalf::Quic(send), RecvHalf::Quic(recv));
        let agent = Link::new(1, Role::Agent, Connection::Quic(dialled));
        agent.send(&frame(0)).unwrap();
        let mut tasks = JoinSet::new();
        let (link, seen) = (agent.clone(), self.agent_seen.clone());
        tasks.spawn(async move {
            let _endpoint = client;
            let watched = async {
                tokio::select! {
                    () = pulse::listen(&link) => {}
                    _ = link.connection.closed() => {}
                }
            };
            tokio::join!(run_control(&link, &mut control, &*seen), serve(&link), watched);
            seen.link_down(1, LinkDown::default());
        });
        let connection = Connection::Quic(accepted);
        let control = connection.accept().await?;
        let up = LinkUp {
            alpn: ALPN_LINK.to_owned(),
            ..LinkUp::default()
        };
        let (tunnel, side) = (self.tunnel.clone(), Side::Accepted);
        self.seen.up.send_replace(0);
        tasks.spawn(async move {
            tunnel
                .run(Connected {
                    connection,
                    control,
                    up,
                    side,
                })
                .await;
        });
        let id = *self.seen.up.subscribe().wait_for(|link| *link != 0).await.ok()?;
        self.tunnel.bind_link(id, vec![TUNNEL.to_owned()]);
        Some(SimLink { id, agent, tasks })
    }

    /// Streams that begin at their times and want their bytes back.
    pub(super) async fn streams(&self, _: &SimLink, streams: &[(Duration, usize)]) -> Vec<Outcome> {
        let mut running = JoinSet::new();
        for (after, size) in streams.iter().copied() {
            let tunnel = self.tunnel.clone();
            running.spawn(async move {
                sleep(after).await;
                echoed(&tunnel, size).await
            });
        }
        running.join_all().await
    }

    /// Frames 1 to `count` both ways; both queues have room for all of them.
    pub(super) async fn frames(&self, link: &SimLink, count: u64) {
        for number in 1..=count {
            self.tunnel.send(link.id, &frame(number)).unwrap();
            link.agent.send(&frame(number)).unwrap();
            sleep(Duration::from_millis(25)).await;
        }
    }

    /// Frames that came, on either side.
    pub(super) fn received(&self) -> [Vec<u64>; 2] {
        [&self.seen, &self.agent_seen].map(|seen| {
            let frames = seen.frames.lock().unwrap();
            frames.iter().copied().filter(|number| *number > 0).collect()
        })
    }

    pub(super) fn is_down(&self, link: &SimLink) -> bool {
        self.seen.down.lock().unwrap().contains(&link.id)
    }

    /// Waits until both sides have left the link; when that was.
    pub(super) async fn both_left(&self, link: &mut SimLink) -> Option<Instant> {
        let ended = async { while link.tasks.join_next().await.is_some() {} };
        timeout(Duration::from_secs(60), ended).await.ok()?;
        self.is_down(link).then(Instant::now)
    }
}

pub(super) fn is_prefix(numbers: &[u64]) -> bool {
    numbers.iter().zip(1..).all(|(number, expected)| *number == expected)
}

fn frame(number: u64) -> Vec<u8> {
    let refused = Refused {
        message: "x".repeat(number as usize * 20),
        epoch: number,
        ..Refused::default()
    };
    let frame = Some(frame::Frame::Refused(refused));
    Frame { frame }.encode_to_vec()
}

async fn echoed(tunnel: &Tunnel, size: usize) -> Outcome {
    let sent: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
    let Ok(stream) = tunnel.open(TUNNEL, "198.51.100.4:50000".parse().unwrap()).await else {
        return Outcome::Broken;
    };
    let (mut read, mut write) = tokio::io::split(stream);
    let mut received = Vec::new();
    let send = async {
        write.write_all(&sent).await?;
        write.shutdown().await
    };
    match tokio::join!(send, read.read_to_end(&mut received)) {
        (Ok(()), Ok(_)) if received == sent => Outcome::Whole,
        (Ok(()), Ok(_)) => Outcome::Short,
        _ => Outcome::Broken,
    }
}

/// The agent's streams: probes are answered as agent.rs does, everything else is echoed.
async fn serve(link: &Link) {
    let mut streams = JoinSet::new();
    while let Some((send, recv)) = link.connection.accept().await {
        streams.spawn(async move {
            let _ = echo(send, recv).await;
        });
    }
}

async fn echo(mut send: SendHalf, mut recv: RecvHalf) -> Option<()> {
    let (mut decoder, mut open) = (OpenDecoder::default(), None::<StreamOpen>);
    while let Some(mut bytes) = recv.read(64 * 1024).await.ok()? {
        if open.is_none() {
            open = stream_open::next(&mut decoder, &mut bytes).ok()?;
        }
        if open.as_ref().is_some_and(|open| open.kind() == Kind::Tcp) && !bytes.is_empty() {
            send.write(bytes).await.ok()?;
        }
    }
    send.finish();
    Some(())
}
