//! Every bound of the wire between agent and exit node: unit, value, source, and what happens past it.
//!
//! Bounds of one end alone stand with that end (`tunnel/src/limits.rs`, `edge/src/limits.rs`).

/// Bytes of a serialised frame, without its length. Source: frames.proto; an Offer of 300 tunnels fits.
/// Past it: the sender refuses to send, the receiver closes the link with HAWSE-2009.
pub const FRAME_MAX_BYTES: usize = 64 * 1024;

/// Bytes of a serialised stream opening, without its length. Source: frames.proto; a uid and two addresses take 100.
/// Past it: the exit node refuses to open, the agent resets the stream with HAWSE-2009.
pub const STREAM_OPEN_MAX_BYTES: usize = 4 * 1024;
