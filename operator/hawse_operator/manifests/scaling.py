"""What Kubernetes has around an ExitNode's Deployment for several pods: HorizontalPodAutoscaler, PodDisruptionBudget.

Pure. Called by reconcile.exitnodes.
"""

from typing import Any

from hawse_api import v1alpha1
from hawse_operator.manifests import deployments, metadata

JsonObject = dict[str, Any]
CONNECTIONS_METRIC = "hawse_edge_connections_open"
"""Gauge of an exit node's pod (exitnode/hawse_exitnode/metrics.py)."""


def build_autoscaler(exit_node: v1alpha1.ExitNode, *, namespace: str) -> JsonObject | None:
    """The autoscaler of the ExitNode's Deployment; None: spec.replicas says how many pods there are."""
    autoscaling = exit_node.spec.autoscaling
    if autoscaling is None:
        return None
    described = _metadata(exit_node, namespace)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": described,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": described["name"]},
            "minReplicas": autoscaling.min_replicas,
            "maxReplicas": autoscaling.max_replicas,
            "metrics": _metrics(autoscaling),
        },
    }


def _metrics(autoscaling: v1alpha1.Autoscaling) -> list[JsonObject]:
    found: list[JsonObject] = []
    if autoscaling.target_cpu is not None:
        # Of our container alone: one that a podTemplatePatch adds without a request would stop the autoscaler.
        target = {"type": "Utilization", "averageUtilization": autoscaling.target_cpu}
        source = {"name": "cpu", "container": deployments.CONTAINER, "target": target}
        found.append({"type": "ContainerResource", "containerResource": source})
    if autoscaling.target_connections is not None:
        target = {"type": "AverageValue", "averageValue": str(autoscaling.target_connections)}
        found.append({"type": "Pods", "pods": {"metric": {"name": CONNECTIONS_METRIC}, "target": target}})
    return found


def with_replicas(deployment: JsonObject, replicas: int, live: JsonObject | None) -> JsonObject:
    """The Deployment of an autoscaled ExitNode as it can be applied: with the replicas that were chosen.

    To leave them out would take them away, for we own the field from the Deployment's creation on: one pod would be
    left. So they are repeated, and only over the version (`live`) that they were read from. They are no part of the
    fingerprint, which `deployment` has already.
    """
    version = {"resourceVersion": live["metadata"]["resourceVersion"]} if live is not None else {}
    return {
        **deployment,
        "metadata": {**deployment["metadata"], **version},
        "spec": {**deployment["spec"], "replicas": replicas},
    }


def build_disruption_budget(exit_node: v1alpha1.ExitNode, *, namespace: str) -> JsonObject | None:
    """Lets one pod be evicted at a time. None for an ExitNode that never has two: there it would protect nothing."""
    if exit_node.spec.most_replicas <= 1:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(exit_node, namespace),
        "spec": {
            # Not minAvailable, which would stop every drain of a node while an autoscaler is down to one pod.
            "maxUnavailable": 1,
            "selector": {"matchLabels": metadata.exit_node_selector(exit_node.name)},
            # A pod that serves nobody is nothing to wait for.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _metadata(exit_node: v1alpha1.ExitNode, namespace: str) -> JsonObject:
    return {
        "name": metadata.child_name(exit_node.name, exit_node.uid),
        "namespace": namespace,
        "labels": metadata.exit_node_labels(exit_node),
        "ownerReferences": [metadata.owner_reference(exit_node)],
    }
