"""Targets of a Tunnel → IR. Pure. Called by reconcile.targets, with what was found of an object that a target names."""

from collections.abc import Sequence

from hawse_api import v1alpha1
from hawse_api.ir import ir_pb2

Target = ir_pb2.AgentTarget | ir_pb2.UrlTarget
_APP_PROTOCOLS = {
    v1alpha1.AppProtocol.HTTP1: ir_pb2.APP_PROTOCOL_HTTP1,
    v1alpha1.AppProtocol.H2C: ir_pb2.APP_PROTOCOL_H2C,
}


def app_protocol(spec: v1alpha1.TunnelSpec, target: v1alpha1.Target) -> ir_pb2.AppProtocol.ValueType:
    """What the app of a target speaks."""
    if spec.protocol is v1alpha1.Protocol.TCP:
        return ir_pb2.APP_PROTOCOL_TCP
    return _APP_PROTOCOLS[target.app_protocol]


def agent_target(token_uid: str) -> ir_pb2.AgentTarget:
    """Agents of a token."""
    return ir_pb2.AgentTarget(token_uid=token_uid)


def nobody() -> ir_pb2.AgentTarget:
    """In place of a target that is not there: requests find no agent and go to the standby."""
    return ir_pb2.AgentTarget()


def standby_uid(uid: str) -> str:
    """Under what the agents of a Tunnel's standby register (exit nodes offer it so)."""
    return f"{uid}/standby"


def url_target(url: str) -> ir_pb2.UrlTarget:
    """An app that exit nodes find by its name."""
    parts = v1alpha1.split_url(url)
    return ir_pb2.UrlTarget(scheme=parts.scheme, host=parts.host, port=parts.port)


def service_target(
    name: str, namespace: str, *, addresses: Sequence[str], port: int, is_tcp: bool = False
) -> ir_pb2.UrlTarget:
    """A Service at its ClusterIPs; the host is for logs."""
    scheme = v1alpha1.TCP_SCHEME if is_tcp else "http"
    return ir_pb2.UrlTarget(scheme=scheme, host=f"{name}.{namespace}.svc", port=port, addresses=addresses)


def set_standby(tunnel: ir_pb2.Tunnel, spec: v1alpha1.TunnelSpec, target: Target) -> None:
    """Let a second target take over."""
    standby, result = spec.standby, tunnel.standby
    assert standby is not None  # noqa: S101 - there is a target of it
    if isinstance(target, ir_pb2.AgentTarget):
        result.agent.CopyFrom(target)
    else:
        result.direct.CopyFrom(target)
    result.app_protocol = app_protocol(spec, standby.target)
    check = standby.health_check
    result.health_check.path = check.path
    result.health_check.interval_ms = milliseconds(check.interval)
    result.health_check.timeout_ms = milliseconds(check.timeout)
    result.health_check.unhealthy_threshold = check.unhealthy_threshold
    result.health_check.healthy_threshold = check.healthy_threshold
    result.failback_ms = milliseconds(standby.failback.after)


def milliseconds(duration: str) -> int:
    """A duration of the API as IR has it."""
    return round(v1alpha1.duration_s(duration) * 1000)


def set_target(tunnel: ir_pb2.Tunnel, target: Target) -> None:
    """Lead a tunnel there."""
    if isinstance(target, ir_pb2.AgentTarget):
        tunnel.agent.CopyFrom(target)
    else:
        tunnel.direct.CopyFrom(target)
