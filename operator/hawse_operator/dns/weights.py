"""Effective weights: region weight * ExitNode weight * ready share * 0 while it drains.

Pure, in whole numbers, so that the same cluster always gives the same records. Called by plan, and by the reconcilers
of ExitNodes and Tunnels for their status.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hawse_operator.dns.records import IpAddress

SHARE = 1_000
"""Ready shares are counted in thousandths."""
TOTAL_MAX = 1_000_000
"""Largest sum of weights in a record: PowerDNS adds them up in 32 bits."""


@dataclass(frozen=True, slots=True)
class Node:
    """An ExitNode as DNS sees it."""

    name: str
    region: str
    weight: int
    drains: bool
    ready: int
    """Pods that are ready."""
    wanted: int
    """Pods that there should be."""
    addresses: tuple[IpAddress, ...]
    port: int
    """TCP port of visitors at these addresses."""
    location: tuple[float, float] | None = None
    """Latitude and longitude in degrees."""


@dataclass(frozen=True, slots=True)
class RegionWeight:
    """What a region comes to."""

    weight: int = 0
    """What was asked for."""
    effective: int = 0
    addresses: tuple[IpAddress, ...] = field(default=())


def ready_share(node: Node) -> int:
    """Thousandths of the wanted pods that are ready; at least 1 if any is."""
    if node.ready <= 0:
        return 0
    return min(SHARE, max(1, SHARE * node.ready // max(1, node.wanted)))


def effective_weight(node: Node) -> int:
    """Weight * ready share, 0 while it drains; at least 1 where it is not 0."""
    product = 0 if node.drains else node.weight * ready_share(node)
    return max(1, product // SHARE) if product else 0


def of_regions(nodes: Sequence[Node], region_weights: Mapping[str, int] | None) -> dict[str, RegionWeight]:
    """Weight and effective weight of each region that is asked for. None: all regions, each once."""
    result = {}
    for region in sorted({node.region for node in nodes} | set(region_weights or ())):
        if region_weights is not None and region not in region_weights:
            continue
        factor = 1 if region_weights is None else region_weights[region]
        members = [node for node in nodes if node.region == region]
        result[region] = RegionWeight(
            factor * sum(node.weight for node in members),
            factor * sum(effective_weight(node) for node in members),
            tuple(sorted({address for node in members for address in node.addresses}, key=_order)),
        )
    return result


def scaled(weights: Sequence[int]) -> tuple[int, ...]:
    """The same proportions in small whole numbers, at most TOTAL_MAX together; what is not 0 stays at least 1."""
    divisor = math.gcd(*weights) if weights else 1
    small = [weight // divisor for weight in weights] if divisor else list(weights)
    total = sum(small)
    if total > TOTAL_MAX:
        room = TOTAL_MAX - len(small)
        small = [max(1, weight * room // total) if weight else 0 for weight in small]
    return tuple(small)


def _order(address: IpAddress) -> tuple[int, int]:
    return address.version, int(address)


def sorted_addresses(addresses: Iterable[IpAddress]) -> tuple[IpAddress, ...]:
    """IPv4 first, each family by number."""
    return tuple(sorted(addresses, key=_order))
