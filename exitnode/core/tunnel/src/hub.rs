//! What a process knows of all its links, on both sides; the crate's public face.
//!
//! Facts and commands only: whom to dial, whom to admit and who serves what is decided in Python. The lock is held for
//! table look-ups, never over an await. Called by hawse-core.

mod routing;

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hawse_proto::core::{LinkDown, LinkStats, LinkUp, Upstream};
use hawse_proto::frame::FrameError;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout};

use crate::fault::link_down;
use crate::identity::{Identity, IdentityError};
use crate::limits::{AGENTS_RETURN, CLOSE_GRACE, TUNNELS_PER_LINK};
use crate::link::{Link, Role, run_control};
use crate::sessions::{LinkId, Sessions};
use crate::stalls::Relayed;
use crate::transport::{Connection, Stream};
use crate::{agent, pulse, relay, tls};

/// What happens on links, in order for each link. Called on the runtime's thread: must not block.
pub trait Events: Send + Sync + 'static {
    /// A link is ready for frames.
    fn link_up(&self, link: u64, up: LinkUp);
    /// A frame came. A link has `limits::FRAMES_RECEIVED` credits: keep this one until the frame has been taken.
    /// False: there is no room for it at all, and the link is to be closed.
    fn frame(&self, link: u64, frame: Bytes, credit: OwnedSemaphorePermit) -> bool;
    /// A link is gone; nothing of it follows.
    fn link_down(&self, link: u64, down: LinkDown);
}

/// All links of a process.
pub struct Tunnel {
    pub(crate) events: Arc<dyn Events>,
    state: Mutex<State>,
    next_link: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    /// Exit node: until when visitors wait for agents that are on their way back.
    agents_due: OnceLock<Instant>,
    /// A link serves tunnels that it did not serve.
    bound: Notify,
    /// Streams of other exit nodes that stand still.
    pub(crate) relayed: Relayed,
}

#[derive(Default)]
struct State {
    links: HashMap<LinkId, Arc<Link>>,
    sessions: Sessions,
    servers: Vec<Server>,
    /// Endpoints that dialled, one a link.
    clients: HashMap<LinkId, quinn::Endpoint>,
    closed: bool,
}

impl Tunnel {
    /// No links yet.
    #[must_use]
    pub fn new(events: Arc<dyn Events>) -> Arc<Self> {
        Arc::new(Self {
            events,
            state: Mutex::default(),
            next_link: AtomicU64::new(1),
            handshakes_failed: AtomicU64::new(0),
            agents_due: OnceLock::new(),
            bound: Notify::new(),
            relayed: Relayed::default(),
        })
    }

    /// Queues a frame; unknown links are ignored.
    ///
    /// # Errors
    /// The bytes are not a frame.
    pub fn send(&self, link: u64, frame: &[u8]) -> Result<(), FrameError> {
        self.link(link).map_or(Ok(()), |link| link.send(frame))
    }

    /// Closes a link after its queued frames; unknown links are ignored.
    pub fn close_link(&self, link: u64, code: u32, reason: &str) {
        if let Some(link) = self.link(link) {
            link.close(code, reason);
        }
    }

    /// Exit node: which tunnels an agent's link serves from now on; other links are ignored.
    pub fn bind_link(&self, link: u64, tunnel_uids: Vec<String>) {
        let now = Instant::now().into_std();
        let mut state = self.state();
        if let Some(known) = state.links.get(&link).cloned()
            && known.role == Role::ToAgent
            && state.sessions.bind(link, tunnel_uids, now)
        {
            known.leave();
        }
        drop(state);
        self.bound.notify_waiters();
    }

    /// Exit node: a link to another one, so far away, reaches these tunnels too, and those no longer; links that we did not
    /// dial to a peer are ignored.
    pub fn announce_peer(&self, link: u64, distance: u32, add: Vec<String>, remove: &[String]) {
        let mut state = self.state();
        if state.links.get(&link).is_some_and(|link| link.role == Role::ToPeer) {
            state.sessions.peers.announce(link, distance, add, remove);
        }
        drop(state);
        self.bound.notify_waiters();
    }

