//! HTTP/3: published h3 on quinn, behind a guard of ours. Same stack and same answers as HTTP/1.1 and 2; no WebSockets.
//!
//! One file a concern: endpoint (UDP, who is let in), connection (its requests and its end), request, body, guard (what
//! h3 doesn't bound). The listener runs an [`Entrance`]; every bound is in limits.rs.

mod body;
mod connection;
mod endpoint;
mod guard;
mod request;

pub(crate) use self::endpoint::Entrance;
#[cfg(feature = "fuzzing")]
pub use guard::fuzzing::h3_sieve;
