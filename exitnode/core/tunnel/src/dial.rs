//! The dialling side of a link: an agent reaches an exit node.
//!
//! One attempt at one address; which address, how often and when is Python's. Made by hawse-core through `Tunnel::dial`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hawse_proto::core::{DialRequest, LinkUp, Transport};
use quinn::{Connection, Endpoint};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::fault::{DialFault, Dialled};
use crate::hub::{Connected, Tunnel};
use crate::identity::Identity;
use crate::limits::DIAL_TIMEOUT;
use crate::server::peer_chain;
use crate::socket;
use crate::tls::{self, ALPN_ENROL, ALPN_LINK, Sha256, Trust};

/// How often to look whether the exit node has accepted our certificate: quinn 0.11 counts its HANDSHAKE_DONE but wakes
/// nobody for it. A round trip is rarely shorter than this on a real network.
const CONFIRMATION_STEP: Duration = Duration::from_millis(2);

/// A link that was dialled; it lives while it is run.
#[derive(Debug)]
pub struct Dialed {
    tunnel: Arc<Tunnel>,
    connected: Connected,
}

impl Dialed {
    /// Reports the link and runs it until it is over. Not cancel safe: dropping it ends the link at once.
    pub async fn run(self) {
        self.tunnel.run(self.connected).await;
    }
}

/// A request that was checked.
#[derive(Debug)]
pub struct Dial {
    dialled: Dialled,
    trust: Trust,
    limit: Duration,
}

impl Dial {
    /// Checks a request.
    ///
    /// # Errors
    /// `DialFault::Rejected`: it is not usable, and says why.
    pub fn parse(request: DialRequest) -> Result<Self, DialFault> {
        let rejected = |why: &str| Err(DialFault::Rejected(why.to_owned()));
        let trust = match (request.alpn.as_str(), request.identity, request.ca_sha256) {
            (ALPN_LINK, Some(identity), _) => Trust::Identity(Identity::parse(identity)?),
            (ALPN_LINK, None, _) => return rejected("hawse/1 needs an identity"),
            (ALPN_ENROL, _, hashes) if hashes.is_empty() => return rejected("hawse-enroll/1 needs the hash of a CA"),
            (ALPN_ENROL, _, hashes) => match hashes.into_iter().map(Sha256::try_from).collect() {
                Ok(hashes) => Trust::CaHashes(hashes),
                Err(_) => return rejected("the hash of a CA is not 32 bytes"),
            },
            (alpn, ..) => return rejected(&format!("{alpn:?} is not a protocol of links")),
        };
        let limit = match request.timeout_ms {
            0 => DIAL_TIMEOUT,
            ms => Duration::from_millis(ms.into()),
        };
        let dialled = Dialled {
            address: request.address,
            server_name: request.server_name,
            alpn: request.alpn,
        };
        Ok(Self { dialled, trust, limit })
    }
}

impl Tunnel {
    /// Connects and waits until the exit node has accepted our certificate. Cancel safe: the connection is dropped.
    ///
    /// # Errors
    /// See [`DialFault`].
    pub async fn dial(self: &Arc<Self>, ticket: u64, dial: Dial) -> Result<Dialed, DialFault> {
        let Dial { dialled, trust, limit } = dial;
        let attempt = timeout(limit, connect(ticket, &dialled, &trust)).await;
        let connected = attempt.unwrap_or_else(|_| Err(dialled.unanswered(limit.as_secs_f32())))?;
        Ok(Dialed {
            tunnel: self.clone(),
            connected,
        })
    }
}

async fn connect(ticket: u64, dialled: &Dialled, trust: &Trust) -> Result<Connected, DialFault> {
    let (endpoint, connection) = handshake(dialled, trust).await?;
    confirm(&connection).await.map_err(|why| dialled.fault(&why))?;
    let control = connection.open_bi().await.map_err(|why| dialled.fault(&why))?;
    let chain = peer_chain(&connection);
    let ca = match trust {
        Trust::CaHashes(hashes) => tls::pinned(chain.get(1..).unwrap_or_default(), hashes).map(|der| der.to_vec()),
        Trust::Identity(_) => None,
    };
    let up = LinkUp {
        ticket,
        alpn: dialled.alpn.clone(),
        remote: connection.remote_address().to_string(),
        peer_certificate: chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default(),
        ca: ca.unwrap_or_default(),
        transport: Transport::Quic.into(),
    };
    Ok(Connected {
        connection,
        control,
        up,
        endpoint: Some(endpoint),
    })
}

async fn handshake(dialled: &Dialled, trust: &Trust) -> Result<(Endpoint, Connection), DialFault> {
    let Dialled {
        address,
        server_name,
        alpn,
    } = dialled;
    let config = tls::client_config(trust, alpn)?;
    let unreachable =
        |why: &dyn std::fmt::Display| DialFault::Unreachable(format!("no way to the exit node at {address}: {why}"));
    let peer = resolve(address).await.map_err(|why| unreachable(&why))?;
    let endpoint = socket::endpoint(socket::any(peer), None).map_err(|why| unreachable(&why))?;
    let connecting = endpoint
        .connect_with(config, peer, server_name)
        .map_err(|why| match why {
            quinn::ConnectError::InvalidServerName(name) => DialFault::Rejected(format!("{name:?} is not a DNS name")),
            why => unreachable(&why),
        })?;
    let connection = connecting.await.map_err(|why| dialled.fault(&why))?;
    Ok((endpoint, connection))
}

async fn resolve(address: &str) -> std::io::Result<SocketAddr> {
    let unknown = || std::io::Error::other("the name has no address");
    lookup_host(address).await?.next().ok_or_else(unknown)
}

/// In TLS 1.3 the client is done before the server has looked at its certificate; only HANDSHAKE_DONE says that it was
/// accepted. Without this a refused agent would see a link that dies at once, without a reason.
async fn confirm(connection: &Connection) -> Result<(), quinn::ConnectionError> {
    while connection.stats().frame_rx.handshake_done == 0 {
        if let Ok(why) = timeout(CONFIRMATION_STEP, connection.closed()).await {
            return Err(why);
        }
    }
    Ok(())
}
