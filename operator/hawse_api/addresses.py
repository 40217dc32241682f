"""Which addresses exit nodes dial for a tenant's target: the edge's rules, for addresses known beforehand. Pure.

The edge judges for itself, each time that it dials (exitnode/core/edge/src/direct/addresses.rs): this is for the
message in a Tunnel's status, and for what Python dials for a tenant (providers of identity). Both are tested with one
table. Called by the operator's policies.targets and by hawse_identity.
"""

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PRIVATE = "a private range"
"""Also where clusters have their Services, which may lead there."""
LOOPBACK = "loopback"
LINK_LOCAL = "link-local, where clouds keep their metadata"
METADATA = "a cloud's metadata service"
MULTICAST = "multicast"
RESERVED = "reserved"
DOCUMENTATION = "for documentation"
TRANSLATED = "a tunnelling or translation range"

_RANGES = tuple(
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", RESERVED),
        ("10.0.0.0/8", PRIVATE),
        ("100.100.100.200/32", METADATA),
        ("100.64.0.0/10", PRIVATE),
        ("127.0.0.0/8", LOOPBACK),
        ("168.63.129.16/32", METADATA),
        ("169.254.0.0/16", LINK_LOCAL),
        ("172.16.0.0/12", PRIVATE),
        ("192.0.0.0/24", RESERVED),
        ("192.0.2.0/24", DOCUMENTATION),
        ("192.88.99.0/24", TRANSLATED),
        ("192.168.0.0/16", PRIVATE),
        ("198.18.0.0/15", RESERVED),
        ("198.51.100.0/24", DOCUMENTATION),
        ("203.0.113.0/24", DOCUMENTATION),
        ("224.0.0.0/4", MULTICAST),
        ("240.0.0.0/4", RESERVED),
        ("::1/128", LOOPBACK),
        ("::/96", RESERVED),
        ("::ffff:0:0:0/96", TRANSLATED),
        ("64:ff9b:1::/48", TRANSLATED),
        ("fe80::/10", LINK_LOCAL),
        ("fd00:ec2::/32", METADATA),
        ("fc00::/7", PRIVATE),
        ("ff00::/8", MULTICAST),
        ("2001:db8::/32", DOCUMENTATION),
        ("3fff::/20", DOCUMENTATION),
        ("2001::/23", TRANSLATED),
    )
)
_GLOBAL = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_6TO4 = ipaddress.ip_network("2002::/16")


def refusal(address: str, allowed: Sequence[str], *, is_service: bool) -> str | None:
    """What forbids an address; None: it may be dialled. A Service may have an address of a private range."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if any(parsed in ipaddress.ip_network(network, strict=False) for network in allowed):
        return None
    why = _what_is(parsed)
    return None if is_service and why == PRIVATE else why


def _what_is(address: Address) -> str | None:
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None and (inside := _what_is(inner)) is not None:
            return inside
    for network, why in _RANGES:
        if address in network:
            return why
    if isinstance(address, ipaddress.IPv4Address):
        return None
    is_reached = address in _GLOBAL or address in _NAT64
    return None if is_reached else RESERVED


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: NAT64, 6to4, ISATAP."""
    bits = int(address)
    if address in _6TO4:
        return ipaddress.IPv4Address(bits >> 80 & 0xFFFFFFFF)
    is_isatap = bits >> 32 & 0xFDFFFFFF == 0x5EFE
    return ipaddress.IPv4Address(bits & 0xFFFFFFFF) if is_isatap or address in _NAT64 else None
