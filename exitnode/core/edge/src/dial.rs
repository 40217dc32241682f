//! Where the edge gets streams to the app of a tunnel: the one seam between visitors and links.
//!
//! The edge knows agents, sessions and links only through these traits. hawse-core implements them with the tunnel's
//! session table; the edge's tests with plain TCP. Nothing here opens anything.

use std::{fmt::Debug, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

/// Opens streams to the app of a tunnel.
pub trait Dialer: Clone + Send + Sync + 'static {
    /// One connection to the app.
    type Stream: AppStream;

    /// Opens a stream to the app of `tunnel_uid` on behalf of `visitor`. Cancel safe: dropping the future leaves nothing open.
    fn open(
        &self,
        tunnel_uid: &str,
        visitor: SocketAddr,
    ) -> impl Future<Output = Result<Self::Stream, DialError>> + Send;

    /// How long ago an agent was last connected for this tunnel, if ever: for the error page.
    fn last_seen(&self, tunnel_uid: &str) -> Option<Duration>;
}

/// One connection to the app. Dropping it before both directions ended resets it, so that the app sees a broken connection.
pub trait AppStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// After a read or write error: the HAWSE number with which the agent reset the stream (1003 ...), if it did.
    fn reset_code(&self) -> Option<u32>;

    /// Asked before each further request on the connection, which may outlive the session of the agent that opened it.
    fn path(&self) -> Arc<dyn Path>;

    /// The app itself is at the other end, not an agent: whatever breaks is the app's doing.
    fn is_direct(&self) -> bool {
        false
    }
}

/// What a stream runs over, seen from the pool that keeps its connection to the app.
pub trait Path: Debug + Send + Sync {
    /// New requests may still take it. False once the agent has moved to another link, or when this one may be dead: what
    /// runs may end, and nothing is begun. Called for each request: must be cheap.
    fn is_current(&self) -> bool;
}

/// Why no stream could be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No link of an agent serves this tunnel now.
    #[error("no agent is connected for this tunnel")]
    NoAgent,
    /// There was a link, and it broke before the stream was open; the text says how.
    #[error("the link to the agent was lost: {0}")]
    LinkLost(String),
    /// The exit node may not lead anybody to an agent now; the text says since when.
    #[error("the exit node has been without its operator for too long: {0}")]
    ConfigurationTooOld(String),
}
