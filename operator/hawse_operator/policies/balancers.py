"""What DNS says of a load balancer that reports a name. Pure; made by the resolver, kept by reconcile.balancers."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

IpAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Found:
    """What DNS says of a name now."""

    addresses: tuple[IpAddress, ...] = ()
    ttl_s: float = 0.0
    problem: str = ""
    """Why nothing is known."""
