//! The exit node's side: agents (hawse/1, with a certificate) and enrolments (hawse-enroll/1) over QUIC at a UDP port of its
//! own (quic.rs), and over TCP at the edge's, which hands their handshakes over (tcp.rs); other exit nodes (hawse-peer/1, with
//! a certificate) over QUIC.
//!
//! A connection is admitted by numbers (admission.rs), the same for both, then proves itself, then has its control stream;
//! only then is it a link. What the peer may do is Python's to decide. Made by hawse-core through `Tunnel::listen`.

mod quic;
mod tcp;

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use hawse_proto::codes;
use hawse_proto::core::{LinkUp, Transport};
use quinn::{Endpoint, Incoming};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::StartHandshake;

use crate::admission::{Admission, Phase, Verdict};
use crate::fault::ListenFault;
use crate::hub::{Connected, Server, Tunnel};
use crate::identity::Identity;
use crate::limits::ENROL_LIFETIME;
use crate::transport::Connection;
use crate::{socket, tls};

/// An endpoint that accepts once it is run.
#[derive(Debug)]
pub struct Listening {
    tunnel: Arc<Tunnel>,
    endpoint: Endpoint,
    tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    ticket: u64,
    admission: Arc<Mutex<Admission>>,
}

/// An agent's connection to the edge: its ClientHello was read, and nothing answered.
pub type AgentHandshake = (StartHandshake<TcpStream>, SocketAddr);

impl Tunnel {
    /// Listens on a UDP address; `ticket` comes back in every `LinkUp`. Must be called within the runtime.
    ///
    /// # Errors
    /// The address cannot be bound, or the identity is not usable.
    pub fn listen(
        self: &Arc<Self>,
        ticket: u64,
        address: SocketAddr,
        identity: &Identity,
    ) -> Result<Listening, ListenFault> {
        let tls::ServerConfigs { quic, tcp } = tls::server_configs(identity)?;
        let endpoint = socket::accepting(address, identity.resets.endpoint_config(), quic)
            .map_err(|source| ListenFault::Bind { address, source })?;
        let (tcp, tls) = watch::channel(tcp);
        let server = Server {
            endpoint: endpoint.clone(),
            tcp,
        };
        if !self.add_server(server) {
            endpoint.close(0u32.into(), b"closing");
        }
        Ok(Listening {
            tunnel: self.clone(),
            endpoint,
            tls,
            ticket,
            admission: Arc::default(),
        })
    }
}

impl Listening {
    /// Where it listens: tells the port if it was 0.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Accepts until `Tunnel::close`, then waits for the last link to end. `agents` are those that came to the edge; without
    /// its sender there are none. Not cancel safe: dropping it ends every link at once.
    pub async fn run(self, mut agents: mpsc::Receiver<AgentHandshake>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit_quic(incoming, &mut connections),
                    None => break,
                },
                Some(agent) = agents.recv() => self.admit_tcp(agent, &mut connections),
                Some(_) = connections.join_next() => {}
            }
        }
        drop(agents);
        while connections.join_next().await.is_some() {}
    }

    fn admit_quic(&self, incoming: Incoming, connections: &mut JoinSet<()>) {
        let address = incoming.remote_address().ip();
        // Apart from the match: its arms take the lock again.
        let verdict = lock(&self.admission).decide(address, incoming.remote_address_validated());
        match verdict {
            Verdict::Refuse => incoming.refuse(),
            Verdict::Retry => drop(incoming.retry()), // an error: it has proved itself meanwhile; it comes again
            Verdict::Accept => {
                let place = Place::new(self.admission.clone(), address);
                connections.spawn(quic::welcome(self.host(), incoming, place));
            }
        }
    }

    /// TCP has proved the address.
    fn admit_tcp(&self, (handshake, peer): AgentHandshake, connections: &mut JoinSet<()>) {
        let verdict = lock(&self.admission).decide(peer.ip(), true);
        if verdict == Verdict::Accept {
            let place = Place::new(self.admission.clone(), peer.ip());
            let tls = self.tls.borrow().clone();
            connections.spawn(tcp::welcome(self.host(), (handshake, peer), tls, place));
        }
    }

    fn host(&self) -> Host {
        Host {
            tunnel: self.tunnel.clone(),
            ticket: self.ticket,
        }
    }
}

/// What a listener's connections need.
#[derive(Debug, Clone)]
struct Host {
    tunnel: Arc<Tunnel>,
    ticket: u64,
}

impl Host {
    fn handshake_failed(&self) {
        self.tunnel.handshakes_failed.fetch_add(1, Relaxed);
    }

    /// Runs a connection that has its control stream until it is over. On the heap: it lives long, and what came before
    /// it does not.
    fn run(&self, connected: Connected) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        if connected.up.alpn == tls::ALPN_ENROL {
            Box::pin(self.run_enrolment(connected))
        } else {
            Box::pin(self.tunnel.run(connected))
        }
    }

    async fn run_enrolment(&self, connected: Connected) {
        let connection = connected.connection.clone();
        let deadline = async {
            if timeout(ENROL_LIFETIME, connection.closed()).await.is_err() {
                refuse(&connection, &codes::TOO_MANY_ATTEMPTS);
            }
        };
        tokio::join!(self.tunnel.run(connected), deadline);
    }

    /// What the handshake proved. rustls verified a certificate if there was one; here it is required where it has to be.
    fn identify(&self, proved: Proved<'_>) -> Result<LinkUp, codes::Code> {
        let alpn = std::str::from_utf8(proved.alpn).unwrap_or_default();
        let peer_certificate = match (alpn, proved.leaf) {
            (tls::ALPN_ENROL, _) => Vec::new(),
            (_, Some(leaf)) => leaf.to_vec(),
            (_, None) => return Err(codes::CERTIFICATE_REFUSED),
        };
        Ok(LinkUp {
            ticket: self.ticket,
            alpn: alpn.to_owned(),
            remote: proved.remote.to_string(),
            peer_certificate,
            ca: Vec::new(),
            transport: proved.transport.into(),
        })
    }
}

/// What a handshake tells of the peer.
struct Proved<'a> {
    alpn: &'a [u8],
    leaf: Option<&'a CertificateDer<'static>>,
    remote: SocketAddr,
    transport: Transport,
}

fn refuse(connection: &Connection, code: &codes::Code) {
    connection.close(code.number, code.title);
}

fn lock(admission: &Mutex<Admission>) -> std::sync::MutexGuard<'_, Admission> {
    admission.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's place in the counts; gives it back when dropped.
struct Place {
    admission: Arc<Mutex<Admission>>,
    address: IpAddr,
    phase: Phase,
}

impl Place {
    fn new(admission: Arc<Mutex<Admission>>, address: IpAddr) -> Self {
        lock(&admission).begin(address);
        Self {
            admission,
            address,
            phase: Phase::Handshake,
        }
    }

    /// The handshake is done: takes a place for what it became, if there is room.
    fn enter(&mut self, identified: Result<LinkUp, codes::Code>) -> Result<LinkUp, codes::Code> {
        let up = identified?;
        self.phase = Phase::of(&up.alpn);
        let has_room = lock(&self.admission).promote(self.phase);
        has_room.then_some(up).ok_or(codes::OVERLOADED)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.admission).end(self.address, self.phase);
    }
}
