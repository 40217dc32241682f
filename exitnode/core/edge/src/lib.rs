//! The public edge: TLS, HTTP/1.1 and HTTP/2 front ends before one tower stack that ends in a stream to the app.
//!
//! Does not know agents, links or sessions: streams come from [`Dialer`]. Does not decide what is served: that is
//! `ir.Object`, applied by hawse-core. Called by hawse-core (one runtime thread) and by the tests of this crate.

mod dial;

pub use dial::{AppStream, DialError, Dialer};
