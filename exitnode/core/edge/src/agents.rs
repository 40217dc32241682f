//! Agents at the visitors' port: told apart by the ALPN of their ClientHello, and handed over before the edge has answered.
//!
//! What becomes of them is the tunnel server's business, which the edge does not know: hawse-core joins the two. While nobody
//! takes them, their protocols are as unknown as any other.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::StartHandshake;

use crate::limits;

/// A connection whose ClientHello was read, and its peer.
pub type AgentHandshake = (StartHandshake<TcpStream>, SocketAddr);

/// ALPN protocols of links, see `hawse_tunnel`.
const PROTOCOLS: [&[u8]; 2] = [b"hawse/1", b"hawse-enroll/1"];

/// Where agents go.
#[derive(Debug, Default)]
pub(crate) struct Agents(Mutex<Option<mpsc::Sender<AgentHandshake>>>);

impl Agents {
    /// Agents go to the receiver from now on.
    pub(crate) fn receive(&self) -> mpsc::Receiver<AgentHandshake> {
        let (sender, receiver) = mpsc::channel(limits::AGENT_HANDSHAKES);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Hands an agent over, or closes its connection if too many wait. What comes back is a visitor.
    pub(crate) fn hand_over(&self, handshake: AgentHandshake) -> Option<StartHandshake<TcpStream>> {
        if !is_agent(&handshake.0) {
            return Some(handshake.0);
        }
        let Some(sender) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
            return Some(handshake.0);
        };
        match sender.try_send(handshake) {
            Err(mpsc::error::TrySendError::Closed((start, _))) => Some(start),
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => None,
        }
    }
}

fn is_agent(start: &StartHandshake<TcpStream>) -> bool {
    start
        .client_hello()
        .alpn()
        .is_some_and(|mut offered| offered.any(|protocol| PROTOCOLS.contains(&protocol)))
}
