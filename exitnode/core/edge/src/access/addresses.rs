//! Networks that a policy lets in, or keeps out. Pure.

use std::net::IpAddr;

use hawse_proto::ir;
use ipnet::IpNet;

use crate::networks;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
}

impl Addresses {
    pub(super) fn parse(ranges: &ir::IpRanges) -> Result<Self, String> {
        Ok(Self {
            allow: networks::parse(&ranges.allow)?,
            deny: networks::parse(&ranges.deny)?,
        })
    }

    /// Whether there is anybody whom an address lets in: only then they are a method.
    pub(super) fn is_method(&self) -> bool {
        !self.allow.is_empty()
    }

    pub(super) fn allows(&self, visitor: IpAddr) -> bool {
        is_among(&self.allow, visitor)
    }

    pub(super) fn denies(&self, visitor: IpAddr) -> bool {
        is_among(&self.deny, visitor)
    }
}

/// An IPv4 address that came mapped into IPv6 is the same address.
fn is_among(networks: &[IpNet], visitor: IpAddr) -> bool {
    let visitor = visitor.to_canonical();
    networks.iter().any(|network| network.contains(&visitor))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// allow | deny | visitor | allowed | denied
    const CASES: &str = "
10.0.0.0/8          |               | 10.1.2.3          | true  | false
10.0.0.0/8          |               | 11.1.2.3          | false | false
10.0.0.0/8          |               | ::ffff:10.1.2.3   | true  | false
10.0.0.0/8          | 10.1.0.0/16   | 10.1.2.3          | true  | true
2001:db8::/32       |               | 2001:db8::1       | true  | false
0.0.0.0/0 ::/0      |               | 2001:db8::1       | true  | false
0.0.0.0/0           |               | 2001:db8::1       | false | false
                    | 203.0.113.7/32 | 203.0.113.7      | false | true
";

    #[test]
    fn an_address_is_among_the_networks_or_not() {
        for case in CASES.lines().filter(|line| !line.is_empty()) {
            let columns: Vec<&str> = case.split('|').map(str::trim).collect();
            let list = |at: usize| columns[at].split_whitespace().map(str::to_owned).collect();
            let addresses = Addresses::parse(&ir::IpRanges {
                allow: list(0),
                deny: list(1),
            })
            .unwrap();
            let visitor = columns[2].parse().unwrap();
            let found = (addresses.allows(visitor), addresses.denies(visitor));
            assert_eq!(found, (columns[3] == "true", columns[4] == "true"), "{case}");
            assert_eq!(addresses.is_method(), !columns[0].is_empty());
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        let ranges = ir::IpRanges {
            allow: vec!["10.0.0.0/8".into(), "office".into()],
            deny: vec![],
        };
        assert!(Addresses::parse(&ranges).unwrap_err().contains("\"office\""));
    }
}
