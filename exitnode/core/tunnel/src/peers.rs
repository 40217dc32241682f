//! Which tunnels can be reached over links to other exit nodes, and in which order those are asked. Pure.
//!
//! Every route has a mark of its own that says whether it still holds: connections that are kept over one of a busy link's
//! thousands of tunnels must not be given up because another one has left. Part of sessions.rs; announced by hub.rs.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::limits::{PEER_TUNNELS, PEER_TUNNELS_IN_ALL};
use crate::sessions::LinkId;

/// Says whether a route is still the one to take; shared with the streams that took it.
pub(crate) type Mark = Arc<AtomicBool>;

#[derive(Debug, Default)]
pub(crate) struct Peers {
    by_tunnel: HashMap<Arc<str>, Vec<Route>>,
    by_link: HashMap<LinkId, Reachable>,
    /// Tunnels of all links.
    announced: usize,
}

/// One way to a tunnel.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) link: LinkId,
    pub(crate) mark: Mark,
}

/// What lies behind one link.
#[derive(Debug, Default)]
struct Reachable {
    distance: u32,
    tunnels: HashSet<Arc<str>>,
}

/// How good a route is: the least comes first.
pub(crate) type Rank = (bool, u32, Duration, Reverse<LinkId>);

impl Peers {
    /// `link`, so far away, reaches these tunnels too and those no longer.
    pub(crate) fn announce(&mut self, link: LinkId, distance: u32, add: Vec<String>, remove: &[String]) {
        self.by_link.entry(link).or_default().distance = distance;
        for tunnel in remove {
            let reachable = self.by_link.get_mut(&link);
            if reachable.is_some_and(|reachable| reachable.tunnels.remove(tunnel.as_str())) {
                self.leave(link, tunnel);
            }
        }
        for tunnel in add {
            self.add(link, tunnel);
        }
    }

    /// `link` is gone.
    pub(crate) fn unbind(&mut self, link: LinkId) {
        for tunnel in self.by_link.remove(&link).unwrap_or_default().tunnels {
            self.leave(link, &tunnel);
        }
    }

    /// There is something better: who keeps connections over these routes leaves them.
    pub(crate) fn outdate(&mut self, tunnel: &str) {
        for route in self.by_tunnel.get_mut(tunnel).into_iter().flatten() {
            route.mark.store(false, Relaxed);
            route.mark = Arc::new(AtomicBool::new(true));
        }
    }

    /// The ways to a tunnel with how far away each is, in no order.
    pub(crate) fn routes(&self, tunnel: &str) -> impl Iterator<Item = (&Route, u32)> {
        let routes = self.by_tunnel.get(tunnel).into_iter().flatten();
        routes.filter_map(|route| Some((route, self.by_link.get(&route.link)?.distance)))
    }

    fn add(&mut self, link: LinkId, tunnel: String) {
        let reachable = self.by_link.entry(link).or_default();
        let is_full = reachable.tunnels.len() >= PEER_TUNNELS || self.announced >= PEER_TUNNELS_IN_ALL;
        if is_full || reachable.tunnels.contains(tunnel.as_str()) {
            return;
        }
        let known = self.by_tunnel.get_key_value(tunnel.as_str());
        let tunnel = known.map_or_else(|| tunnel.into(), |(known, _)| known.clone());
        reachable.tunnels.insert(tunnel.clone());
        self.announced += 1;
        let mark = Arc::new(AtomicBool::new(true));
        self.by_tunnel.entry(tunnel).or_default().push(Route { link, mark });
    }

    /// A tunnel that was taken out of `by_link`.
    fn leave(&mut self, link: LinkId, tunnel: &str) {
        self.announced -= 1;
        let Some(routes) = self.by_tunnel.get_mut(tunnel) else {
            return;
        };
        routes.retain(|route| {
            let stays = route.link != link;
            route.mark.fetch_and(stays, Relaxed);
            stays
        });
        if routes.is_empty() {
            self.by_tunnel.remove(tunnel);
        }
    }
}

/// Own region before others, near before far, new before old; what may be dead comes last.
pub(crate) fn rank(link: LinkId, distance: u32, round_trip: Duration, is_suspect: bool) -> Rank {
    (is_suspect, distance, round_trip, Reverse(link))
}
