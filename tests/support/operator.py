"""`hawse-operator` as a process beside an embedded cluster, as its pod would be, on loopback and free ports.

Called by tests/cluster/test_operator_*.py. Each such module has a cluster of its own: an operator serves a whole one.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

import devcluster

ROOT = Path(__file__).resolve().parents[2]
Found = TypeVar("Found")
SYSTEM = "hawse-system"
FLEET = {
    "apiVersion": "hawse.dev/v1alpha1",
    "kind": "Fleet",
    "metadata": {"name": "default"},
    "spec": {
        "domain": "tunnels.example.com",
        "allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"hawse.dev/tunnels": "allowed"}}},
        "tombstoneFor": "2160h",
        "quotas": {"tunnelsPerNamespace": 100_000, "reservationsPerNamespace": 100_000},
    },
}


class Operator:
    """One replica."""

    def __init__(self, cluster: devcluster.Cluster, name: str, **environment: str) -> None:
        self.log = cluster.directory / f"{name}.log"
        ports = {f"HAWSE_{port}_PORT": "0" for port in ("ADMIN", "ENROL", "CONTROL")}
        own = {"POD_NAME": name, "POD_NAMESPACE": SYSTEM, "POD_IP": "127.0.0.1", "HAWSE_LEASE_SECONDS": "4"}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hawse_operator"],
                env={**os.environ, **own, **ports, "KUBECONFIG": str(cluster.kubeconfig), **environment},
                stderr=output,
                stdout=output,
            )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def find(self, event: str) -> dict[str, Any] | None:
        """The newest log line of an event."""
        return next((line for line in reversed(self.lines()) if line["event"] == event), None)

    def ask(self, path: str) -> httpx.Response:
        started = self.find("started")
        assert started is not None, self.log.read_text()
        return httpx.get(f"http://127.0.0.1:{started['admin_port']}{path}", timeout=5.0, trust_env=False)

    def metric(self, name: str) -> float:
        """The sum over all labels."""
        lines = [line for line in self.ask("/metrics").text.splitlines() if line.startswith((name + "{", name + " "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def term(self) -> int:
        begun = self.find("term begins")
        return int(begun["term"]) if begun else 0

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(15.0)


@contextlib.contextmanager
def running(cluster: devcluster.Cluster, name: str = "operator-a", **environment: str) -> Iterator[Operator]:
    """A replica that leads while inside."""
    operator = Operator(cluster, name, **environment)
    try:
        wait_for(f"{name} leads", lambda: operator.find("serving exit nodes"), timeout_s=45.0)
        yield operator
    finally:
        operator.end()


@contextlib.contextmanager
def cluster_with_crds(directory: Path) -> Iterator[devcluster.Cluster]:
    """A cluster without nodes that knows our kinds."""
    with devcluster.Cluster(directory, [], {}) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        cluster.kubectl("create", "namespace", SYSTEM)
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield cluster


def wait_for(what: str, question: Callable[[], Found | None], *, timeout_s: float = 20.0) -> Found:
    """Ask until the answer is true."""
    deadline = time.monotonic() + timeout_s
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.1)
    return answer


class Api:
    """kubectl in JSON."""

    def __init__(self, cluster: devcluster.Cluster) -> None:
        self.cluster = cluster

    def apply(self, *bodies: dict[str, Any]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(items))

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        scope = ["-n", namespace] if namespace else []
        done = self.cluster.kubectl("get", kind, name, *scope, "-o", "json", "--ignore-not-found")
        found: dict[str, Any] | None = json.loads(done.stdout) if done.stdout.strip() else None
        return found

    def list(self, kind: str, *args: str) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(self.cluster.kubectl("get", kind, *args, "-o", "json").stdout)[
            "items"
        ]
        return answer

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        scope = ["-n", namespace] if namespace else []
        self.cluster.kubectl("delete", kind, name, *scope, "--timeout=30s")

    def condition(self, kind: str, name: str, type_: str, namespace: str = "") -> dict[str, Any]:
        """A condition; empty while it is not there."""
        conditions = ((self.get(kind, name, namespace) or {}).get("status") or {}).get("conditions", [])
        return next((found for found in conditions if found["type"] == type_), {})

    def wait_reason(
        self, kind: str, name: str, type_: str, reason: str, namespace: str = "", *, timeout_s: float = 20.0
    ) -> dict[str, Any]:
        """Wait until a condition has a reason."""
        seen: dict[str, Any] = {}

        def question() -> dict[str, Any] | None:
            seen.clear()
            seen.update(self.condition(kind, name, type_, namespace))
            return seen if seen.get("reason") == reason else None

        try:
            return wait_for(f"{kind} {name}: {type_} with reason {reason}", question, timeout_s=timeout_s)
        except AssertionError as exc:
            raise AssertionError(f"{exc}; it is {seen}") from None


def namespace(name: str, *, allowed: bool = True) -> dict[str, Any]:
    labels = {"hawse.dev/tunnels": "allowed"} if allowed else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def token(name: str, where: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": where}
    return {"apiVersion": "hawse.dev/v1alpha1", "kind": "AgentToken", "metadata": metadata, "spec": spec}


def tunnel(name: str, where: str, *, subdomain: str = "", agent: str = "laptop", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "hawse.dev/v1alpha1",
        "kind": "Tunnel",
        "metadata": {"name": name, "namespace": where},
        "spec": {
            "host": {"type": "Subdomain", "subdomain": subdomain or name},
            "target": {"type": "Agent", "agent": {"tokenRef": {"name": agent}}},
            **spec,
        },
    }


def exit_node(name: str, region: str, **spec: Any) -> dict[str, Any]:
    """An ExitNode whose pods stop soon, unless a test is about that."""
    metadata = {"name": name}
    return {
        "apiVersion": "hawse.dev/v1alpha1",
        "kind": "ExitNode",
        "metadata": metadata,
        "spec": {"region": region, "shutdown": {"minDrainDuration": "0s"}, **spec},
    }
