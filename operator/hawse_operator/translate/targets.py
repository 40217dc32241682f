"""Targets of a Tunnel → IR. Pure. Called by reconcile.targets, with what was found of an object that a target names."""

from collections.abc import Sequence

from hawse_api import v1alpha1
from hawse_api.ir import ir_pb2

Target = ir_pb2.AgentTarget | ir_pb2.UrlTarget


def agent_target(token_uid: str) -> ir_pb2.AgentTarget:
    """Agents of a token."""
    return ir_pb2.AgentTarget(token_uid=token_uid)


def url_target(url: str) -> ir_pb2.UrlTarget:
    """An app that exit nodes find by its name."""
    parts = v1alpha1.split_url(url)
    return ir_pb2.UrlTarget(scheme=parts.scheme, host=parts.host, port=parts.port)


def service_target(name: str, namespace: str, *, addresses: Sequence[str], port: int) -> ir_pb2.UrlTarget:
    """A Service at its ClusterIPs; the host is for logs."""
    return ir_pb2.UrlTarget(scheme="http", host=f"{name}.{namespace}.svc", port=port, addresses=addresses)


def set_target(tunnel: ir_pb2.Tunnel, target: Target) -> None:
    """Lead a tunnel there."""
    if isinstance(target, ir_pb2.AgentTarget):
        tunnel.agent.CopyFrom(target)
    else:
        tunnel.direct.CopyFrom(target)
