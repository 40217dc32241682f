"""The ports of TCP Tunnels, as the cache has them, and the claim on one that nobody asked for.

What is decided is in policies.ports; the claim itself is reconcile.claiming's, as for every name. Called by
reconcile.tunnels and reconcile.exitnodes.
"""

from collections.abc import Set

from hawse_api import names, v1alpha1
from hawse_operator import errors
from hawse_operator.policies import claims, ports
from hawse_operator.reconcile import claiming
from hawse_operator.reconcile.context import Context
from hawse_operator.reconcile.world import World

ATTEMPTS = 16
"""Tunnels that are applied at once want the same lowest port; the others try the next."""


def own_hostname(world: World, tunnel: v1alpha1.Tunnel, fleet: v1alpha1.Fleet, namespace_uid: str) -> str | None:
    """The name of the port that a Tunnel asks for or that is kept for it; None: one has to be assigned."""
    found = world.reservations_of(tunnel.namespace, namespace_uid, tunnel.name)
    here = ((names.tcp_port_of(one.name), one) for one in found if one.name.partition(".")[2] == fleet.spec.domain)
    kept = [ports.Kept(port, not one.spec.is_released) for port, one in here if port is not None]
    port = ports.own_port(tunnel.spec.port, v1alpha1.port_range(fleet.spec.tcp_ports), kept)
    return ports.hostname_of(port, fleet.spec.domain) if port is not None else None


async def claim_any(
    context: Context, fleet: v1alpha1.Fleet, claimant: claims.Claimant
) -> tuple[str | None, claims.Claim]:
    """The name of the port that was assigned, or why none was.

    Raises:
        errors.Conflict: others were faster again and again.
    """
    for _ in range(ATTEMPTS):
        under_way = frozenset().union(*context.claims_under_way.values())
        port, held = _look_for(context.world, fleet, claimant.namespace_uid, under_way)
        if port is None:
            return None, claims.Refused(ports.none_left(fleet, held=held))
        hostname = ports.hostname_of(port, fleet.spec.domain)
        claim = await claiming.claim_name(context, hostname, claimant, fleet.spec.quotas, may_claim=True)
        match claim:
            case claims.Held():
                return hostname, claim
            case claims.Refused(violation) if not ports.is_lost(violation.reason):
                return None, claim
    raise errors.Conflict(f"the ports of Fleet {fleet.name} are contested")


def _look_for(world: World, fleet: v1alpha1.Fleet, namespace_uid: str, under_way: Set[str]) -> tuple[int | None, int]:
    """A port to claim, and how many are held."""
    allowed = v1alpha1.port_range(fleet.spec.tcp_ports)
    hostnames = {port: ports.hostname_of(port, fleet.spec.domain) for port in allowed}
    found = {port: one for port, hostname in hostnames.items() if (one := world.reservation(hostname)) is not None}
    taken = {port for port, hostname in hostnames.items() if port in found or hostname in under_way}
    own = {
        port
        for port, one in found.items()
        if one.spec.is_released
        and one.spec.claim_ref.namespace_uid == namespace_uid
        and hostnames[port] not in under_way
    }
    return ports.free_port(allowed, taken, own), sum(not one.spec.is_released for one in found.values())


def in_use(world: World, fleet: v1alpha1.Fleet) -> tuple[int, ...]:
    """Ports of a fleet that Tunnels hold: what its exit nodes' Services and NetworkPolicies let through."""
    allowed = v1alpha1.port_range(fleet.spec.tcp_ports)
    found = ((port, world.reservation(ports.hostname_of(port, fleet.spec.domain))) for port in allowed)
    return tuple(port for port, one in found if one is not None and not one.spec.is_released)
