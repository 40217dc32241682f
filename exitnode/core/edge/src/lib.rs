//! The public edge: TLS, HTTP/1.1, HTTP/2 and HTTP/3 front ends before one tower stack that ends in a stream to the app.
//!
//! Does not know agents, links or sessions: streams come from [`Dialer`]. Does not decide what is served: that is
//! `ir.Object`, applied by hawse-core. Called by hawse-core (one runtime thread) and by the tests of this crate.
//!
//! Order of a request: listener -> front -> stack (layers) -> upstream -> Dialer; of a TCP tunnel's connection: tcp -> upstream
//! -> Dialer. limits.rs has every bound.

mod access;
mod agents;
mod announced;
mod body;
mod caps;
mod certs;
mod counters;
mod dial;
mod direct;
mod edge;
mod endpoint;
mod fair_queue;
mod fault;
mod front;
mod gate;
mod identity_service;
mod layers;
mod limits;
mod listener;
mod memory;
mod networks;
mod patience;
mod pressure;
mod proxies;
mod respond;
mod route;
mod rules;
mod shared;
mod shield;
mod sockets;
mod stack;
mod stalls;
mod standby;
mod tasks;
mod tcp;
mod upstream;
mod visit;

pub use agents::AgentHandshake;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;

pub use dial::{AppStream, DialError, Dialer, Path};
pub use edge::Edge;
pub use listener::{BindError, Listening};
