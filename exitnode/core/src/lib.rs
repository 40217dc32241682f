//! The data plane of one process: wiring of edge and tunnel, events, and the Python face.
//!
//! ```text
//! python.rs (feature `python`) -> node.rs -> visitors.rs -> hawse_edge, hawse_tunnel
//!                                   ├─────> bridge.rs          memory.rs: where all of it has its memory from
//!                                   └─────> staleness.rs       asked by visitors.rs
//! ```
//!
//! Nothing here looks at a byte of traffic or decides anything about it.

pub mod bridge;
pub mod node;
pub mod staleness;
pub mod visitors;

mod memory;
#[cfg(feature = "python")]
mod python;
