"""Where a Tunnel is served and with which weight, for its status. Pure. Called by reconcile.tunnels."""

from collections.abc import Mapping, Sequence

from hawse_api import v1alpha1
from hawse_operator.dns import weights
from hawse_operator.dns.weights import Node, RegionWeight

ADDRESSES_MAX = 64


def asked_of(tunnel: v1alpha1.Tunnel) -> dict[str, int] | None:
    """Weights of the regions that the Tunnel names; None: it names none. Failover and Nearest take all alike."""
    placement = tunnel.spec.placement
    if placement is None or not placement.regions:
        return None
    is_weighted = placement.policy is v1alpha1.PlacementPolicy.WEIGHTED
    return {region.name: region.weight if is_weighted else 1 for region in placement.regions}


def with_weights(
    served: Sequence[v1alpha1.RegionStatus], tunnel: v1alpha1.Tunnel, nodes: Sequence[Node]
) -> tuple[v1alpha1.RegionStatus, ...]:
    """Regions that serve it, and those that it names, with weights and addresses.

    A region that it does not name serves it too, but DNS leads nobody there: weight 0.
    """
    asked = asked_of(tunnel)
    found = weights.of_regions(nodes, asked)
    ready = {region.name: region.ready for region in served}
    names = sorted({*ready, *(asked or ())})
    return tuple(_status(name, ready.get(name, False), found) for name in names)


def _status(name: str, ready: bool, found: Mapping[str, RegionWeight]) -> v1alpha1.RegionStatus:
    weight = found.get(name, RegionWeight())
    return v1alpha1.RegionStatus(
        name=name,
        ready=ready,
        weight=weight.weight,
        effective_weight=weight.effective,
        addresses=tuple(str(address) for address in weight.addresses[:ADDRESSES_MAX]),
    )
