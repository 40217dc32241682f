//! Visitors at one exit node, the agent of "shop" at another: the scene of backhaul.

use std::net::SocketAddr;
use std::time::Duration;

use hawse_proto::core::Transport;
use hawse_tunnel::AppStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Ca, NAME, Peer, app, join, peer, upstream, visitor, within};

/// An exit node that others can reach.
pub struct Node {
    pub peer: Peer,
    pub address: SocketAddr,
    /// Of agents, over their transport.
    pub agents: SocketAddr,
}

impl Node {
    pub fn new(ca: &Ca, over: Transport) -> Self {
        let mut peer = Peer::over(over);
        let (udp, tcp) = peer.listen_both(&ca.issue(NAME));
        Self {
            peer,
            address: udp,
            agents: if over == Transport::Tcp { tcp } else { udp },
        }
    }

    /// Lets visitors of `node` reach `tunnels` here: the link's numbers here and there.
    pub async fn serves(&mut self, node: &mut Peer, ca: &Ca, distance: u32, tunnels: &[&str]) -> (u64, u64) {
        let (theirs, ours) = peer(node, &mut self.peer, self.address, ca).await;
        node.tunnel.announce_peer(ours, distance, names(tunnels), &[]);
        (theirs, ours)
    }

    /// An agent here serves "shop": the agent, and its link's number here.
    pub async fn shop(&mut self, ca: &Ca, app: SocketAddr) -> (Peer, u64) {
        let mut agent = Peer::over(self.peer.over);
        let (theirs, ours) = join(&mut self.peer, &mut agent, self.agents, ca).await;
        agent.tunnel.attach(ours, vec![upstream("shop", app)]);
        self.peer.tunnel.bind_link(theirs, names(&["shop"]));
        (agent, theirs)
    }

    pub fn streams(&self) -> u64 {
        self.peer.tunnel.stats().0.iter().map(|link| link.streams_total).sum()
    }
}

/// Visitors at `node`, the agent of "shop" at `other`, a link between the two.
pub struct Shop {
    pub ca: Ca,
    pub node: Peer,
    pub other: Node,
    pub agent: Peer,
    /// At `other`.
    pub agent_link: u64,
    /// At `other` and at `node`.
    pub link: (u64, u64),
    pub apps: JoinSet<()>,
}

pub async fn shop<F, Fut>(over: Transport, serve: F) -> Shop
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (ca, mut node, mut apps) = (Ca::new("ca"), Peer::new(), JoinSet::new());
    let app = app(&mut apps, serve).await;
    let mut other = Node::new(&ca, over);
    let (agent, agent_link) = other.shop(&ca, app).await;
    let link = other.serves(&mut node, &ca, 0, &["shop"]).await;
    Shop {
        ca,
        node,
        other,
        agent,
        agent_link,
        link,
        apps,
    }
}

impl Shop {
    pub async fn open(&self) -> AppStream {
        within(self.node.tunnel.open("shop", visitor())).await.unwrap()
    }

    /// A second exit node with an agent of "shop", farther away.
    pub async fn elsewhere(&mut self, word: &'static str) -> (Node, Peer, u64) {
        let mut node = Node::new(&self.ca, Transport::Quic);
        let app = app(&mut self.apps, say(word)).await;
        let (agent, _) = node.shop(&self.ca, app).await;
        let (_, link) = node.serves(&mut self.node, &self.ca, 1, &["shop"]).await;
        (node, agent, link)
    }

    pub async fn ask(&self) -> String {
        let mut answer = String::new();
        within(self.open().await.read_to_string(&mut answer)).await.unwrap();
        answer
    }
}

pub fn names(tunnels: &[&str]) -> Vec<String> {
    tunnels.iter().map(ToString::to_string).collect()
}

pub fn say(word: &'static str) -> impl Fn(TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    move |mut app| {
        Box::pin(async move {
            app.write_all(word.as_bytes()).await.unwrap();
        })
    }
}

/// No stream is left on any of the three processes.
pub async fn nothing_is_open(shop: &Shop) {
    let open = || {
        let all = [&shop.node, &shop.other.peer, &shop.agent].map(|peer| peer.tunnel.stats().0);
        all.iter().flatten().any(|link| link.streams_open > 0)
    };
    let closed = async {
        while open() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    within(closed).await;
}