    /// Exit node: the one that dialled this link is who it should be. Until now it could open no stream to our agents; links
    /// that no peer has dialled are ignored.
    pub fn admit_peer(&self, link: u64) {
        if let Some(link) = self.link(link)
            && link.role == Role::FromPeer
        {
            link.connection.widen();
        }
    }

    /// Agent: where the apps of a link's tunnels listen from now on; unknown links are ignored.
    pub fn attach(&self, link: u64, upstreams: Vec<Upstream>) {
        if let Some(link) = self.link(link) {
            let apps = upstreams.into_iter().take(TUNNELS_PER_LINK).filter_map(|app| {
                let port = u16::try_from(app.port).ok()?;
                Some((app.tunnel_uid, (app.host, port)))
            });
            *link.apps.lock().unwrap_or_else(PoisonError::into_inner) = apps.collect();
        }
    }

    /// Certificate and roots of handshakes from now on.
    ///
    /// # Errors
    /// The identity is not usable; the old one stays.
    pub fn rotate(&self, identity: &Identity) -> Result<(), IdentityError> {
        let tls::ServerConfigs { quic, tcp } = tls::server_configs(identity)?;
        for server in &self.state().servers {
            server.endpoint.set_server_config(Some(quic.clone()));
            server.tcp.send_replace(tcp.clone());
        }
        Ok(())
    }

    /// Memory is short: cuts off what has stood still for longest among the streams of other exit nodes.
    pub fn relieve(&self) {
        self.relayed.requests.relieve();
        self.relayed.answers.relieve();
    }

    /// How long ago a tunnel had a link: zero if it has one.
    pub fn last_seen(&self, tunnel_uid: &str) -> Option<Duration> {
        self.state().sessions.last_seen(tunnel_uid, Instant::now().into_std())
    }

    /// Counters of all links, and handshakes that failed.
    pub fn stats(&self) -> (Vec<LinkStats>, u64) {
        let links: Vec<Arc<Link>> = self.state().links.values().cloned().collect();
        (
            links.iter().map(|link| link.stats()).collect(),
            self.handshakes_failed.load(Relaxed),
        )
    }

    /// Closes every link and endpoint, and waits a moment for the peers to hear of it. Cancel safe.
    pub async fn close(&self, reason: &str) {
        let endpoints: Vec<quinn::Endpoint> = {
            let mut state = self.state();
            state.closed = true;
            let clients: Vec<quinn::Endpoint> = state.clients.values().cloned().collect();
            let servers = state.servers.drain(..).map(|server| server.endpoint);
            servers.chain(clients).collect()
        };
        let links: Vec<Arc<Link>> = self.state().links.values().cloned().collect();
        for link in &links {
            link.abort(0, reason);
        }
        for endpoint in &endpoints {
            endpoint.close(0u32.into(), reason.as_bytes());
        }
        let told = async {
            for endpoint in &endpoints {
                endpoint.wait_idle().await;
            }
            for link in &links {
                link.connection.settled().await;
            }
        };
        let _ = timeout(CLOSE_GRACE, told).await;
    }

