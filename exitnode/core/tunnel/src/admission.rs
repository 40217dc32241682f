//! May this connection come in? Counts of handshakes, links and addresses against limits.rs. Pure: no sockets, no time.
//!
//! Who a peer is and what it may serve is decided later, in Python. Called by server/ alone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{ENROLMENTS, HANDSHAKES, HANDSHAKES_BEFORE_RETRY, LINKS, LINKS_PER_ADDRESS, PEERS};
use crate::tls;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    /// The address has to prove itself first.
    Retry,
    Refuse,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Handshake,
    Link,
    Peer,
    Enrolment,
}

impl Phase {
    /// What a handshake has become.
    pub(crate) fn of(alpn: &str) -> Self {
        match alpn {
            tls::ALPN_ENROL => Self::Enrolment,
            tls::ALPN_PEER => Self::Peer,
            _ => Self::Link,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Admission {
    handshakes: usize,
    links: usize,
    peers: usize,
    enrolments: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Admission {
    /// What to do with a first packet of `address`; `validated` if the address has proved itself. It does not say yet what
    /// it will be: where agents have no room, another exit node may have.
    pub(crate) fn decide(&self, address: IpAddr, validated: bool) -> Verdict {
        let full = self.handshakes >= HANDSHAKES;
        let crowded = self.handshakes >= HANDSHAKES_BEFORE_RETRY || self.links >= LINKS;
        let busy = self
            .by_address
            .get(&network(address))
            .is_some_and(|count| *count >= LINKS_PER_ADDRESS);
        match (full || busy, crowded && !validated) {
            (true, _) => Verdict::Refuse,
            (false, true) => Verdict::Retry,
            (false, false) => Verdict::Accept,
        }
    }

    /// A handshake of `address` begins.
    pub(crate) fn begin(&mut self, address: IpAddr) {
        self.handshakes += 1;
        *self.by_address.entry(network(address)).or_default() += 1;
    }

    /// A handshake is done; false: there is no room for what it became.
    pub(crate) fn promote(&mut self, to: Phase) -> bool {
        self.handshakes = self.handshakes.saturating_sub(1);
        let (count, limit) = match to {
            Phase::Enrolment => (&mut self.enrolments, ENROLMENTS),
            Phase::Peer => (&mut self.peers, PEERS),
            Phase::Handshake | Phase::Link => (&mut self.links, LINKS),
        };
        *count += 1;
        *count <= limit
    }

    /// A connection that had come as far as `phase` is over.
    pub(crate) fn end(&mut self, address: IpAddr, phase: Phase) {
        let count = match phase {
            Phase::Handshake => &mut self.handshakes,
            Phase::Link => &mut self.links,
            Phase::Peer => &mut self.peers,
            Phase::Enrolment => &mut self.enrolments,
        };
        *count = count.saturating_sub(1);
        let key = network(address);
        if let Some(count) = self.by_address.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&key);
            }
        }
    }
}

/// One household or server has a whole IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 4));

    fn with(handshakes: usize, links: usize) -> Admission {
        Admission {
            handshakes,
            links,
            ..Admission::default()
        }
    }

    #[test]
    fn verdicts_follow_the_limits() {
        let table = [
            (with(0, 0), false, Verdict::Accept),
            (with(HANDSHAKES_BEFORE_RETRY, 0), false, Verdict::Retry),
            (with(HANDSHAKES_BEFORE_RETRY, 0), true, Verdict::Accept),
            (with(HANDSHAKES, 0), true, Verdict::Refuse),
            (with(0, LINKS), false, Verdict::Retry),
            (with(0, LINKS), true, Verdict::Accept),
        ];
        for (admission, validated, verdict) in table {
            assert_eq!(admission.decide(ADDRESS, validated), verdict, "{admission:?}");
        }
    }

    #[test]
    fn one_address_cannot_take_every_place_and_gets_its_places_back() {
        let mut admission = Admission::default();
        for _ in 0..LINKS_PER_ADDRESS {
            admission.begin(ADDRESS);
            assert!(admission.promote(Phase::Link));
        }
        assert_eq!(admission.decide(ADDRESS, true), Verdict::Refuse);
        assert_eq!(admission.decide("198.51.100.5".parse().unwrap(), true), Verdict::Accept);
        for _ in 0..LINKS_PER_ADDRESS {
            admission.end(ADDRESS, Phase::Link);
        }
        assert_eq!(admission.decide(ADDRESS, true), Verdict::Accept);
        assert!(admission.by_address.is_empty());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let mut admission = Admission::default();
        for host in 0..LINKS_PER_ADDRESS {
            admission.begin(format!("2001:db8::{host:x}").parse().unwrap());
            admission.promote(Phase::Link);
        }
        assert_eq!(
            admission.decide("2001:db8::ffff".parse().unwrap(), true),
            Verdict::Refuse
        );
        assert_eq!(
            admission.decide("2001:db8:0:1::1".parse().unwrap(), true),
            Verdict::Accept
        );
    }

    #[test]
    fn each_protocol_has_places_of_its_own() {
        let all = [
            (tls::ALPN_LINK, LINKS),
            (tls::ALPN_ENROL, ENROLMENTS),
            (tls::ALPN_PEER, PEERS),
        ];
        let (mut admission, mut addresses) = (Admission::default(), (0..).map(|n: u128| IpAddr::V6((n << 64).into())));
        let mut come = |alpn| {
            let address = addresses.next().unwrap();
            assert_eq!(admission.decide(address, true), Verdict::Accept);
            admission.begin(address);
            let has_room = admission.promote(Phase::of(alpn));
            if !has_room {
                admission.end(address, Phase::of(alpn));
            }
            has_room
        };
        for (alpn, places) in all {
            assert_eq!((0..places + 9).filter(|_| come(alpn)).count(), places, "{alpn}");
        }
        for (alpn, _) in all {
            assert!(!come(alpn), "{alpn}");
        }
    }
}
