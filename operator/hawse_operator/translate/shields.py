"""Tunnel.spec.traffic.shield → IR. Pure. Called by translate.tunnels."""

from collections.abc import Mapping

from hawse_api import names, v1alpha1
from hawse_api.ir import ir_pb2
from hawse_operator.translate import targets

PURGE_LENGTH = 256
"""Characters of the annotation that count: annotations may hold 256 KiB, and this goes to every exit node."""


def set_shield(tunnel: ir_pb2.Tunnel, spec: v1alpha1.Shield, annotations: Mapping[str, str]) -> None:
    """Write the shield of an open Tunnel: an exit node that lacks it closes the tunnel."""
    shield = tunnel.shield
    shield.SetInParent()
    shield.collapse = spec.collapse
    shield.share_authorized = spec.share_authorized
    shield.ttl_ms = targets.milliseconds(spec.ttl) if spec.ttl else 0
    if spec.stale_if_error:
        shield.stale_if_error_ms = targets.milliseconds(spec.stale_if_error)
    if spec.stale_while_revalidate:
        shield.stale_while_revalidate_ms = targets.milliseconds(spec.stale_while_revalidate)
    shield.key_headers.extend(sorted({name.lower() for name in spec.key_headers}))
    shield.bypass_cookies.extend(spec.bypass_cookies)
    shield.purge = annotations.get(names.ANNOTATION_PURGE, "")[:PURGE_LENGTH]
    tunnel.required_features.append(names.FEATURE_SHIELD)


def clear_shield(tunnel: ir_pb2.Tunnel) -> None:
    """A closed Tunnel needs none: nodes that lack it can say the closed one's words."""
    tunnel.ClearField("shield")
    if names.FEATURE_SHIELD in tunnel.required_features:
        tunnel.required_features.remove(names.FEATURE_SHIELD)
