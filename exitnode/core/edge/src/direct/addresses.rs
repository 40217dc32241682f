//! Which addresses an exit node may dial for a tenant's target. Pure.
//!
//! An exit node stands inside the cluster, where addresses carry trust that a tenant doesn't have: cloud metadata, loopback,
//! other tenants' pods. So only what the whole internet could reach is dialled, unless `Fleet.spec.targets.allowedCIDRs` has
//! it. IPv6 forms that stand for an IPv4 address are judged by that one. Source: IANA's special-purpose registries (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Who says that a target has this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A name of the tenant's choice, or the tenant itself.
    Tenant,
    /// The operator, of a Service in the tenant's own namespace: ranges of clusters are what is expected.
    Cluster,
}

/// What forbids an address; `None`: it may be dialled.
pub(crate) fn refusal(address: IpAddr, source: Source, allowed: &[IpNet]) -> Option<&'static str> {
    let address = address.to_canonical(); // an IPv4-mapped IPv6 address is the IPv4 one
    if allowed.iter().any(|network| network.contains(&address)) {
        return None;
    }
    let kind = match address {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(address) => kind_of_v6(address),
    };
    match (kind, source) {
        (Kind::Public, _) | (Kind::Private, Source::Cluster) => None,
        (Kind::Private, Source::Tenant) => Some("a private range"),
        (Kind::Never(why), _) => Some(why),
    }
}

/// What a range is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Public,
    /// Where clusters have their Services.
    Private,
    Never(&'static str),
}

const LOOPBACK: Kind = Kind::Never("loopback");
const LINK_LOCAL: Kind = Kind::Never("link-local, where clouds keep their metadata");
const METADATA: Kind = Kind::Never("a cloud's metadata service");
const MULTICAST: Kind = Kind::Never("multicast");
const RESERVED: Kind = Kind::Never("reserved");
const DOCUMENTATION: Kind = Kind::Never("for documentation");
const TRANSLATED: Kind = Kind::Never("a tunnelling or translation range");

type V4 = (u32, u32, Kind);

