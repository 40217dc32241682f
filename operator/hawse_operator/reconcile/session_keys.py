"""Gives exit nodes the keys of a Tunnel's sessions, while a policy of it lets visitors sign in.

Derived, never stored: the same holder of a name has the same keys after every restart. Called by reconcile.tunnels.
"""

from hawse_operator.policies import tunnels
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import session_keys


def publish(context: Context, given: tunnels.TunnelInput, *, generation: int) -> None:
    """Put the keys where the Tunnel is served, or take them away."""
    fleet = given.fleet
    reservation = context.world.reservation(given.hostname) if given.hostname else None
    signs_in = any(named.policy is not None and named.policy.spec.oidc is not None for named in given.policies)
    if fleet is None or reservation is None or not signs_in:
        retract(context, given.tunnel.spec.fleet_name, given.tunnel.uid)
        return
    keys = session_keys.derive(
        context.session_root, fleet_uid=fleet.uid, reservation_uid=reservation.uid, generation=generation
    )
    context.hub.put_material(fleet.name, session_keys.material_id(given.tunnel.uid), keys)


def retract(context: Context, fleet: str, tunnel_uid: str) -> None:
    """Take the keys away: who was signed in is not any more."""
    context.hub.retract(fleet, f"material/{session_keys.material_id(tunnel_uid)}")
