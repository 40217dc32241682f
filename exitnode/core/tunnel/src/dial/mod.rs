//! The dialling side of a link: an agent, or another exit node, reaches an exit node.
//!
//! One attempt at one address over one transport (quic.rs, tcp.rs); which, how often and when is Python's. Made by
//! hawse-core through `Tunnel::dial`.

mod proxy;
mod quic;
mod tcp;

#[cfg(feature = "fuzzing")]
pub use proxy::proxy_answer;

use std::sync::Arc;
use std::time::Duration;

use hawse_proto::core::{DialRequest, LinkUp, Transport};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use self::proxy::Proxy;
use crate::fault::{DialFault, Dialled};
use crate::hub::{Connected, Tunnel};
use crate::identity::Identity;
use crate::limits::DIAL_TIMEOUT;
use crate::tls::{self, ALPN_ENROL, ALPN_LINK, ALPN_PEER, Sha256, Trust};

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
    way: Way,
    limit: Duration,
}

#[derive(Debug)]
enum Way {
    Quic,
    Tcp(Option<Proxy>),
}

impl Dial {
    /// Checks a request.
    ///
    /// # Errors
    /// `DialFault::Rejected`: it is not usable, and says why.
    pub fn parse(request: DialRequest) -> Result<Self, DialFault> {
        let rejected = |why: &str| Err(DialFault::Rejected(why.to_owned()));
        let trust = match (request.alpn.as_str(), request.identity, request.ca_sha256) {
            (ALPN_LINK | ALPN_PEER, Some(identity), _) => Trust::Identity(Identity::parse(identity)?),
            (alpn @ (ALPN_LINK | ALPN_PEER), None, _) => return rejected(&format!("{alpn} needs an identity")),
            (ALPN_ENROL, _, hashes) if hashes.is_empty() => return rejected("hawse-enroll/1 needs the hash of a CA"),
            (ALPN_ENROL, _, hashes) => match hashes.into_iter().map(Sha256::try_from).collect() {
                Ok(hashes) => Trust::CaHashes(hashes),
                Err(_) => return rejected("the hash of a CA is not 32 bytes"),
            },
            (alpn, ..) => return rejected(&format!("{alpn:?} is not a protocol of links")),
        };
        let way = match (request.transport, request.proxy) {
            (way, None) if way == Transport::Unspecified as i32 || way == Transport::Quic as i32 => Way::Quic,
            _ if request.alpn == ALPN_PEER => return rejected("hawse-peer/1 is spoken over QUIC, without a proxy"),
            (way, proxy) if way == Transport::Tcp as i32 => Way::Tcp(proxy.map(Proxy::parse).transpose()?),
            (_, Some(_)) => return rejected("a proxy carries links over TCP only"),
            (way, None) => return rejected(&format!("{way} is not a transport of links")),
        };
        let limit = match request.timeout_ms {
            0 => DIAL_TIMEOUT,
            ms => Duration::from_millis(ms.into()),
        };
        let dialled = Dialled {
            address: request.address,
            server_name: request.server_name,
            alpn: request.alpn,
            way: way.to_string(),
        };
        Ok(Self {
            dialled,
            trust,
            way,
            limit,
        })
    }
}

impl Tunnel {
    /// Connects and waits until the exit node has accepted our certificate. Cancel safe: the connection is dropped.
    ///
    /// # Errors
    /// See [`DialFault`].
    pub async fn dial(self: &Arc<Self>, ticket: u64, dial: Dial) -> Result<Dialed, DialFault> {
        let Dial {
            dialled,
            trust,
            way,
            limit,
        } = dial;
        let attempt = async {
            match &way {
                Way::Quic => quic::connect(ticket, &dialled, &trust).await,
                Way::Tcp(proxy) => Box::pin(tcp::connect(ticket, &dialled, &trust, proxy.as_ref())).await,
            }
        };
        let attempt = timeout(limit, attempt).await;
        let connected = attempt.unwrap_or_else(|_| Err(dialled.unanswered(limit.as_secs_f32())))?;
        Ok(Dialed {
            tunnel: self.clone(),
            connected,
        })
    }
}

/// What the exit node proved to us.
fn link_up(ticket: u64, dialled: &Dialled, trust: &Trust, chain: &[CertificateDer<'_>]) -> LinkUp {
    let ca = match trust {
        Trust::CaHashes(hashes) => tls::pinned(chain.get(1..).unwrap_or_default(), hashes).map(|der| der.to_vec()),
        Trust::Identity(_) => None,
    };
    LinkUp {
        ticket,
        alpn: dialled.alpn.clone(),
        peer_certificate: chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default(),
        ca: ca.unwrap_or_default(),
        ..LinkUp::default()
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Quic => f.write_str("UDP"),
            Self::Tcp(None) => f.write_str("TCP"),
            Self::Tcp(Some(proxy)) => write!(f, "TCP, through the proxy {proxy}"),
        }
    }
}