/// The first that fits counts.
#[rustfmt::skip]
const V4_RANGES: [V4; 18] = [
    (v4(0, 0, 0, 0), 8, RESERVED),
    (v4(10, 0, 0, 0), 8, Kind::Private),
    (v4(100, 100, 100, 200), 32, METADATA),     // Alibaba Cloud
    (v4(100, 64, 0, 0), 10, Kind::Private),     // carrier-grade NAT; some clusters use it
    (v4(127, 0, 0, 0), 8, LOOPBACK),
    (v4(168, 63, 129, 16), 32, METADATA),       // Azure's, a public address that is none
    (v4(169, 254, 0, 0), 16, LINK_LOCAL),
    (v4(172, 16, 0, 0), 12, Kind::Private),
    (v4(192, 0, 0, 0), 24, RESERVED),           // among them Oracle Cloud's metadata, 192.0.0.192
    (v4(192, 0, 2, 0), 24, DOCUMENTATION),
    (v4(192, 88, 99, 0), 24, TRANSLATED),       // 6to4 relays
    (v4(192, 168, 0, 0), 16, Kind::Private),
    (v4(198, 18, 0, 0), 15, RESERVED),          // benchmarks
    (v4(198, 51, 100, 0), 24, DOCUMENTATION),
    (v4(203, 0, 113, 0), 24, DOCUMENTATION),
    (v4(224, 0, 0, 0), 4, MULTICAST),
    (v4(240, 0, 0, 0), 4, RESERVED),            // and broadcast
    (v4(0, 0, 0, 0), 0, Kind::Public),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

fn kind_of_v4(address: Ipv4Addr) -> Kind {
    let found = V4_RANGES.iter().find(|(range, length, _)| {
        let dropped = 32 - length;
        address.to_bits().checked_shr(dropped) == range.checked_shr(dropped)
    });
    found.map_or(RESERVED, |(_, _, kind)| *kind)
}

fn kind_of_v6(address: Ipv6Addr) -> Kind {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let last_v4 = || kind_of_v4(Ipv4Addr::from_bits(u32::from(g) << 16 | u32::from(h)));
    match [a, b, c, d, e, f] {
        _ if address.is_loopback() => LOOPBACK,
        _ if address.is_multicast() => MULTICAST,
        [0, 0, 0, 0, 0, 0] => last_v4_or(last_v4(), RESERVED), // IPv4-compatible, and ::
        [0, 0, 0, 0, 0xffff, 0] => last_v4_or(last_v4(), TRANSLATED), // SIIT (RFC 2765)
        [0x64, 0xff9b, 0, 0, 0, 0] => last_v4(),               // NAT64 (RFC 6052)
        [0x64, 0xff9b, 1, ..] => TRANSLATED,                   // NAT64 of a site (RFC 8215)
        [0xfe80..=0xfebf, ..] => LINK_LOCAL,
        [0xfd00, 0xec2, ..] => METADATA,                                         // AWS
        [.., 0x0000 | 0x0200, 0x5efe] if last_v4() != Kind::Public => last_v4(), // ISATAP (RFC 5214)
        [0xfc00..=0xfdff, ..] => Kind::Private,
        [0x2002, ..] => kind_of_v4(Ipv4Addr::from_bits(u32::from(b) << 16 | u32::from(c))), // 6to4 (RFC 3056)
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => DOCUMENTATION,
        [0x2001, 0..=0x01ff, ..] => TRANSLATED, // Teredo, ORCHID, benchmarks (RFC 2928)
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => RESERVED,
    }
}

/// A form that nothing uses any more is worth its own word unless the IPv4 address inside says why it was tried.
fn last_v4_or(inner: Kind, otherwise: Kind) -> Kind {
    match inner {
        Kind::Never(_) => inner,
        Kind::Public | Kind::Private => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_refused(address: &str, source: Source, allowed: &[&str]) -> bool {
        let allowed: Vec<IpNet> = allowed.iter().map(|network| network.parse().unwrap()).collect();
        refusal(address.parse().unwrap(), source, &allowed).is_some()
    }

    /// The operator's table too.
    const TABLE: &str = include_str!("../../../../../tests/support/addresses.txt");

    #[test]
    fn only_what_the_internet_reaches_is_dialled_for_a_tenant_and_clusters_ranges_for_its_services() {
        for row in TABLE.lines().filter(|row| !row.starts_with('#')) {
            let [address, tenant, cluster] = row.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("{row}")
            };
            assert_eq!(
                is_refused(address, Source::Tenant, &[]),
                tenant == "no",
                "{address} for a tenant"
            );
            assert_eq!(
                is_refused(address, Source::Cluster, &[]),
                cluster == "no",
                "{address} of a Service"
            );
        }
    }

    #[test]
    fn the_platform_team_may_allow_networks() {
        let allowed = ["127.0.0.0/8", "10.20.0.0/16", "fd00::/8"];
        for address in ["127.0.0.1", "::ffff:127.9.9.9", "10.20.255.255", "fd00:1::1"] {
            assert!(!is_refused(address, Source::Tenant, &allowed), "{address}");
        }
        // Forms that a translator turns into an allowed address are not that address.
        for address in [
            "10.21.0.0",
            "10.19.255.255",
            "169.254.169.254",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::1",
            "::1",
        ] {
            assert!(is_refused(address, Source::Tenant, &allowed), "{address}");
        }
    }

    proptest! {
        #[test]
        fn every_form_of_an_address_that_is_refused_is_refused(bits: u32, site: u64, low: u64) {
            let inner = Ipv4Addr::from_bits(bits);
            let plain = refusal(inner.into(), Source::Tenant, &[]);
            let high = u128::from(bits) << 80;
            let forms: [u128; 7] = [
                0xffff_u128 << 32 | u128::from(bits),
                u128::from(bits),
                0xffff_u128 << 48 | u128::from(bits),
                0x0064_ff9b_u128 << 96 | u128::from(bits),
                0x2002_u128 << 112 | high | u128::from(low),
                0x0064_ff9b_0001_u128 << 80 | u128::from(low & 0xffff_ffff) << 32 | u128::from(bits),
                u128::from(site) << 64 | 0x5efe_u128 << 32 | u128::from(bits),
            ];
            for form in forms {
                let form = Ipv6Addr::from_bits(form);
                let found = refusal(form.into(), Source::Tenant, &[]);
                prop_assert!(plain.is_none() || found.is_some(), "{form} stands for {inner}: {plain:?}");
            }
        }

        #[test]
        fn what_the_standard_library_calls_special_is_refused(bits: u32, wide: u128) {
            let v4 = Ipv4Addr::from_bits(bits);
            let special = v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
            prop_assert!(!special || refusal(v4.into(), Source::Tenant, &[]).is_some());
            let v6 = Ipv6Addr::from_bits(wide);
            let special = v6.is_multicast() || v6.is_unique_local() || v6.is_unicast_link_local();
            prop_assert!(!special || refusal(v6.into(), Source::Tenant, &[]).is_some());
        }
    }
}
