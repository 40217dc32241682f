"""What cluster tests share: one embedded cluster per test session, and a namespace of its own per test.

Starting takes 3 to 5 s, so tests share the cluster and must not damage it; a test that kills parts starts its own
`devcluster.Cluster`. Called by tests/cluster/conftest.py and by tests that need more than its fixtures.
"""

import json
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
}


def new_cluster(directory: Path) -> devcluster.Cluster:
    """Describe the cluster of the tests: two nodes in two regions, our programs as images."""
    return devcluster.Cluster(directory, NODES, IMAGES)


def namespace_of(test_name: str, serial: int) -> str:
    """Name the namespace of a test: readable in `kubectl get`, and unique."""
    words = re.sub(r"[^a-z0-9]+", "-", test_name.lower()).removeprefix("test-").strip("-")
    return f"{words[:48].strip('-')}-{serial}"


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
