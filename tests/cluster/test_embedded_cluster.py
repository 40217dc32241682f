"""What we rely on in the embedded cluster, seen through kubectl as a user types it."""

from typing import Any

import devcluster
from support.cluster import Kubectl


def web_pod(**extra: Any) -> dict[str, Any]:
    """Build a pod spec that serves its working directory on POD_IP:8080."""
    container = {
        "name": "web",
        "image": "test/python",
        "args": ["-m", "http.server", "8080", "--bind", "$(POD_IP)"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
    }
    return {"terminationGracePeriodSeconds": 2, "containers": [container | extra]}


def deployment(name: str, replicas: int, pod: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def test_nodes_are_ready_in_their_regions(cluster: devcluster.Cluster) -> None:
    out = cluster.kubectl("get", "nodes", "-L", "topology.kubernetes.io/region", "--no-headers").stdout
    assert sorted((line.split()[0], line.split()[1], line.split()[-1]) for line in out.splitlines()) == [
        ("eu", "Ready", "eu-west"),
        ("us", "Ready", "us-east"),
    ]


def test_deployment_becomes_available_and_fills_endpoints(kubectl: Kubectl) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": "http"}]},
    }
    kubectl.apply(deployment("web", 2, web_pod()), service)
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    slices = kubectl.get("endpointslices")["items"]
    addresses = [address for item in slices for endpoint in item["endpoints"] for address in endpoint["addresses"]]
    assert len(addresses) == 2
    assert all(address.startswith("127.") for address in addresses)
