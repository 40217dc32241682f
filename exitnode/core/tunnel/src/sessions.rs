//! Which links serve which tunnel, and when a tunnel last had one. Pure: a table with time as an argument.
//!
//! It does not know whether a link still lives (link.rs) nor who may serve what (Python admits). Called by hub.rs.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::limits::{LAST_SEEN, TUNNELS_PER_LINK};
use crate::peers::Peers;

/// Number of a link, counted up within the process: a higher one is newer.
pub(crate) type LinkId = u64;

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_tunnel: HashMap<String, Vec<LinkId>>,
    by_link: HashMap<LinkId, Vec<String>>,
    /// The same for links to other exit nodes, which do not count for `left`: the agents are theirs.
    pub(crate) peers: Peers,
    /// When the last link of a tunnel went; not held for tunnels that have one.
    left: HashMap<String, Instant>,
    /// The same, oldest first, for forgetting; entries that `left` has a newer time for are stale.
    oldest: VecDeque<(String, Instant)>,
}

impl Sessions {
    /// `link` serves exactly these tunnels from now on. True: it served another one before.
    pub(crate) fn bind(&mut self, link: LinkId, mut tunnels: Vec<String>, now: Instant) -> bool {
        tunnels.sort_unstable();
        tunnels.dedup();
        tunnels.truncate(TUNNELS_PER_LINK);
        let before = self.by_link.insert(link, tunnels.clone()).unwrap_or_default();
        let left: Vec<String> = (before.into_iter())
            .filter(|tunnel| tunnels.binary_search(tunnel).is_err())
            .collect();
        let leaves = !left.is_empty();
        for tunnel in left {
            self.leave(link, tunnel, now);
        }
        for tunnel in tunnels {
            self.left.remove(&tunnel);
            if !self.by_tunnel.contains_key(&tunnel) {
                self.peers.outdate(&tunnel);
            }
            let links = self.by_tunnel.entry(tunnel).or_default();
            if let Err(place) = links.binary_search_by(|other| link.cmp(other)) {
                links.insert(place, link);
            }
        }
        leaves
    }

    /// `link` is gone.
    pub(crate) fn unbind(&mut self, link: LinkId, now: Instant) {
        for tunnel in self.by_link.remove(&link).unwrap_or_default() {
            self.leave(link, tunnel, now);
        }
        self.peers.unbind(link);
    }

    /// The links of agents that serve a tunnel, newest first.
    pub(crate) fn links(&self, tunnel: &str) -> &[LinkId] {
        self.by_tunnel.get(tunnel).map_or(&[], Vec::as_slice)
    }

    /// How long ago the tunnel had a link; zero if it has one, `None` if it never had or that is forgotten.
    pub(crate) fn last_seen(&self, tunnel: &str, now: Instant) -> Option<Duration> {
        if self.by_tunnel.contains_key(tunnel) {
            return Some(Duration::ZERO);
        }
        self.left.get(tunnel).map(|left| now.saturating_duration_since(*left))
    }

    fn leave(&mut self, link: LinkId, tunnel: String, now: Instant) {
        let Some(links) = self.by_tunnel.get_mut(&tunnel) else {
            return;
        };
        links.retain(|other| *other != link);
        if !links.is_empty() {
            return;
        }
        self.by_tunnel.remove(&tunnel);
        self.left.insert(tunnel.clone(), now);
        self.oldest.push_back((tunnel, now));
        self.forget();
    }

