"""The NetworkPolicy that lets visitors of TCP tunnels reach an ExitNode's pods. Pure. Called by reconcile.exitnodes.

Policies add up: the chart's own has the ports that are always there, and without that one there is none of ours either,
since a pod that no policy selects takes everything.
"""

from collections.abc import Sequence
from typing import Any

from hawse_api import v1alpha1
from hawse_operator.manifests import metadata

JsonObject = dict[str, Any]


def build_network_policy(
    exit_node: v1alpha1.ExitNode, *, namespace: str, tcp_ports: Sequence[int]
) -> JsonObject | None:
    """The policy for ports in use; None: there are none."""
    if not tcp_ports:
        return None
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": metadata.child_name(exit_node.name, exit_node.uid),
            "namespace": namespace,
            "labels": metadata.exit_node_labels(exit_node),
            "ownerReferences": [metadata.owner_reference(exit_node)],
        },
        "spec": {
            "podSelector": {"matchLabels": metadata.exit_node_selector(exit_node.name)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": port, "protocol": "TCP"} for port in tcp_ports]}],
        },
    }
