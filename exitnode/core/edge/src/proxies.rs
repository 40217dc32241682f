//! Load balancers in front of the exit node: whose word on a visitor's address counts.
//!
//! Only addresses in the Fleet's trusted networks are believed: a PROXY header from them, and X-Forwarded-For from whoever
//! speaks from there. Everybody else's X-Forwarded-For is dropped (upstream/head.rs). Pure but for the lock.

use std::{
    net::IpAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use hawse_proto::ir;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::networks;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of load balancers.
#[derive(Debug, Default)]
pub(crate) struct Trusted(Vec<IpNet>);

/// What the fleet says of load balancers; changed while serving.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    trusted: RwLock<Arc<Trusted>>,
    announce: AtomicBool,
}

impl Proxies {
    /// Takes up what the fleet says. The error names each network that cannot be read; then nothing changes.
    pub(crate) fn set(&self, said: &ir::Proxies) -> Result<(), String> {
        let trusted = Trusted(networks::parse(&said.trusted_cidrs)?);
        *self.trusted.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trusted);
        self.announce.store(said.announce, Relaxed);
        Ok(())
    }

    /// Whether a connection from `peer` begins with a PROXY header.
    pub(crate) fn announce(&self, peer: IpAddr) -> bool {
        self.announce.load(Relaxed) && self.around(peer).is_some()
    }

    /// The trusted networks, if `peer` is in one of them.
    pub(crate) fn around(&self, peer: IpAddr) -> Option<Arc<Trusted>> {
        let trusted = self.trusted.read().unwrap_or_else(PoisonError::into_inner);
        trusted.contains(peer).then(|| trusted.clone())
    }
}

impl Trusted {
    fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The visitor: the last address in X-Forwarded-For that no trusted proxy has (they append on the right). `peer` if there
    /// is none; nothing is believed left of what cannot be read.
    pub(crate) fn visitor(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let mut nearest = peer;
        for text in entries(headers).rev() {
            let Some(address) = address_in(text) else { break };
            nearest = address;
            if !self.contains(address) {
                break;
            }
        }
        nearest
    }
}

/// X-Forwarded-For for the app: what the proxy said, and the proxy.
pub(crate) fn extended(headers: &HeaderMap, peer: IpAddr) -> Option<HeaderValue> {
    let mut chain: String = entries(headers).flat_map(|entry| [entry, ", "]).collect();
    chain.push_str(&peer.to_canonical().to_string());
    HeaderValue::try_from(chain).ok()
}

fn entries(headers: &HeaderMap) -> std::vec::IntoIter<&str> {
    let fields = headers.get_all(FORWARDED_FOR);
    let entries = fields
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    entries
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .collect::<Vec<_>>()
        .into_iter()
}

/// "203.0.113.7", "203.0.113.7:5000", "2001:db8::7", "[2001:db8::7]:5000".
fn address_in(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map(|(inside, _)| inside);
    bare.unwrap_or(text)
        .parse()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies(cidrs: &[&str], announce: bool) -> Proxies {
        let proxies = Proxies::default();
        let trusted_cidrs = cidrs.iter().map(|text| (*text).to_owned()).collect();
        proxies
            .set(&ir::Proxies {
                trusted_cidrs,
                announce,
            })
            .unwrap();
        proxies
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (FORWARDED_FOR, HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn nobody_is_believed_unless_named() {
        let none = Proxies::default();
        assert!(none.around(ip("127.0.0.1")).is_none() && !none.announce(ip("127.0.0.1")));
        let some = proxies(&["10.0.0.0/8", "2001:db8::/32"], true);
        for (peer, is_trusted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:1::1", true),
            ("11.0.0.1", false),
            ("2001:db9::1", false),
        ] {
            assert_eq!(some.announce(ip(peer)), is_trusted, "{peer}");
        }
        assert!(!proxies(&["10.0.0.0/8"], false).announce(ip("10.1.2.3")));
    }

    #[test]
    fn a_network_that_cannot_be_read_changes_nothing() {
        let some = proxies(&["10.0.0.0/8"], true);
        let said = ir::Proxies {
            trusted_cidrs: vec!["10.0.0.0/33".into(), "192.0.2.0/24".into(), "lb".into()],
            announce: false,
        };
        let error = some.set(&said).unwrap_err();
        assert!(
            error.contains("10.0.0.0/33") && error.contains("lb") && !error.contains("192.0.2"),
            "{error}"
        );
        assert!(some.announce(ip("10.1.2.3")));
    }

    #[test]
    fn the_visitor_is_the_last_address_that_no_proxy_has() {
        let trusted = proxies(&["10.0.0.0/8"], false).around(ip("10.0.0.1")).unwrap();
        for (values, visitor) in [
            (&[][..], "10.0.0.1"),
            (&["203.0.113.7"], "203.0.113.7"),
            (&["1.2.3.4, 203.0.113.7"], "203.0.113.7"),
            (&["1.2.3.4", "203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            (&["203.0.113.7:5000,10.9.9.9"], "203.0.113.7"),
            (&["[2001:db8::7]:5000"], "2001:db8::7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["1.2.3.4, unknown, 10.9.9.9"], "10.9.9.9"),
            (&["10.9.9.9, 10.8.8.8"], "10.9.9.9"),
            (&["garbage"], "10.0.0.1"),
        ] {
            assert_eq!(
                trusted.visitor(&headers(values), ip("10.0.0.1")),
                ip(visitor),
                "{values:?}"
            );
        }
    }

    #[test]
    fn the_app_gets_the_whole_chain() {
        let chain = extended(&headers(&["1.2.3.4 ,", "203.0.113.7"]), ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(chain, "1.2.3.4, 203.0.113.7, 10.0.0.1");
    }

    proptest! {
        /// Whatever a visitor wrote to the left, the address that the trusted proxy saw is the one that counts.
        #[test]
        fn what_a_visitor_writes_changes_nothing(lies in "[ -~]{0,40}") {
            let trusted = proxies(&["10.0.0.0/8"], false).around(ip("10.0.0.1")).unwrap();
            let said = headers(&[&lies, "203.0.113.7"]);
            prop_assert_eq!(trusted.visitor(&said, ip("10.0.0.1")), ip("203.0.113.7"));
        }
    }
}
