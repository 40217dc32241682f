//! How many connections there may be, in total and from one address. Past a cap a connection is closed before its handshake.
//!
//! An IPv6 /64 is one address: that is what one visitor gets to choose from.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use crate::{limits, shared::Shared};

/// Counts the connections of one listener.
#[derive(Debug)]
pub(crate) struct Caps {
    /// Where visitors are counted; none for connections of which it is not known yet whose they are.
    shared: Option<Arc<Shared>>,
    total: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    /// Only addresses with a connection: bounded by `total`.
    by_address: HashMap<IpAddr, usize>,
}

impl Caps {
    pub(crate) fn new(shared: Arc<Shared>, total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            shared: Some(shared),
            total,
            per_address,
            open: Mutex::default(),
        })
    }

    /// Places that nobody counts.
    pub(crate) fn uncounted(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            shared: None,
            total,
            per_address,
            open: Mutex::default(),
        })
    }

    /// A place for a connection from `address`, or none; counted either way.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let totals = self.shared.as_ref().map(|shared| &shared.totals);
        if let Some(totals) = totals {
            totals.total.fetch_add(1, Relaxed);
        }
        let address = visitor_of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let here = open.by_address.get(&address).copied().unwrap_or(0);
        let is_short = self
            .shared
            .as_ref()
            .is_some_and(|shared| shared.pressure.refuses_connections());
        if is_short || open.total >= self.total || here >= self.per_address {
            if let Some(totals) = totals {
                totals.refused.fetch_add(1, Relaxed);
            }
            return None;
        }
        open.total += 1;
        open.by_address.insert(address, here + 1);
        if let Some(totals) = totals {
            totals.open.fetch_add(1, Relaxed);
        }
        Some(Place {
            caps: self.clone(),
            address,
        })
    }

    /// Connections that have a place now.
    pub(crate) fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// A connection that came in was none of a visitor.
    pub(crate) fn forget(&self, was_refused: bool) {
        if let Some(shared) = &self.shared {
            shared.totals.total.fetch_sub(1, Relaxed);
            shared.totals.refused.fetch_sub(was_refused.into(), Relaxed);
        }
    }

    fn leave(&self, address: IpAddr) {
        if let Some(shared) = &self.shared {
            shared.totals.open.fetch_sub(1, Relaxed);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        if let Some(count) = open.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

/// One connection's place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    caps: Arc<Caps>,
    address: IpAddr,
}

/// Where a TCP connection comes in, before it is known whose it is. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    visitors: Arc<Caps>,
    /// Past the caps of visitors: those who may still be agents.
    unheard: Arc<Caps>,
    /// From load balancers, which have not said yet for whom: as many as visitors, few addresses.
    unannounced: Arc<Caps>,
}

/// A connection whose ClientHello was not read yet.
#[derive(Debug)]
pub(crate) struct Guest {
    place: Place,
    /// There is room for a visitor, not for an agent only.
    is_welcome: bool,
}

impl Doors {
    pub(crate) fn new(visitors: Arc<Caps>) -> Self {
        let unheard = Caps::uncounted(limits::UNHEARD, limits::UNHEARD_PER_ADDRESS);
        let unannounced = Caps::uncounted(visitors.total, visitors.total);
        Self {
            visitors,
            unheard,
            unannounced,
        }
    }

    /// Lets a load balancer's connection wait at the door until it has said for whom it comes.
    pub(crate) fn wait(&self, proxy: IpAddr) -> Option<Place> {
        self.unannounced.enter(proxy)
    }

    /// Lets a connection from `address` in; counted as a visitor until it turns out to be an agent.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Guest> {
        let visitor = self.visitors.enter(address);
        let is_welcome = visitor.is_some();
        let place = visitor.or_else(|| self.unheard.enter(address))?;
        Some(Guest { place, is_welcome })
    }

    /// Lets a connection in where only visitors come.
    pub(crate) fn visitor(&self, address: IpAddr) -> Option<Place> {
        self.visitors.enter(address)
    }

    /// It was an agent, which the tunnel server counts.
    pub(crate) fn leave(&self, agent: &Guest) {
        self.visitors.forget(!agent.is_welcome);
    }
}

impl Guest {
    /// The place of a visitor, if there is one.
    pub(crate) fn visitor(self) -> Option<Place> {
        self.is_welcome.then_some(self.place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.caps.leave(self.address);
    }
}

/// Whom an address stands for, under caps and in queues.
pub(crate) fn visitor_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_a_v4_address_or_a_slash_64() {
        for (address, key) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(visitor_of(ip(address)), ip(key));
        }
    }

    #[test]
    fn a_place_is_taken_given_back_and_refused_past_either_cap() {
        let shared = Arc::new(Shared::default());
        let caps = Caps::new(shared.clone(), 3, 2);
        let a = [caps.enter(ip("10.0.0.1")), caps.enter(ip("10.0.0.1"))];
        assert!(a.iter().all(Option::is_some));
        assert!(caps.enter(ip("10.0.0.1")).is_none(), "per address");
        let b = caps.enter(ip("10.0.0.2"));
        assert!(b.is_some() && caps.enter(ip("10.0.0.3")).is_none(), "in total");
        drop((a, b));
        assert!(caps.enter(ip("10.0.0.1")).is_some());
        assert!(
            caps.open.lock().unwrap().by_address.is_empty(),
            "nothing is kept of addresses that left"
        );
        let totals = &shared.totals;
        let read = [&totals.total, &totals.refused, &totals.open].map(|count| count.load(Relaxed));
        assert_eq!(read, [6, 2, 0]);
    }

    #[test]
    fn a_visitor_is_refused_while_there_is_no_memory_and_an_agent_may_still_come() {
        let shared = Arc::new(Shared::default());
        let doors = Doors::new(Caps::new(shared.clone(), 3, 3));
        shared.pressure.simulate(99);
        let guest = doors.enter(ip("10.0.0.1")).unwrap();
        assert!(guest.visitor().is_none());
        shared.pressure.simulate(90);
        assert!(doors.enter(ip("10.0.0.1")).unwrap().visitor().is_some());
    }
}
