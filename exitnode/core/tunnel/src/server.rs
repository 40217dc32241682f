//! The exit node's side: one UDP port that accepts agents (hawse/1, with a certificate) and enrolments (hawse-enroll/1).
//!
//! A connection is admitted by numbers (admission.rs), then proves itself, then opens its control stream; only then is it a
//! link. What the peer may do is Python's to decide. Made by hawse-core through `Tunnel::listen`.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use hawse_proto::codes;
use hawse_proto::core::{LinkUp, Transport};
use quinn::{Connection, Endpoint, Incoming};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::admission::{Admission, Phase, Verdict};
use crate::fault::ListenFault;
use crate::hub::{Connected, Tunnel};
use crate::identity::Identity;
use crate::limits::{CONTROL_TIMEOUT, ENROL_LIFETIME, HANDSHAKE_TIMEOUT};
use crate::{socket, tls};

/// An endpoint that accepts once it is run.
#[derive(Debug)]
pub struct Listening {
    tunnel: Arc<Tunnel>,
    endpoint: Endpoint,
    ticket: u64,
    admission: Arc<Mutex<Admission>>,
}

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
        let config = tls::server_config(identity)?;
        let endpoint =
            socket::endpoint(address, Some(config)).map_err(|source| ListenFault::Bind { address, source })?;
        if !self.add_server(endpoint.clone()) {
            endpoint.close(0u32.into(), b"closing");
        }
        Ok(Listening {
            tunnel: self.clone(),
            endpoint,
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

    /// Accepts until `Tunnel::close`, then waits for the last link to end. Not cancel safe: dropping it ends every link at once.
    pub async fn run(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming, &mut connections),
                    None => break,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        while connections.join_next().await.is_some() {}
    }

    fn admit(&self, incoming: Incoming, connections: &mut JoinSet<()>) {
        let address = incoming.remote_address().ip();
        // Apart from the match: its arms take the lock again.
        let verdict = lock(&self.admission).decide(address, incoming.remote_address_validated());
        match verdict {
            Verdict::Refuse => incoming.refuse(),
            Verdict::Retry => drop(incoming.retry()), // an error: it has proved itself meanwhile; it comes again
            Verdict::Accept => {
                let place = Place::new(self.admission.clone(), address);
                connections.spawn(welcome(self.tunnel.clone(), self.ticket, incoming, place));
            }
        }
    }
}

/// From the first packet to the end of the link.
async fn welcome(tunnel: Arc<Tunnel>, ticket: u64, incoming: Incoming, mut place: Place) {
    let Some(connection) = handshake(incoming).await else {
        tunnel.handshakes_failed.fetch_add(1, Relaxed);
        return;
    };
    let up = match identify(ticket, &connection) {
        Ok(up) => up,
        Err(refusal) => return refuse(&connection, &refusal),
    };
    let enrols = up.alpn == tls::ALPN_ENROL;
    if !place.promote(if enrols { Phase::Enrolment } else { Phase::Link }) {
        return refuse(&connection, &codes::OVERLOADED);
    }
    let Ok(Ok(control)) = timeout(CONTROL_TIMEOUT, connection.accept_bi()).await else {
        return refuse(&connection, &codes::BAD_FRAME);
    };
    let link = tunnel.run(Connected {
        connection: connection.clone(),
        control,
        up,
        endpoint: None,
    });
    if !enrols {
        return link.await;
    }
    let deadline = async {
        tokio::time::sleep(ENROL_LIFETIME).await;
        refuse(&connection, &codes::TOO_MANY_ATTEMPTS);
    };
    tokio::join!(link, async {
        tokio::select! {
            () = deadline => {}
            _ = connection.closed() => {}
        }
    });
}

async fn handshake(incoming: Incoming) -> Option<Connection> {
    let connecting = incoming.accept().ok()?;
    timeout(HANDSHAKE_TIMEOUT, connecting).await.ok()?.ok()
}

/// What the handshake proved. rustls verified a certificate if there was one; here it is required where it has to be.
fn identify(ticket: u64, connection: &Connection) -> Result<LinkUp, codes::Code> {
    let data = connection
        .handshake_data()
        .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
    let alpn = data
        .and_then(|data| data.protocol)
        .and_then(|alpn| String::from_utf8(alpn).ok())
        .unwrap_or_default();
    let peer_certificate = match peer_chain(connection).first() {
        Some(leaf) if alpn == tls::ALPN_LINK => leaf.to_vec(),
        None if alpn == tls::ALPN_LINK => return Err(codes::CERTIFICATE_REFUSED),
        _ => Vec::new(),
    };
    Ok(LinkUp {
        ticket,
        alpn,
        remote: connection.remote_address().to_string(),
        peer_certificate,
        ca: Vec::new(),
        transport: Transport::Quic.into(),
    })
}

/// The peer's certificates, leaf first; empty if it showed none.
pub(crate) fn peer_chain(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection
        .peer_identity()
        .and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    identity.map(|chain| *chain).unwrap_or_default()
}

fn refuse(connection: &Connection, code: &codes::Code) {
    connection.close(code.number.into(), code.title.as_bytes());
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

    fn promote(&mut self, to: Phase) -> bool {
        self.phase = to;
        lock(&self.admission).promote(to)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.admission).end(self.address, self.phase);
    }
}
