"""May an ExitNode be run, where is it reached, and does it serve.

Pure. Called by reconcile.exitnodes.
"""

import contextlib
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from hawse_api import names, v1alpha1
from hawse_operator.policies import facts, violations
from hawse_operator.policies.violations import Violation

Condition, Reason = names.Condition, names.Reason


@dataclass(frozen=True, slots=True)
class ExitNodeInput:
    """An ExitNode and its Fleet, as gathered."""

    exit_node: v1alpha1.ExitNode
    fleet: v1alpha1.Fleet | None
    fleet_names: tuple[str, ...]


DNS_GRACE_S = 10.0
"""After the TTL: what a pod's end takes to reach the zone, and resolvers that count in whole seconds."""
TURN_AWAY_S = 5.0
"""For endpoints of Services and load balancers."""


def min_drain_s(exit_node: v1alpha1.ExitNode, fleet: v1alpha1.Fleet) -> float:
    """How long a pod that stops goes on as before: until nobody is led to it any more."""
    if exit_node.spec.shutdown.min_drain_duration is not None:
        return v1alpha1.duration_s(exit_node.spec.shutdown.min_drain_duration)
    if fleet.spec.dns.type is v1alpha1.DnsType.NONE:
        return TURN_AWAY_S
    return v1alpha1.duration_s(fleet.spec.dns.ttl) + DNS_GRACE_S


def violations_of_exit_node(given: ExitNodeInput) -> tuple[Violation, ...]:
    """Why the ExitNode is not accepted: everything at once."""
    return violations.collect((fleet_exists,), given)


def fleet_exists(given: ExitNodeInput) -> Violation | None:
    """The Fleet is there."""
    if given.fleet is not None:
        return None
    wanted = given.exit_node.spec.fleet_name
    if wanted in given.fleet_names:
        return Violation(
            names.Reason.FLEET_NOT_READY,
            f'Fleet "{wanted}" is not accepted itself: kubectl describe fleet {wanted} shows why.',
        )
    return Violation(
        names.Reason.FLEET_NOT_FOUND,
        f'Fleet "{wanted}" does not exist. Existing: {violations.listed(given.fleet_names)}.',
    )


def desired_replicas(exit_node: v1alpha1.ExitNode, chosen: int | None) -> int:
    """How many pods there should be. `chosen`: what the Deployment says now; None: there is none yet.

    With an autoscaler that is its choice, as long as it keeps to the bounds: it does nothing about 0, for example.
    """
    spec = exit_node.spec
    if spec.autoscaling is None:
        return spec.replicas
    start = spec.replicas if chosen is None else chosen
    return min(max(start, spec.autoscaling.min_replicas), spec.autoscaling.max_replicas)


def judge_draining(exit_node: v1alpha1.ExitNode, pods: Sequence[facts.Pod]) -> v1alpha1.Judgement:
    """Draining of an ExitNode: all of it, because somebody asked for that, or some of its pods."""
    stopping = sum(pod.is_stopping for pod in pods)
    these = f"{stopping} pod{' is' if stopping == 1 else 's are'} stopping."
    if exit_node.spec.drain:
        message = "spec.drain is true: DNS gives it no new visitors." + (f" {these}" if stopping else "")
        return v1alpha1.judge(Condition.DRAINING, True, Reason.ASKED, message)
    if stopping:
        return v1alpha1.judge(Condition.DRAINING, True, Reason.PODS_STOPPING, these)
    return v1alpha1.judge(Condition.DRAINING, False, Reason.NOT_DRAINING)


def spread(groups: Sequence[Collection[str]], most: int) -> tuple[str, ...]:
    """At most so many of all groups' members, from every group the first before any group's second."""
    turns = itertools.zip_longest(*groups)
    members = dict.fromkeys(member for turn in turns for member in turn if member is not None)
    return tuple(members)[:most]


def addresses_of(
    exit_node: v1alpha1.ExitNode, pods: Sequence[facts.Pod], service_addresses: Sequence[str]
) -> tuple[str, ...]:
    """Addresses without ports at which visitors and agents find the ExitNode now."""
    address = exit_node.spec.address
    match address.type:
        case v1alpha1.AddressType.POD_IPS:
            return tuple(sorted(pod.ip for pod in pods if pod.is_ready and pod.ip))
        case v1alpha1.AddressType.SERVICE:
            return tuple(sorted(set(service_addresses)))
        case v1alpha1.AddressType.STATIC:
            return address.static.ips if address.static else ()


def names_among(addresses: Sequence[str]) -> tuple[str, ...]:
    """Those that are names: some load balancers report one."""
    return tuple(address for address in addresses if _ip_of(address) is None)


def ip_addresses(
    addresses: Sequence[str], resolved: Mapping[str, Sequence[IPv4Address | IPv6Address]]
) -> tuple[IPv4Address | IPv6Address, ...]:
    """The addresses in numbers. `resolved`: those of names."""
    found: dict[IPv4Address | IPv6Address, None] = {}
    for address in addresses:
        number = _ip_of(address)
        found.update(dict.fromkeys(resolved.get(address, ()) if number is None else (number,)))
    return tuple(found)


def _ip_of(address: str) -> IPv4Address | IPv6Address | None:
    with contextlib.suppress(ValueError):
        return ip_address(address)
    return None


def dial_addresses_of(
    exit_node: v1alpha1.ExitNode, pods: Sequence[facts.Pod], service_addresses: Sequence[str]
) -> tuple[str, ...]:
    """Addresses without ports that agents try.

    A pod that is not ready (yet, or for a moment) counts: whoever is told the list just then would otherwise forget a
    region until its next renewal.
    """
    if exit_node.spec.address.type is v1alpha1.AddressType.POD_IPS:
        return tuple(sorted(pod.ip for pod in pods if pod.ip and not pod.is_ending))
    return addresses_of(exit_node, pods, service_addresses)


def peers_among(pods: Iterable[facts.Pod]) -> tuple[facts.Pod, ...]:
    """Pods that exit nodes carry visitors to.

    One that is not ready, or that drains, has visitors or agents all the same.
    """
    return tuple(pod for pod in pods if pod.ip and not pod.has_ended)


def agents_port(exit_node: v1alpha1.ExitNode, fleet: v1alpha1.Fleet) -> int:
    """UDP port that belongs to those addresses: a pod's own, or the Fleet's public one."""
    if exit_node.spec.address.type is v1alpha1.AddressType.POD_IPS:
        return names.PORT_AGENTS
    return fleet.spec.listeners.agents


def links_tcp_port(exit_node: v1alpha1.ExitNode, fleet: v1alpha1.Fleet) -> int:
    """TCP port that belongs to those addresses, where agents come in whose UDP is blocked: that of the visitors."""
    if exit_node.spec.address.type is v1alpha1.AddressType.POD_IPS:
        return names.PORT_HTTPS
    return fleet.spec.listeners.https


def with_port(address: str, port: int) -> str:
    """`203.0.113.7:7443`, `[2001:db8::1]:7443`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
