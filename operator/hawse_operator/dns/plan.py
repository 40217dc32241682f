"""A fleet, its exit nodes and the Tunnels with a placement of their own → the records that DNS should carry.

O(1) for the fleet: the wildcard and the domain itself carry the fleet's pool, `connect.<domain>` leads agents. Where
nobody is effective (all unready, all draining) the pool still names who might answer: an answer is never empty. Pure.
Called by reconcile.dns.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hawse_api import v1alpha1
from hawse_operator.dns import weights
from hawse_operator.dns.records import (
    Answer,
    Endpoint,
    IpAddress,
    IpNetwork,
    Plan,
    Pool,
    Record,
    Tier,
    View,
)
from hawse_operator.dns.weights import Node

CONNECT = "connect"
Policy = v1alpha1.PlacementPolicy


@dataclass(frozen=True, slots=True)
class Near:
    """Client networks that are near a region."""

    region: str
    networks: tuple[IpNetwork, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A Tunnel that wants a record of its own, under the name that it holds."""

    uid: str
    hostname: str
    policy: v1alpha1.PlacementPolicy
    regions: tuple[tuple[str, int], ...]
    """Names and weights, in order; empty: all of the fleet."""
    sticky: bool = False


@dataclass(frozen=True, slots=True)
class PlanInput:
    """Everything that decides, as gathered."""

    domain: str
    ttl_s: int
    nodes: tuple[Node, ...]
    near: tuple[Near, ...] = ()
    placed: tuple[Placed, ...] = ()
    sticky: bool = False


Weigh = Callable[[Node], int]
"""Share of a node as a whole; 0: it is spare."""


def build_plan(given: PlanInput) -> Plan:
    """The records of a fleet."""
    fleet = _weighted(given.nodes, _effective, sticky=given.sticky)
    agents = _nearest(given.nodes, given, _ready, answer=Answer.ALL)
    records = [
        Record(given.domain, fleet),
        Record(f"*.{given.domain}", fleet),
        Record(f"{CONNECT}.{given.domain}", agents),
        *(
            Record(placed.hostname, _pool_of(placed, given), (placed.uid,))
            for placed in sorted(given.placed, key=lambda one: (one.hostname, one.uid))
        ),
    ]
    unique: dict[str, Record] = {}
    for record in records:
        unique.setdefault(record.name, record)
    return Plan(given.domain, given.ttl_s, tuple(unique.values()))


def _pool_of(placed: Placed, given: PlanInput) -> Pool:
    factors = dict(placed.regions)
    nodes = tuple(node for node in given.nodes if not factors or node.region in factors)
    match placed.policy:
        case Policy.WEIGHTED:
            return _weighted(nodes, lambda node: factors.get(node.region, 1) * _effective(node), sticky=placed.sticky)
        case Policy.FAILOVER:
            order = list(factors) or sorted({node.region for node in nodes})
            groups = [[node for node in nodes if node.region == region] for region in order]
            return _pool(groups, nodes, _effective, sticky=placed.sticky)
        case Policy.NEAREST:
            return _nearest(nodes, given, _effective, sticky=placed.sticky)


def _effective(node: Node) -> int:
    return 0 if node.drains else node.weight * weights.ready_share(node)


def _ready(node: Node) -> int:
    """Agents connect to every exit node alike, whatever share of the visitors it gets."""
    return 0 if node.drains else weights.ready_share(node)


def _weighted(nodes: Sequence[Node], weigh: Weigh, *, sticky: bool) -> Pool:
    return _pool([nodes], nodes, weigh, sticky=sticky)


def _nearest(
    nodes: Sequence[Node], given: PlanInput, weigh: Weigh, *, sticky: bool = False, answer: Answer = Answer.ONE
) -> Pool:
    places = _places(given.nodes)
    ordered = ((near, _tiers(_by_distance(nodes, near.region, places), weigh)) for near in given.near)
    views = tuple(View(near.networks, tiers) for near, tiers in ordered if tiers)
    return _pool([nodes], nodes, weigh, views=views, sticky=sticky, answer=answer)


def _pool(
    groups: Iterable[Sequence[Node]],
    nodes: Sequence[Node],
    weigh: Weigh,
    *,
    views: tuple[View, ...] = (),
    sticky: bool = False,
    answer: Answer = Answer.ONE,
) -> Pool:
    tiers = _tiers(groups, weigh)
    chosen = {endpoint.address for tier in tiers for endpoint in tier}
    spare = tuple(endpoint for endpoint in _tier(nodes, lambda _: 1) if endpoint.address not in chosen)
    if not tiers and spare:
        # Nobody is effective. Whom the platform team wants and who is not ready may still answer; then whoever drains.
        wanted = _tier(nodes, lambda node: 0 if node.drains else node.weight)
        tiers = (wanted or spare,)
        spare = tuple(one for one in spare if wanted and one.address not in {other.address for other in wanted})
    return Pool(tiers, spare, views, answer, sticky)


def _tiers(groups: Iterable[Sequence[Node]], weigh: Weigh) -> tuple[Tier, ...]:
    return tuple(tier for group in groups if (tier := _tier(group, weigh)))


def _tier(nodes: Sequence[Node], weigh: Weigh) -> Tier:
    """Endpoints of the nodes that have a share, which is spread evenly over the addresses of each."""
    common = math.lcm(*(len(node.addresses) for node in nodes if node.addresses))
    shares: dict[IpAddress, tuple[int, Node]] = {}
    for node in sorted(nodes, key=lambda one: one.name):
        share = weigh(node)
        for address in node.addresses if share else ():
            before, first = shares.get(address, (0, node))
            shares[address] = (before + share * common // len(node.addresses), first)
    addresses = weights.sorted_addresses(shares)
    scaled = weights.scaled([shares[address][0] for address in addresses])
    return tuple(
        Endpoint(address, shares[address][1].port, weight, shares[address][1].name)
        for address, weight in zip(addresses, scaled, strict=True)
    )


# --- nearness --------------------------------------------------------------------------------------------------------
def _by_distance(nodes: Sequence[Node], home: str, places: Mapping[str, tuple[float, float]]) -> list[list[Node]]:
    """The region itself, the others from near to far, and at the end together those whose place is not known."""
    regions = sorted({node.region for node in nodes} - {home})
    start = places.get(home)
    known = [region for region in regions if start is not None and region in places]
    if start is not None:
        known.sort(key=lambda region: (_distance_km(start, places[region]), region))
    groups = [[home], *([region] for region in known), [region for region in regions if region not in known]]
    return [[node for node in nodes if node.region in group] for group in groups]


def _places(nodes: Iterable[Node]) -> Mapping[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for node in sorted(nodes, key=lambda one: one.name):
        if node.location is not None:
            found.setdefault(node.region, node.location)
    return found


def _distance_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Along the great circle (haversine)."""
    latitudes = math.radians(one[0]), math.radians(other[0])
    half = math.sin((latitudes[1] - latitudes[0]) / 2) ** 2
    half += math.cos(latitudes[0]) * math.cos(latitudes[1]) * math.sin(math.radians(other[1] - one[1]) / 2) ** 2
    return 2 * 6_371.0 * math.asin(min(1.0, math.sqrt(half)))
