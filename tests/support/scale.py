"""Thousands of Tunnels against the chart's operator with one exit node: make them, count them, look at the process.

The operator is the chart's pod, a process here: /proc says what it costs, its metrics what it writes. Called by
tests/bench/scale.py (figures) and tests/cluster/test_operator_scale.py (a test of one size).
"""

import asyncio
import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

import devcluster
from hawse_api import names
from support import api_proxy
from support.cluster import new_cluster
from support.operator import FLEET, ROOT, SYSTEM, Api, exit_node, namespace, token, tunnel, wait_for

CREATORS = 16
NAMESPACE = "many"
TICK = os.sysconf("SC_CLK_TCK")
START_S = 120.0
"""Chart and exit node take 15 s on a free machine."""


@contextlib.contextmanager
def cluster_with_exit_node(directory: Path) -> Iterator[Api]:
    """A fresh cluster with the chart, one operator, one exit node that is ready, and an AgentToken `ci`."""
    with new_cluster(directory) as cluster:
        api = Api(cluster)
        api.apply(namespace(SYSTEM))
        chart, values = str(ROOT / "charts" / "hawse"), "replicas=1,image.tag=,exitNode.image.tag="
        cluster.helm("install", "hawse", chart, "-n", SYSTEM, "--set", values, "--timeout", f"{START_S:.0f}s")
        rollout = ("rollout", "status", "deployment/hawse-operator", f"--timeout={START_S:.0f}s")
        cluster.kubectl("-n", SYSTEM, *rollout, timeout_s=START_S + 10)
        api.apply(FLEET, exit_node("eu-1", "eu-west"), namespace(NAMESPACE), token("ci", NAMESPACE))
        ready = lambda: api.condition("exitnode", "eu-1", "Ready").get("status") == "True"  # noqa: E731
        wait_for("the exit node is ready", ready, timeout_s=START_S)
        yield api


class OperatorPod:
    """The operator's process in the embedded cluster: /proc and its metrics."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.pid, self.address = 0, ""

    def find(self, other_than: int = 0) -> bool:
        """Look for the process; False while there is none."""
        pods = self._api.list("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=operator")
        self.address = next((pod["status"].get("podIP", "") for pod in pods), "")
        mark = f"POD_IP={self.address}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
                if b"hawse-operator" in command and mark in (process / "environ").read_bytes().split(b"\0"):
                    self.pid = int(process.name)
                    return self.pid != other_than
            except OSError:
                continue
        return False

    def cpu_s(self) -> float:
        """User and system time of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss_mb(self) -> float:
        """The most it has had resident."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    async def metric(self, session: aiohttp.ClientSession, start: str) -> float:
        """Sum of the metrics whose line starts so; -1 while the process does not answer."""
        try:
            async with session.get(f"http://{self.address}:{names.PORT_ADMIN}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        except (aiohttp.ClientError, TimeoutError):
            return -1.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))

    async def reconciled_tunnels(self, session: aiohttp.ClientSession) -> int:
        """How many reconciles of Tunnels have ended well; -1 while the process does not answer."""
        return int(await self.metric(session, 'hawse_operator_reconciles_total{kind="tunnels",result="done"}'))

    async def writes_by_kind(self, session: aiohttp.ClientSession) -> dict[str, int]:
        """Writes so far by resource and verb."""
        async with session.get(f"http://{self.address}:{names.PORT_ADMIN}/metrics") as answer:
            text = await answer.text()
        found = re.findall(r'hawse_operator_writes_total{resource="(\S+?)",verb="(.+?)"} (\S+)', text)
        return {f"{verb} {resource}": int(float(value)) for resource, verb, value in found}

    async def writes(self, session: aiohttp.ClientSession) -> int:
        """Writes to the API server so far, without renewals of the Lease."""
        lease = await self.metric(session, 'hawse_operator_writes_total{resource="leases"')
        return int(await self.metric(session, "hawse_operator_writes_total{") - lease)


class Bulk:
    """Creates and counts Tunnels as the cluster's administrator, without a kubectl for each."""

    def __init__(self, session: aiohttp.ClientSession, cluster: devcluster.Cluster) -> None:
        self._session = session
        self._server, self._tls = api_proxy.administrator(cluster.kubeconfig)
        self._tunnels = f"/apis/hawse.dev/v1alpha1/namespaces/{NAMESPACE}/tunnels"

    async def create(self, count: int) -> None:
        """All of them, 16 at a time."""
        bodies = iter([tunnel(f"t{number}", NAMESPACE, agent="ci") for number in range(count)])

        async def work() -> None:
            for body in bodies:
                url = self._server + self._tunnels
                async with self._session.post(url, json=body, ssl=self._tls) as answer:
                    assert answer.status == 201, await answer.text()

        await asyncio.gather(*(work() for _ in range(CREATORS)))

    async def list(self, path: str) -> list[dict[str, Any]]:
        """Objects of a collection, from the API server's cache."""
        async with self._session.get(self._server + path, params={"resourceVersion": "0"}, ssl=self._tls) as answer:
            items: list[dict[str, Any]] = json.loads(await answer.read())["items"]
        return items

    async def programmed(self) -> int:
        """How many are Reserved and Programmed."""
        return sum({"Reserved", "Programmed"} <= _true_conditions(item) for item in await self.list(self._tunnels))


def _true_conditions(body: dict[str, Any]) -> set[str]:
    conditions = (body.get("status") or {}).get("conditions", ())
    return {item["type"] for item in conditions if item["status"] == "True"}
