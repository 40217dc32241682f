//! Both ends of the tunnel: links over QUIC or TCP, their control streams, streams to the app.
//!
//! ```text
//! hub.rs      all links of a process: the public face          sessions.rs   tunnel -> links, last seen (pure)
//! hub/routing from a tunnel to a stream: who is asked first    peers.rs      tunnel -> other exit nodes (pure)
//! server/     the exit node accepts                            admission.rs  numbers and addresses (pure)
//! dial/       an agent, or another exit node, dials            fault.rs      the networks' reasons in our words (pure)
//! link.rs     one link: frames out and in                      identity.rs   certificates and roots, parsed
//! stream.rs   exit node: a stream to the app                   tls.rs        TLS and transport settings
//! accept.rs   the other end of streams: agent.rs makes each one a TCP connection (splice.rs: bytes both ways, half-close
//!             kept); relay.rs passes one of another exit node on to an agent (stalls.rs: how many may stand still)
//! transport/  what links run over: QUIC, or HTTP/2 on TCP      socket.rs     UDP and TCP sockets, set up
//! probe.rs    is a silent link dead? (pure)                    pulse.rs      asks it, and leaves it
//! batches.rs  idle QUIC links stay small                       outbox.rs     frames that wait to be sent
//! reset.rs    what a restarted exit node proves itself by
//! ```
//!
//! It writes no log and decides no policy: who is dialled, admitted, fenced or refused is Python's. Every task has an owner
//! (a JoinSet, or the caller of `run`), every queue a bound in `limits`. Called by hawse-core; the edge does not know it.

mod accept;
mod admission;
mod agent;
mod batches;
mod dial;
mod fault;
mod hub;
mod identity;
pub mod limits;
mod link;
mod outbox;
mod peers;
mod probe;
mod pulse;
mod relay;
mod reset;
mod server;
mod sessions;
mod socket;
mod splice;
mod stalls;
mod stream;
mod tls;
mod transport;
#[cfg(target_os = "linux")]
mod udp;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

pub use dial::{Dial, Dialed};
pub use fault::{DialFault, ListenFault};
pub use hub::{Events, Tunnel};
pub use identity::{Identity, IdentityError};
pub use link::Path;
pub use server::{AgentHandshake, Listening};
pub use stream::{AppStream, OpenError};
pub use tls::{ALPN_ENROL, ALPN_LINK, ALPN_PEER};

#[cfg(test)]
#[path = "../tests/simulator/mod.rs"]
mod simulator;
#[cfg(test)]
#[path = "../tests/common/ca.rs"]
mod testing;
