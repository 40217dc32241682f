"""What cluster tests share: one embedded cluster per test session, and a namespace of its own per test.

Starting takes 3 to 5 s, so tests share the cluster and must not damage it; a test that kills parts starts its own
`devcluster.Cluster`. Called by tests/cluster/conftest.py and by tests that need more than its fixtures.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import devcluster

BIN = Path(sys.prefix) / "bin"
NODES = [("eu", "eu-west"), ("us", "us-east")]
IMAGES: dict[str, Sequence[str]] = {
    "hawse/operator": [str(BIN / "hawse-operator")],
    "hawse/exitnode": [str(BIN / "hawse-exitnode")],
    "test/python": [str(BIN / "python"), "-u"],
    "test/shell": ["sh"],
}
WEB = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["HOSTNAME"].encode())
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""
"""A program that answers each request on POD_IP:8080 with the name of its pod."""


def new_cluster(directory: Path) -> devcluster.Cluster:
    """Describe the cluster of the tests: two nodes in two regions, our programs as images."""
    return devcluster.Cluster(directory, NODES, IMAGES, env={"PATH": f"{BIN}:{os.environ['PATH']}"})


def namespace_of(test_name: str, serial: int) -> str:
    """Name the namespace of a test: readable in `kubectl get`, and unique."""
    words = re.sub(r"[^a-z0-9]+", "-", test_name.lower()).removeprefix("test-").strip("-")
    return f"{words[:48].strip('-')}-{serial}"


def build_pod(name: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Build a pod of one container; without an image it runs Python."""
    containers = [{"name": "main", "image": "test/python"} | container]
    body = {"terminationGracePeriodSeconds": 2, "containers": containers} | spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}


def build_web_pod() -> dict[str, Any]:
    """Build the spec of a pod that answers on port 8080 ("http") with its name."""
    container = {
        "name": "main",
        "image": "test/python",
        "args": ["-c", WEB],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
    }
    return {"terminationGracePeriodSeconds": 2, "containers": [container]}


def build_deployment(name: str, replicas: int, pod: dict[str, Any]) -> dict[str, Any]:
    """Build a Deployment of pods labelled app=NAME."""
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def build_service(name: str) -> dict[str, Any]:
    """Build a Service for the pods of the Deployment of that name, port 8080 ("http")."""
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 8080, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


class Kubectl:
    """kubectl bound to one namespace."""

    def __init__(self, cluster: devcluster.Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def __call__(self, *args: str, stdin: str | None = None, timeout_s: float = 60.0, check: bool = True) -> str:
        """Run it and return stdout; with `check=False` stdout and stderr."""
        done = self.cluster.kubectl("-n", self.namespace, *args, stdin=stdin, timeout_s=timeout_s, check=check)
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects; those without a namespace go into this one."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "-f", "-", stdin=json.dumps(items))

    def get(self, kind: str, name: str = "", *args: str) -> dict[str, Any]:
        """Return an object, or the list of a kind."""
        answer: dict[str, Any] = json.loads(self("get", kind, *([name] if name else []), "-o", "json", *args))
        return answer
