"""Tunnel → IR: the open form and the closed one. Pure. Called by reconcile.tunnels.

Whether a Tunnel is open is decided in policies.serving; whether it holds its name, in policies.claims.
"""

from collections.abc import Sequence

from hawse_api import names, v1alpha1
from hawse_api.ir import ir_pb2
from hawse_operator.translate import shields, targets

CLOSED = names.BY_NAME["TUNNEL_CLOSED"]
ACCESS_UNAVAILABLE = names.BY_NAME["ACCESS_UNAVAILABLE"]


def tunnel_key(uid: str) -> str:
    """Key of a Tunnel in IR."""
    return f"tunnel/{uid}"


def certificate_id(uid: str) -> str:
    """Material id of a Tunnel's own certificate: exit nodes use it for this Tunnel's host name alone."""
    return f"certificate/tunnel-{uid}"


def url_of(hostname: str, fleet: v1alpha1.Fleet, port: int | None = None) -> str:
    """The address to visit; `port`: of a TCP tunnel."""
    if port is not None:
        return names.tcp_url(hostname, port)
    port = fleet.spec.listeners.https
    return f"https://{hostname}/" if port == 443 else f"https://{hostname}:{port}/"


def translate_tunnel(
    tunnel: v1alpha1.Tunnel,
    *,
    hostname: str,
    target: targets.Target,
    standby: targets.Target | None = None,
    generation: int,
    access: Sequence[str] = (),
) -> ir_pb2.Object:
    """The Tunnel as it is served; `standby` None: there is none, or what it would lead to is not there.

    `access`: UIDs of policies.
    """
    result = _base(tunnel, hostname, generation)
    targets.set_target(result.tunnel, target)
    if tunnel.spec.standby is not None and standby is not None:
        targets.set_standby(result.tunnel, tunnel.spec, standby)
    result.tunnel.app_protocol = targets.app_protocol(tunnel.spec, tunnel.spec.target)
    if tunnel.spec.is_tcp:
        result.tunnel.required_features.append(names.FEATURE_TCP)
    traffic = tunnel.spec.traffic
    result.tunnel.max_concurrent = traffic.max_concurrent
    timeouts = traffic.timeouts
    result.tunnel.timeouts.request_ms = targets.milliseconds(timeouts.request)
    result.tunnel.timeouts.idle_ms = targets.milliseconds(timeouts.idle)
    if access:
        result.tunnel.access_policy_uids.extend(access)
        result.tunnel.required_features.append(names.FEATURE_ACCESS)
    if traffic.shield is not None:
        shields.set_shield(result.tunnel, traffic.shield, tunnel.metadata.annotations)
    return result


def translate_closed_tunnel(
    tunnel: v1alpha1.Tunnel, *, hostname: str, generation: int, is_suspended: bool, lacks_policy: bool = False
) -> ir_pb2.Object:
    """The Tunnel as it is refused; `lacks_policy`: because there is no access policy to enforce.

    The words are for visitors: they name neither the reason in the cluster nor other tenants.
    """
    result = _base(tunnel, hostname, generation)
    closed = result.tunnel.closed
    if is_suspended:
        closed.code, closed.message = CLOSED.code, "Its owner has suspended it."
    elif lacks_policy:
        closed.code, closed.message = ACCESS_UNAVAILABLE.code, "Its access policy is not there."
    else:
        closed.code, closed.message = CLOSED.code, "Its owner has to mend its configuration."
    return result


def close(served: ir_pb2.Object) -> ir_pb2.Object:
    """The closed form of what was served, for a Tunnel whose spec cannot be read any more."""
    result = ir_pb2.Object()
    result.CopyFrom(served)
    result.tunnel.ClearField("target")
    result.tunnel.ClearField("standby")
    result.tunnel.ClearField("timeouts")
    result.tunnel.ClearField("max_concurrent")
    result.tunnel.ClearField("app_protocol")
    shields.clear_shield(result.tunnel)
    result.tunnel.closed.code = CLOSED.code
    result.tunnel.closed.message = "Its owner has to mend its configuration."
    return result


def _base(tunnel: v1alpha1.Tunnel, hostname: str, generation: int) -> ir_pb2.Object:
    return ir_pb2.Object(
        key=tunnel_key(tunnel.uid),
        tunnel=ir_pb2.Tunnel(
            uid=tunnel.uid,
            namespace=tunnel.namespace,
            name=tunnel.name,
            hostname=hostname,
            holder_generation=generation,
            certificate_id=certificate_id(tunnel.uid) if tunnel.spec.tls else "",
            tcp_port=(names.tcp_port_of(hostname) if tunnel.spec.is_tcp else None) or 0,
        ),
    )
