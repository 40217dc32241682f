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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(tunnels: &[&str]) -> Vec<String> {
        tunnels.iter().map(ToString::to_string).collect()
    }

    fn links(peers: &Peers, tunnel: &str) -> Vec<(LinkId, u32)> {
        let mut found: Vec<_> = peers.routes(tunnel).map(|(route, far)| (route.link, far)).collect();
        found.sort_unstable();
        found
    }

    fn mark(peers: &Peers, tunnel: &str) -> Mark {
        peers.routes(tunnel).next().unwrap().0.mark.clone()
    }

    #[test]
    fn near_comes_before_far_and_what_may_be_dead_comes_last() {
        let ms = Duration::from_millis;
        let in_order = [
            rank(4, 0, ms(1), false),
            rank(3, 0, ms(1), false),
            rank(9, 0, ms(2), false),
            rank(8, 1, ms(0), false),
            rank(5, 0, ms(1), true),
            rank(7, 1, ms(0), true),
        ];
        assert!(in_order.is_sorted());
    }

    #[test]
    fn a_mark_falls_with_its_own_route_and_no_other() {
        let mut peers = Peers::default();
        peers.announce(1, 0, names(&["shop", "blog"]), &[]);
        peers.announce(2, 0, names(&["blog"]), &[]);
        let (shop, blog) = (mark(&peers, "shop"), mark(&peers, "blog"));
        peers.announce(1, 0, names(&["blog"]), &names(&["shop"]));
        assert!(!shop.load(Relaxed) && blog.load(Relaxed));
        peers.unbind(2);
        assert!(blog.load(Relaxed));
        peers.outdate("blog");
        assert!(
            !blog.load(Relaxed) && mark(&peers, "blog").load(Relaxed),
            "for new streams it is as good as ever"
        );
        let blog = mark(&peers, "blog");
        peers.unbind(1);
        assert!(!blog.load(Relaxed));
        assert!(peers.by_tunnel.is_empty() && peers.by_link.is_empty() && peers.announced == 0);
    }

    #[test]
    fn a_tunnel_that_is_taken_back_and_announced_in_one_breath_is_there() {
        let mut peers = Peers::default();
        peers.announce(1, 0, names(&["shop"]), &[]);
        let before = mark(&peers, "shop");
        peers.announce(1, 1, names(&["shop"]), &names(&["shop"]));
        assert_eq!(links(&peers, "shop"), [(1, 1)]);
        assert!(!before.load(Relaxed));
    }

    #[test]
    fn announcements_are_bounded_each_and_in_all() {
        let mut peers = Peers::default();
        let many = || (0..PEER_TUNNELS + 5).map(|number| format!("tunnel-{number}"));
        for link in 0..(PEER_TUNNELS_IN_ALL / PEER_TUNNELS) as u64 {
            peers.announce(link, 0, many().collect(), &[]);
            assert_eq!(peers.by_link[&link].tunnels.len(), PEER_TUNNELS);
        }
        peers.announce(99, 0, many().collect(), &[]);
        assert_eq!(peers.announced, PEER_TUNNELS_IN_ALL);
        peers.announce(0, 0, names(&["late"]), &names(&["tunnel-0"]));
        assert_eq!(
            links(&peers, "late"),
            [(0, 0)],
            "who takes one back has room for another"
        );
    }

    #[derive(Debug, Clone)]
    enum Act {
        Announce(u32, Vec<u8>, Vec<u8>),
        Outdate(u8),
        Unbind,
    }

    fn act() -> impl Strategy<Value = Act> {
        let some = || prop::collection::vec(0u8..4, 0..4);
        prop_oneof![
            4 => (0u32..2, some(), some()).prop_map(|(far, add, remove)| Act::Announce(far, add, remove)),
            1 => (0u8..4).prop_map(Act::Outdate),
            1 => Just(Act::Unbind),
        ]
    }

    proptest! {
        #[test]
        fn routes_are_what_was_announced_and_a_mark_holds_as_long_as_its_route(steps in prop::collection::vec((0u64..4, act()), 0..60)) {
            let text = |tunnels: &[u8]| tunnels.iter().map(ToString::to_string).collect::<Vec<_>>();
            let mut peers = Peers::default();
            let mut model: HashMap<LinkId, (u32, HashSet<u8>)> = HashMap::new();
            for (link, act) in steps {
                let before: Vec<(u8, LinkId, Mark)> = (0..4)
                    .flat_map(|tunnel| peers.routes(&tunnel.to_string()).map(move |(route, _)| (tunnel, route.link, route.mark.clone())).collect::<Vec<_>>())
                    .collect();
                prop_assert!(before.iter().all(|(_, _, mark)| mark.load(Relaxed)));
                let mut fallen: Vec<(u8, LinkId)> = Vec::new();
                match act {
                    Act::Announce(far, add, remove) => {
                        peers.announce(link, far, text(&add), &text(&remove));
                        let (distance, tunnels) = model.entry(link).or_default();
                        *distance = far;
                        fallen.extend(remove.iter().map(|tunnel| (*tunnel, link)));
                        tunnels.retain(|tunnel| !remove.contains(tunnel));
                        tunnels.extend(add);
                    }
                    Act::Outdate(tunnel) => {
                        peers.outdate(&tunnel.to_string());
                        fallen.extend((0..4).map(|link| (tunnel, link)));
                    }
                    Act::Unbind => {
                        peers.unbind(link);
                        model.remove(&link);
                        fallen.extend((0..4).map(|tunnel| (tunnel, link)));
                    }
                }
                for (tunnel, link, mark) in before {
                    prop_assert_eq!(mark.load(Relaxed), !fallen.contains(&(tunnel, link)));
                }
                for tunnel in 0..4u8 {
                    let mut expected: Vec<_> = model.iter().filter(|(_, (_, has))| has.contains(&tunnel)).map(|(link, (far, _))| (*link, *far)).collect();
                    expected.sort_unstable();
                    prop_assert_eq!(links(&peers, &tunnel.to_string()), expected);
                }
                prop_assert_eq!(peers.announced, model.values().map(|(_, has)| has.len()).sum::<usize>());
                prop_assert!(peers.by_tunnel.values().all(|routes| !routes.is_empty()));
            }
        }
    }
}
