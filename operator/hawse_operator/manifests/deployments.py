"""The Deployment of an ExitNode (docs/design/0001-contracts.md §3). Pure. Called by reconcile.exitnodes."""

import math
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator.manifests import merging, metadata, services

JsonObject = dict[str, Any]
TOKEN_DIRECTORY = "/var/run/secrets/hawse"  # noqa: S105 - a path
CA_DIRECTORY = "/etc/hawse/ca"
STATE_DIRECTORY = "/var/lib/hawse"
TOKEN_SECONDS = 3600
"""Life of the projected ServiceAccount token; the kubelet renews it at 80 %."""
STOP_MARGIN_S = 15
"""On top of both drain times: closing connections, ending the process."""
SETTLED_S = 3
"""So long a new pod is ready before an old one may go: agents hear of it within a second."""
DEFAULT_RESOURCES: JsonObject = {"requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"memory": "1Gi"}}
"""Without a CPU limit: throttling shows as latency of every visitor. Memory (measured): 60 MB to start with, 29 kB for
each of 16,384 idle visitors, 1.5 MB for each of 96 answers that nobody reads, twice that in the second they come."""
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
"""Labels of nodes: what fails as one shall not have all pods of an ExitNode."""
FROM_POD = (("POD_NAME", "metadata.name"), ("POD_NAMESPACE", "metadata.namespace"), ("POD_IP", "status.podIP"))


CONTAINER = "exitnode"
"""Name of the container, which autoscalers and patches go by."""


def build_deployment(exit_node: v1alpha1.ExitNode, *, namespace: str, image: str, min_drain_s: float) -> JsonObject:
    """The Deployment; the ExitNode's podTemplatePatch is merged into the pod template last.

    It says nothing of replicas where an autoscaler chooses them: see scaling.with_replicas.
    """
    managed = exit_node.spec.deployment.managed or v1alpha1.ManagedDeployment()
    labels = metadata.exit_node_labels(exit_node)
    pod = _pod_spec(exit_node, managed, namespace, image, min_drain_s)
    template: JsonObject = {"metadata": {"labels": labels}, "spec": pod}
    if managed.pod_template_patch:
        template = merging.merge(template, managed.pod_template_patch)
    replicas = {"replicas": exit_node.spec.replicas} if exit_node.spec.autoscaling is None else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": metadata.child_name(exit_node.name, exit_node.uid),
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [metadata.owner_reference(exit_node)],
        },
        "spec": {
            **replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": metadata.exit_node_selector(exit_node.name)},
            # A new pod serves before the old one drains, and agents have had the time to connect to it.
            "minReadySeconds": SETTLED_S,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template,
        },
    }


def _pod_spec(
    exit_node: v1alpha1.ExitNode,
    managed: v1alpha1.ManagedDeployment,
    namespace: str,
    image: str,
    min_drain_s: float,
) -> JsonObject:
    drain_s = v1alpha1.duration_s(exit_node.spec.shutdown.drain_timeout)
    http3 = services.serves_http3(exit_node)
    spec: JsonObject = {
        "serviceAccountName": "hawse-exitnode",
        "automountServiceAccountToken": False,
        # The operator is found by HAWSE_OPERATOR_SERVICE_HOST, also in a cluster without DNS.
        "enableServiceLinks": True,
        "terminationGracePeriodSeconds": math.ceil(min_drain_s + drain_s) + STOP_MARGIN_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            _container(managed, image, _environment(namespace, min_drain_s, drain_s, http3=http3), http3=http3)
        ],
        "volumes": _volumes(),
        "topologySpreadConstraints": [_spread(exit_node, label) for label in (HOSTNAME, ZONE)],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [_apart(exit_node)]}},
    }
    if managed.node_selector:
        spec["nodeSelector"] = dict(managed.node_selector)
    return spec


def _spread(exit_node: v1alpha1.ExitNode, label: str) -> JsonObject:
    return {
        "topologyKey": label,
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": metadata.exit_node_selector(exit_node.name)},
        # In a rollout the new pods are spread among themselves: the old ones are about to go.
        "matchLabelKeys": ["pod-template-hash"],
    }


def _apart(exit_node: v1alpha1.ExitNode) -> JsonObject:
    """The same for nodes without a zone: the scheduler scores no constraint of a pod on those that lack any label."""
    term = {"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": metadata.exit_node_selector(exit_node.name)}}
    return {"weight": 100, "podAffinityTerm": term}


def _container(
    managed: v1alpha1.ManagedDeployment, image: str, environment: list[JsonObject], *, http3: bool
) -> JsonObject:
    return {
        "name": CONTAINER,
        "image": image,
        "env": environment,
        "ports": [
            *([{"name": "http3", "containerPort": names.PORT_HTTPS, "protocol": "UDP"}] if http3 else []),
            {"name": "https", "containerPort": names.PORT_HTTPS, "protocol": "TCP"},
            {"name": "agents", "containerPort": names.PORT_AGENTS, "protocol": "UDP"},
            {"name": "admin", "containerPort": names.PORT_ADMIN, "protocol": "TCP"},
        ],
        "startupProbe": _probe("/livez", period=1, failures=60),
        "livenessProbe": _probe("/livez", period=10, failures=3),
        "readinessProbe": _probe("/readyz", period=2, failures=2),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": managed.resources.dump() if managed.resources else DEFAULT_RESOURCES,
        "volumeMounts": [
            {"name": "token", "mountPath": TOKEN_DIRECTORY, "readOnly": True},
            {"name": "ca", "mountPath": CA_DIRECTORY, "readOnly": True},
            {"name": "state", "mountPath": STATE_DIRECTORY},
        ],
    }


def _environment(namespace: str, min_drain_s: float, drain_s: float, *, http3: bool) -> list[JsonObject]:
    """Paths reach the process only here, because the embedded cluster rewrites mount paths in env."""
    fixed = {
        "HAWSE_TOKEN_FILE": f"{TOKEN_DIRECTORY}/token",
        "HAWSE_CA_FILE": f"{CA_DIRECTORY}/ca.crt",
        "HAWSE_STATE_DIR": STATE_DIRECTORY,
        "HAWSE_OPERATOR_NAME": f"{names.OPERATOR_SERVICE}.{namespace}.svc",
        "HAWSE_HTTPS_PORT": str(names.PORT_HTTPS),
        "HAWSE_AGENTS_PORT": str(names.PORT_AGENTS),
        "HAWSE_ADMIN_PORT": str(names.PORT_ADMIN),
        "HAWSE_HTTP3": str(http3).lower(),
        "HAWSE_MIN_DRAIN_SECONDS": f"{min_drain_s:g}",
        "HAWSE_DRAIN_SECONDS": f"{drain_s:g}",
    }
    pod = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in FROM_POD]
    return [*pod, *({"name": name, "value": value} for name, value in fixed.items())]


def _volumes() -> list[JsonObject]:
    token = {"audience": names.TOKEN_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    return [
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": "ca", "configMap": {"name": names.CA_CONFIG_MAP}},
        # In memory: it holds keys. It outlives a restart of the container, not of the pod.
        {"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
    ]


def _probe(path: str, *, period: int, failures: int) -> JsonObject:
    return {
        "httpGet": {"path": path, "port": "admin"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 3,
    }