    fn forget(&mut self) {
        while self.oldest.len() > LAST_SEEN {
            let Some((tunnel, at)) = self.oldest.pop_front() else {
                return;
            };
            if self.left.get(&tunnel) == Some(&at) {
                self.left.remove(&tunnel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::Ordering::Relaxed;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn names(tunnels: &[&str]) -> Vec<String> {
        tunnels.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_newest_link_comes_first_whatever_the_order_of_binding() {
        let (mut sessions, now) = (Sessions::default(), now());
        for link in [2, 3, 1] {
            sessions.bind(link, names(&["shop"]), now);
        }
        assert_eq!(sessions.links("shop"), [3, 2, 1]);
    }

    #[test]
    fn a_second_binding_replaces_the_first() {
        let (mut sessions, now) = (Sessions::default(), now());
        sessions.bind(1, names(&["shop", "blog"]), now);
        sessions.bind(1, names(&["blog", "wiki"]), now);
        assert_eq!(
            [sessions.links("shop"), sessions.links("blog"), sessions.links("wiki")],
            [&[][..], &[1], &[1]]
        );
    }

    #[test]
    fn last_seen_counts_from_the_last_link_that_left() {
        let (mut sessions, start) = (Sessions::default(), now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(sessions.last_seen("shop", start), None);
        sessions.bind(1, names(&["shop"]), at(0));
        sessions.bind(2, names(&["shop"]), at(1));
        sessions.unbind(1, at(2));
        assert_eq!(sessions.last_seen("shop", at(3)), Some(Duration::ZERO));
        sessions.unbind(2, at(4));
        assert_eq!(sessions.last_seen("shop", at(9)), Some(Duration::from_secs(5)));
        sessions.bind(3, names(&["shop"]), at(10));
        assert_eq!(sessions.last_seen("shop", at(11)), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_remembered_of_past_tunnels_is_bounded() {
        let (mut sessions, now) = (Sessions::default(), now());
        for number in 0..LAST_SEEN as u64 + 10 {
            sessions.bind(number, vec![format!("tunnel-{number}")], now);
            sessions.unbind(number, now);
        }
        assert_eq!((sessions.left.len(), sessions.oldest.len()), (LAST_SEEN, LAST_SEEN));
        assert_eq!(sessions.last_seen("tunnel-0", now), None);
    }

    #[test]
    fn the_first_link_of_an_own_agent_outdates_the_ways_over_peers() {
        let (mut sessions, now) = (Sessions::default(), now());
        sessions.peers.announce(9, 0, names(&["shop", "blog"]), &[]);
        let mark = |sessions: &Sessions, tunnel| sessions.peers.routes(tunnel).next().unwrap().0.mark.clone();
        let (shop, blog) = (mark(&sessions, "shop"), mark(&sessions, "blog"));
        sessions.bind(1, names(&["shop"]), now);
        assert!(!shop.load(Relaxed) && blog.load(Relaxed));
        let again = mark(&sessions, "shop");
        sessions.bind(2, names(&["shop"]), now);
        assert!(again.load(Relaxed), "it was there for want of the first already");
        assert_eq!(sessions.links("shop"), [2, 1], "a peer's link is no agent's");
        sessions.unbind(9, now);
        assert!(sessions.peers.routes("shop").next().is_none());
        assert_eq!(sessions.last_seen("blog", now), None);
    }

    proptest! {
        #[test]
        fn the_two_directions_of_the_table_always_agree(steps in prop::collection::vec((0u64..5, prop::option::of(prop::collection::vec(0u8..4, 0..4))), 0..60)) {
            let (mut sessions, now) = (Sessions::default(), now());
            let mut model: HashMap<LinkId, Vec<String>> = HashMap::new();
            for (link, tunnels) in steps {
                match tunnels {
                    Some(tunnels) => {
                        let tunnels: Vec<String> = tunnels.iter().map(ToString::to_string).collect();
                        sessions.bind(link, tunnels.clone(), now);
                        model.insert(link, tunnels);
                    }
                    None => {
                        sessions.unbind(link, now);
                        model.remove(&link);
                    }
                }
                for tunnel in ["0", "1", "2", "3"] {
                    let mut expected: Vec<LinkId> = model.iter().filter(|(_, list)| list.iter().any(|t| t == tunnel)).map(|(link, _)| *link).collect();
                    expected.sort_unstable_by(|a, b| b.cmp(a));
                    prop_assert_eq!(sessions.links(tunnel), &expected[..]);
                }
                prop_assert!(sessions.by_tunnel.values().all(|links| !links.is_empty()));
            }
        }
    }
}