    /// Runs a link until it is over: frames, on the agent's side streams, and the two events. Not cancel safe.
    pub(crate) fn run(self: &Arc<Self>, connected: Connected) -> impl Future<Output = ()> + Send + '_ {
        let connection = connected.connection.clone();
        let mut begun = self.begin(connected); // not within the future, which would keep room for it
        async move {
            if let Some((registered, control)) = &mut begun {
                self.drive(registered, control).await;
            }
            drop(begun); // reports that the link is down
            connection.settled().await;
        }
    }

    /// Puts a new link into the tables and reports it; `None`: everything is closing.
    fn begin(&self, connected: Connected) -> Option<(Registered<'_>, Stream)> {
        let Connected {
            connection,
            control,
            up,
            side,
        } = connected;
        let id = self.next_link.fetch_add(1, Relaxed);
        let role = match (up.alpn.as_str(), &side) {
            (tls::ALPN_LINK, Side::Accepted) => Role::ToAgent,
            (tls::ALPN_LINK, Side::Dialled(_)) => Role::Agent,
            (tls::ALPN_PEER, Side::Dialled(_)) => Role::ToPeer,
            (tls::ALPN_PEER, Side::Accepted) => Role::FromPeer,
            _ => Role::Enrolment,
        };
        let link = Link::new(id, role, connection);
        if !self.add(link.clone(), side) {
            link.abort(0, "closing");
            return None;
        }
        let registered = Registered {
            tunnel: self,
            link,
            down: None,
        };
        self.events.link_up(id, up);
        Some((registered, control))
    }

    async fn drive(self: &Arc<Self>, registered: &mut Registered<'_>, control: &mut Stream) {
        let link = &registered.link;
        let streams = async {
            // On the heap: an agent's link at an exit node needs no room for it.
            match link.role {
                Role::Agent => Box::pin(agent::serve_streams(link)).await,
                Role::FromPeer => Box::pin(relay::serve_streams(link, self)).await,
                Role::ToAgent | Role::ToPeer | Role::Enrolment => {}
            }
        };
        let ended = async {
            let end = tokio::select! {
                end = link.connection.closed() => end,
                () = await_death(link) => link.connection.closed().await,
            };
            let mut state = self.state();
            state.sessions.unbind(link.id, Instant::now().into_std());
            link.leave();
            drop(state);
            end
        };
        let ((), (), end) = tokio::join!(run_control(link, control, &*self.events), streams, ended);
        registered.down = Some(link_down(end, link.closed_with()));
    }

    fn add(&self, link: Arc<Link>, side: Side) -> bool {
        let mut state = self.state();
        if state.closed {
            return false;
        }
        if let Side::Dialled(Some(endpoint)) = side {
            state.clients.insert(link.id, endpoint);
        }
        state.links.insert(link.id, link);
        true
    }

    /// Remembers a listener; false if everything is closing already.
    pub(crate) fn add_server(&self, server: Server) -> bool {
        let mut state = self.state();
        if !state.closed {
            state.servers.push(server);
            let _ = self.agents_due.set(Instant::now() + AGENTS_RETURN); // of the first one
        }
        !state.closed
    }

    fn link(&self, id: LinkId) -> Option<Arc<Link>> {
        self.state().links.get(&id).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

/// What a listener has to be told of later.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) tcp: watch::Sender<Arc<rustls::ServerConfig>>,
}

/// A connection that is ready to be a link.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) connection: Connection,
    pub(crate) control: Stream,
    pub(crate) up: LinkUp,
    pub(crate) side: Side,
}

/// Who dialled.
#[derive(Debug)]
pub(crate) enum Side {
    /// The peer.
    Accepted,
    /// We did; over QUIC with an endpoint of its own.
    Dialled(Option<quinn::Endpoint>),
}

/// Resolves when a link turned out to be dead.
async fn await_death(link: &Link) {
    match link.role {
        Role::ToAgent | Role::ToPeer => pulse::probe(link).await,
        Role::Agent | Role::FromPeer => pulse::listen(link).await,
        Role::Enrolment => pending().await,
    }
}

/// A link in the tables. Takes it out and reports it, also when its task panics or is dropped.
struct Registered<'a> {
    tunnel: &'a Tunnel,
    link: Arc<Link>,
    down: Option<LinkDown>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.link.abort(0, "the link's task ended");
        {
            let mut state = self.tunnel.state();
            state.links.remove(&self.link.id);
            state.clients.remove(&self.link.id);
            state.sessions.unbind(self.link.id, Instant::now().into_std());
        }
        let down = self.down.take().unwrap_or_else(|| LinkDown {
            code: 0,
            reason: "the link's task ended unexpectedly".to_owned(),
            by: "us".to_owned(),
        });
        self.tunnel.events.link_down(self.link.id, down);
    }
}
