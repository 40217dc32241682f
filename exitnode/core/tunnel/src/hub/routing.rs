//! From a tunnel to a stream of one of its agents: the links of our own agents first, then other exit nodes, then links that may
//! be dead; and for a moment after the start agents that are on their way back.
//!
//! A tunnel whose own agent is well costs one look into the table. Which way is better is peers.rs's; stream.rs tries them.

use std::net::SocketAddr;

use tokio::time::{Instant, timeout, timeout_at};

use super::Tunnel;
use crate::limits::OPEN_ELSEWHERE_TIMEOUT;
use crate::link::Path;
use crate::peers::{Rank, rank};
use crate::stream::{self, AppStream, OpenError};

impl Tunnel {
    /// A stream to the app of a tunnel, over the newest link of its agents that can give one, or over another exit node;
    /// links that may be dead come last. Cancel safe: a stream that was half open is reset.
    ///
    /// # Errors
    /// Nothing leads to the tunnel, or nothing that does could open a stream.
    pub async fn open(&self, tunnel_uid: &str, visitor: SocketAddr) -> Result<AppStream, OpenError> {
        match self.open_now(tunnel_uid, visitor).await {
            Err(OpenError::NoAgent) if self.agents_due.get().is_some_and(|due| Instant::now() < *due) => {
                Box::pin(self.open_on_return(tunnel_uid, visitor)).await
            }
            opened => opened,
        }
    }

    /// The same once an agent is back, if that is to be expected.
    async fn open_on_return(&self, tunnel_uid: &str, visitor: SocketAddr) -> Result<AppStream, OpenError> {
        let due = self.agents_due.get().copied().unwrap_or_else(Instant::now);
        loop {
            let bound = self.bound.notified(); // from here on, whoever waits
            match self.open_now(tunnel_uid, visitor).await {
                Err(OpenError::NoAgent) if timeout_at(due, bound).await.is_ok() => {}
                opened => return opened,
            }
        }
    }

    async fn open_now(&self, tunnel_uid: &str, visitor: SocketAddr) -> Result<AppStream, OpenError> {
        match self.open_own(tunnel_uid, visitor).await {
            Ok(stream) => Ok(stream),
            Err(why) => Box::pin(self.open_elsewhere(tunnel_uid, visitor, why)).await,
        }
    }

    /// Over links of our own agents that seem to live. Cancel safe: a stream that was half open is reset.
    pub(crate) async fn open_own(&self, tunnel_uid: &str, visitor: SocketAddr) -> Result<AppStream, OpenError> {
        let mut paths = self.own_paths(tunnel_uid);
        paths.retain(|path| !path.is_suspect());
        stream::open(&paths, tunnel_uid, visitor).await
    }

    /// Over the rest; `why`: there is nothing better.
    async fn open_elsewhere(
        &self,
        tunnel_uid: &str,
        visitor: SocketAddr,
        why: OpenError,
    ) -> Result<AppStream, OpenError> {
        let mut paths = self.peer_paths(tunnel_uid);
        let doubtful = self.own_paths(tunnel_uid).into_iter().filter(Path::is_suspect);
        let first_doubtful = paths.partition_point(|path| !path.is_suspect());
        paths.splice(first_doubtful..first_doubtful, doubtful);
        let opened = timeout(OPEN_ELSEWHERE_TIMEOUT, stream::open(&paths, tunnel_uid, visitor)).await;
        match opened {
            Ok(Err(OpenError::NoAgent)) => Err(why),
            Ok(opened) => opened,
            Err(_) => {
                let seconds = OPEN_ELSEWHERE_TIMEOUT.as_secs();
                Err(OpenError::LinkLost(format!(
                    "no other exit node has reached it within {seconds} s"
                )))
            }
        }
    }

    /// Newest first.
    fn own_paths(&self, tunnel_uid: &str) -> Vec<Path> {
        let state = self.state();
        let ids = state.sessions.links(tunnel_uid);
        ids.iter().filter_map(|id| state.links.get(id)).map(Path::new).collect()
    }

    /// Over other exit nodes, best first.
    fn peer_paths(&self, tunnel_uid: &str) -> Vec<Path> {
        let state = self.state();
        let routes = state.sessions.peers.routes(tunnel_uid);
        let mut ranked: Vec<(Rank, Path)> = routes
            .filter_map(|(route, distance)| {
                let link = state.links.get(&route.link)?;
                let path = Path::over_peer(link, &route.mark);
                let round_trip = link.connection.round_trip();
                Some((rank(link.id, distance, round_trip, path.is_suspect()), path))
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, path)| path).collect()
    }
}
