"""The Service in front of an ExitNode's pods. Pure. Called by reconcile.exitnodes."""

from collections.abc import Sequence
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator.manifests import metadata

JsonObject = dict[str, Any]


def serves_http3(exit_node: v1alpha1.ExitNode) -> bool:
    """Whether the exit node's pods speak HTTP/3."""
    service = exit_node.spec.address.service or v1alpha1.ServiceAddress()
    return service.http3 is v1alpha1.Http3.ENABLED


def build_service(
    exit_node: v1alpha1.ExitNode, fleet: v1alpha1.Fleet, *, namespace: str, tcp_ports: Sequence[int] = ()
) -> JsonObject | None:
    """The Service on the Fleet's public ports and those of TCP tunnels; None if the ExitNode's address is not one."""
    address = exit_node.spec.address
    if address.type is not v1alpha1.AddressType.SERVICE:
        return None
    service = address.service or v1alpha1.ServiceAddress()
    body: JsonObject = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": metadata.child_name(exit_node.name, exit_node.uid),
            "namespace": namespace,
            "labels": metadata.exit_node_labels(exit_node),
            "ownerReferences": [metadata.owner_reference(exit_node)],
        },
        "spec": {
            "type": service.type.value,
            "selector": metadata.exit_node_selector(exit_node.name),
            "ports": [*_ports(fleet.spec.listeners, http3=serves_http3(exit_node)), *map(_tcp_port, tcp_ports)],
        },
    }
    if service.annotations:
        body["metadata"]["annotations"] = dict(service.annotations)
    if service.type is not v1alpha1.ServiceType.CLUSTER_IP:
        # Keeps the visitor's address, which rules and logs need, and saves a hop.
        body["spec"]["externalTrafficPolicy"] = "Local"
    return body


def _ports(listeners: v1alpha1.Listeners, *, http3: bool) -> list[JsonObject]:
    ports = [
        {"name": "https", "port": listeners.https, "targetPort": "https", "protocol": "TCP"},
        {"name": "agents", "port": listeners.agents, "targetPort": "agents", "protocol": "UDP"},
    ]
    # A Service has one UDP port of a number; agents come first.
    if http3 and listeners.https != listeners.agents:
        ports.insert(1, {"name": "http3", "port": listeners.https, "targetPort": "http3", "protocol": "UDP"})
    return ports


def _tcp_port(port: int) -> JsonObject:
    """Pods listen on the number that visitors know."""
    return {"name": names.tcp_label(port), "port": port, "targetPort": port, "protocol": "TCP"}


def addresses_of_service(body: JsonObject | None) -> tuple[str, ...]:
    """Where a Service is reached from outside; a ClusterIP Service: at its cluster address."""
    if body is None:
        return ()
    ingress = ((body.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    found = [str(item.get("ip") or item.get("hostname") or "") for item in ingress]
    spec = body.get("spec") or {}
    if not any(found) and spec.get("type") == v1alpha1.ServiceType.CLUSTER_IP.value:
        found = [str(spec.get("clusterIP") or "")]
    return tuple(sorted(address for address in found if address and address != "None"))


OWNED_LABELS = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
"""Selector of everything that the operator made."""
