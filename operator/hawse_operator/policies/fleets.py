"""May a Fleet be served, and which Fleets use a namespace or belong to a host name.

Pure. Called by the reconcilers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hawse_api import names, v1alpha1
from hawse_operator.policies import hosts, violations
from hawse_operator.policies.violations import Violation


@dataclass(frozen=True, slots=True)
class FleetInput:
    """A Fleet among the others."""

    fleet: v1alpha1.Fleet
    others: tuple[v1alpha1.Fleet, ...]


def violations_of_fleet(given: FleetInput) -> tuple[Violation, ...]:
    """Why the Fleet is not accepted."""
    return violations.collect((domain_is_its_own,), given)


def overlaps(one: str, other: str) -> bool:
    """Whether two domains are the same or one lies below the other."""
    return hosts.is_within(one, other) or hosts.is_within(other, one)


def domain_is_its_own(given: FleetInput) -> Violation | None:
    """No older Fleet has an overlapping domain: the older one keeps serving, the newer one is refused.

    Age decides here, unlike for names of tunnels: Fleets have no reservation, and only the platform team makes them.
    """
    mine = _age(given.fleet)
    for other in sorted(given.others, key=_age):
        if _age(other) < mine and overlaps(given.fleet.spec.domain, other.spec.domain):
            return Violation(
                names.Reason.DOMAIN_OVERLAP,
                f'The domain {given.fleet.spec.domain} overlaps {other.spec.domain} of Fleet "{other.name}". '
                "Fleets neither share nor nest domains: choose another domain.",
            )
    return None


def _age(fleet: v1alpha1.Fleet) -> tuple[str, str]:
    created = fleet.metadata.creation_timestamp
    return (created.isoformat() if created else "", fleet.name)


def fleet_of_host(hostname: str, fleets: Iterable[v1alpha1.Fleet]) -> v1alpha1.Fleet | None:
    """The Fleet whose domain a host name hangs below."""
    parent = hostname.partition(".")[2]
    return next((fleet for fleet in fleets if fleet.spec.domain == parent), None)


def fleet_of_token(wanted: Sequence[str], fleets: Sequence[v1alpha1.Fleet]) -> v1alpha1.Fleet | None:
    """The Fleet that a token's text leads to: the one that its Tunnels name, else `default`, else the only one.

    `wanted` are the Fleets that Tunnels with this token name. An AgentToken names no Fleet itself: binding is said
    once, in the Tunnel.
    """
    by_name = {fleet.name: fleet for fleet in fleets}
    for name in sorted(wanted):
        if name in by_name:
            return by_name[name]
    if "default" in by_name:
        return by_name["default"]
    return fleets[0] if len(fleets) == 1 else None
