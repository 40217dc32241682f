"""Which port a TCP Tunnel has: the one that it asks for, the one that is kept for it, or the lowest free one.

A port is a name, `tcp-<port>` under the Fleet's domain: who gets it is policies.claims' matter, as for every name. Here
is only which one is claimed. Pure. Called by reconcile.ports.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hawse_api import names, v1alpha1
from hawse_operator.policies.violations import Violation


@dataclass(frozen=True, slots=True)
class Kept:
    """A port whose reservation names this Tunnel."""

    port: int
    is_held: bool
    """False: a tombstone."""


def hostname_of(port: int, domain: str) -> str:
    """The name that stands for a port, also the name of its SubdomainReservation."""
    return f"{names.tcp_label(port)}.{domain}"


def own_port(asked: int | None, allowed: range, kept: Sequence[Kept]) -> int | None:
    """The port that a Tunnel has or wants, whatever others have; None: any will do.

    One that it holds stays, also outside a range that was changed: nobody's visitors are led elsewhere by an edit.
    """
    if asked is not None:
        return asked
    held = [one.port for one in kept if one.is_held]
    return min(held or [one.port for one in kept if one.port in allowed], default=None)


def free_port(allowed: range, taken: Collection[int], own_tombstones: Collection[int]) -> int | None:
    """The lowest port that has no reservation; if there is none, the lowest that is kept for the same namespace."""
    for port in allowed:
        if port not in taken:
            return port
    return min((port for port in own_tombstones if port in allowed), default=None)


def none_left(fleet: v1alpha1.Fleet, *, held: int) -> Violation:
    """Why no port can be assigned."""
    count = len(v1alpha1.port_range(fleet.spec.tcp_ports))
    kept = count - held
    tombstones = f", {kept} are kept for the namespaces that released them" if kept else ""
    return Violation(
        names.Reason.NO_PORT_LEFT,
        f"None of the {count} ports {fleet.spec.tcp_ports} of Fleet {fleet.name} is free: {held} are held{tombstones}. "
        "Ask the platform team for a wider spec.tcpPorts, or for released ones to be deleted (kubectl get "
        "subdomainreservations).",
    )


def is_lost(reason: str) -> bool:
    """Whether somebody else was faster, so that another port is tried."""
    return reason in (names.Reason.NAME_TAKEN, names.Reason.TOMBSTONE, names.Reason.NAMESPACE_RECREATED)
