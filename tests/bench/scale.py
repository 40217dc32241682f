"""`make bench-scale`: how the operator's cost grows with the number of Tunnels, on a real API server.

For each size a fresh embedded cluster gets the chart and one exit node, a process that is subscribed. Then all Tunnels
are created at once, and it is measured until each is Reserved and Programmed, what a still minute costs, and a
kill -9 of the operator until the new process has published everything again. CPU seconds first: they depend least on
what else the machine does. Writes build/bench/scale.json and docs/benchmarks-scale.md.
"""

import argparse
import asyncio
import json
import math
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "kind"), str(ROOT / "scripts")]

import aiohttp  # noqa: E402 - after the path

import devcluster  # noqa: E402
from hawse_api import names  # noqa: E402
from support import api_proxy  # noqa: E402
from support.cluster import new_cluster  # noqa: E402
from support.operator import FLEET, SYSTEM, Api, exit_node, namespace, token, tunnel, wait_for  # noqa: E402

SIZES = (500, 1_000, 2_000, 5_000)
CREATORS = 16
NAMESPACE = "many"
STILL_S = 15.0
"""How long it is watched that nothing is written once all has converged."""
MAX_S = 420.0
"""One size takes no longer, whatever happens."""
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Row:
    """Figures of one size."""

    tunnels: int
    create_s: float = 0.0
    converge_s: float = 0.0
    """From the first creation until all are Programmed."""
    cpu_s: float = 0.0
    cpu_ms_per_tunnel: float = 0.0
    rss_mb: float = 0.0
    writes_per_tunnel: float = 0.0
    """Reservations, statuses and events together."""
    still_cpu_percent: float = 0.0
    still_writes: int = 0
    restart_s: float = 0.0
    """From kill -9 until exit nodes have the whole configuration of the new process."""
    restart_cpu_s: float = 0.0
    restart_writes: int = 0
    """Without renewals of the Lease, until nothing is written any more."""
    writes_by_kind: dict[str, int] = field(default_factory=dict)
    restart_writes_by_kind: dict[str, int] = field(default_factory=dict)


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
        self._url = f"{self._server}/apis/hawse.dev/v1alpha1/namespaces/{NAMESPACE}/tunnels"

    async def create(self, count: int) -> None:
        """All of them, 16 at a time."""
        bodies = iter([tunnel(f"t{number}", NAMESPACE, agent="ci") for number in range(count)])

        async def work() -> None:
            for body in bodies:
                async with self._session.post(self._url, json=body, ssl=self._tls) as answer:
                    assert answer.status == 201, await answer.text()

        await asyncio.gather(*(work() for _ in range(CREATORS)))

    async def programmed(self) -> int:
        """How many are Reserved and Programmed."""
        async with self._session.get(self._url, params={"resourceVersion": "0"}, ssl=self._tls) as answer:
            items = json.loads(await answer.read())["items"]
        return sum({"Reserved", "Programmed"} <= _true_conditions(item) for item in items)


def _true_conditions(body: dict[str, Any]) -> set[str]:
    conditions = (body.get("status") or {}).get("conditions", ())
    return {item["type"] for item in conditions if item["status"] == "True"}


async def until(what: str, question: Callable[[], Awaitable[bool]], every_s: float = 0.5) -> None:
    """Ask until it is true; the deadline is that of the whole size."""
    while not await question():  # noqa: ASYNC110 - there is no event: it asks another process
        await asyncio.sleep(every_s)
    print(f"  {what}", file=sys.stderr, flush=True)


async def measure(cluster: devcluster.Cluster, api: Api, count: int) -> Row:
    """One size on a cluster that is ready."""
    operator, row = OperatorPod(api), Row(count)
    assert operator.find(), "no process of the operator"
    timeout = aiohttp.ClientTimeout(total=60.0)
    async with asyncio.timeout(MAX_S), aiohttp.ClientSession(timeout=timeout) as session:
        bulk = Bulk(session, cluster)
        await _grow(row, operator, session, bulk)
        await _rest(row, operator, session)
        await _restart(row, operator, session)
    return row


async def _grow(row: Row, operator: OperatorPod, session: aiohttp.ClientSession, bulk: Bulk) -> None:
    cpu, writes, began = operator.cpu_s(), await operator.writes(session), time.monotonic()
    await bulk.create(row.tunnels)
    row.create_s = time.monotonic() - began

    async def all_programmed() -> bool:
        return await bulk.programmed() == row.tunnels

    await until(f"{row.tunnels} are programmed", all_programmed)
    row.converge_s = time.monotonic() - began
    await _still(operator, session)
    row.cpu_s = operator.cpu_s() - cpu
    row.cpu_ms_per_tunnel = row.cpu_s * 1000 / row.tunnels
    row.writes_per_tunnel = (await operator.writes(session) - writes) / row.tunnels
    row.writes_by_kind = await operator.writes_by_kind(session)
    row.rss_mb = operator.rss_mb()


async def _still(operator: OperatorPod, session: aiohttp.ClientSession) -> None:
    """Until nothing was written for three seconds: events come last, and so does the end of the settling time."""
    seen: list[int] = []

    async def is_still() -> bool:
        seen.append(await operator.writes(session))
        return len(seen) > 3 and seen[-4:] == [seen[-1]] * 4 and seen[-1] >= 0

    await until("nothing is written any more", is_still, 1.0)


async def _rest(row: Row, operator: OperatorPod, session: aiohttp.ClientSession) -> None:
    cpu, writes, began = operator.cpu_s(), await operator.writes(session), time.monotonic()
    await asyncio.sleep(STILL_S)
    row.still_cpu_percent = 100 * (operator.cpu_s() - cpu) / (time.monotonic() - began)
    row.still_writes = await operator.writes(session) - writes


async def _restart(row: Row, operator: OperatorPod, session: aiohttp.ClientSession) -> None:
    before, began = operator.pid, time.monotonic()
    os.kill(before, signal.SIGKILL)

    async def is_another() -> bool:
        return await asyncio.to_thread(operator.find, before)

    async def is_through() -> bool:
        done = await operator.metric(session, 'hawse_operator_reconciles_total{kind="tunnels",result="done"}')
        return done >= row.tunnels and await operator.metric(session, "hawse_operator_queue_depth ") == 0

    await until("another process", is_another, 0.1)
    await until("it has gone through everything", is_through, 0.2)
    row.restart_s, row.restart_cpu_s = time.monotonic() - began, operator.cpu_s()
    await _still(operator, session)
    row.restart_writes = await operator.writes(session)
    row.restart_writes_by_kind = await operator.writes_by_kind(session)


def run_size(count: int) -> Row:
    """A fresh cluster with chart and exit node, then the measurement."""
    with tempfile.TemporaryDirectory(prefix="hawse-scale-") as directory, new_cluster(Path(directory)) as cluster:
        api = Api(cluster)
        api.apply(namespace(SYSTEM))
        chart = str(ROOT / "charts" / "hawse")
        values = "replicas=1,image.tag=,exitNode.image.tag="
        cluster.helm("install", "hawse", chart, "-n", SYSTEM, "--set", values, "--timeout", "90s")
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/hawse-operator", "--timeout=90s", timeout_s=100)
        api.apply(FLEET, exit_node("eu-1", "eu-west"), namespace(NAMESPACE), token("ci", NAMESPACE))
        ready = lambda: api.condition("exitnode", "eu-1", "Ready").get("status") == "True"  # noqa: E731
        wait_for("the exit node is ready", ready, timeout_s=90.0)
        return asyncio.run(measure(cluster, api, count))


def exponent(rows: list[Row], figure: Callable[[Row], float]) -> float | None:
    """Slope of the least-squares line through (log tunnels, log figure): 1 is linear, 2 quadratic."""
    points = [(math.log(row.tunnels), math.log(figure(row))) for row in rows if figure(row) > 0]
    if len(points) < 2:
        return None
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    slope: float = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return slope


COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("Tunnels", lambda row: f"{row.tunnels:,}"),
    ("operator CPU (s)", lambda row: f"{row.cpu_s:.1f}"),
    ("CPU per Tunnel (ms)", lambda row: f"{row.cpu_ms_per_tunnel:.1f}"),
    ("created (s)", lambda row: f"{row.create_s:.1f}"),
    ("all Programmed (s)", lambda row: f"{row.converge_s:.1f}"),
    ("RSS (MB)", lambda row: f"{row.rss_mb:.0f}"),
    ("writes per Tunnel", lambda row: f"{row.writes_per_tunnel:.2f}"),
    ("writes at rest", lambda row: str(row.still_writes)),
    ("CPU at rest (%)", lambda row: f"{row.still_cpu_percent:.1f}"),
    ("restart (s)", lambda row: f"{row.restart_s:.1f}"),
    ("restart CPU (s)", lambda row: f"{row.restart_cpu_s:.1f}"),
    ("restart writes", lambda row: str(row.restart_writes)),
)
PAGE = """# The operator at scale

Written by `make bench-scale` ({date}). Each size: a fresh embedded cluster (etcd, API server, controllers, scheduler:
one process), the chart with one replica of the operator, one exit node that is subscribed, all on one machine of two
cores, shared with everything else here: compare CPU seconds first, wall time second.

{table}

- *created*: {creators} clients create the Tunnels as fast as the API server takes them, all naming one AgentToken.
- *all Programmed*: from the first creation until each Tunnel is Reserved, and in force at the exit node.
- *operator CPU*: in that time, and until nothing was written for three seconds (events come last).
- *writes per Tunnel*: reservation, statuses and events together. *At rest*: within {still:.0f} s after.
- *restart*: kill -9 until the new process, which the node starts after a pause of its own, has reconciled every
  Tunnel; its CPU includes the start of Python (about 1.5 s).

{growth}
"""


def write_report(rows: list[Row]) -> None:
    """The JSON and the page."""
    output = ROOT / "build" / "bench" / "scale.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    cpu, wall = exponent(rows, lambda row: row.cpu_s), exponent(rows, lambda row: row.converge_s)
    restart = exponent(rows, lambda row: row.restart_cpu_s)
    growth = {"cpu_exponent": cpu, "converge_exponent": wall, "restart_cpu_exponent": restart}
    output.write_text(json.dumps({"rows": [asdict(row) for row in rows], **growth}, indent=2) + "\n")
    header = " | ".join(name for name, _ in COLUMNS)
    lines = [" | ".join(text(row) for _, text in COLUMNS) for row in rows]
    table = "\n".join(f"| {line} |" for line in (header, "|".join(["--:"] * len(COLUMNS)), *lines))
    text = "One size was measured: no growth can be told."
    if cpu is not None and wall is not None and restart is not None:
        text = (
            f"Growth from {rows[0].tunnels:,} to {rows[-1].tunnels:,} Tunnels as a power of their number (1 is linear, "
            f"2 quadratic; least squares over logarithms): CPU {cpu:.2f}, time {wall:.2f}, CPU of a restart "
            f"{restart:.2f}."
        )
    date = datetime.now(UTC).date().isoformat()
    page = PAGE.format(date=date, table=table, creators=CREATORS, still=STILL_S, growth=text)
    (ROOT / "docs" / "benchmarks-scale.md").write_text(page)
    print(table, text, sep="\n\n")


def main() -> int:
    """Run the sizes, smallest first; a size that fails ends the run with what was measured before."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of Tunnels, by comma")
    sizes = sorted(int(part) for part in parser.parse_args().sizes.split(","))
    rows: list[Row] = []
    for size in sizes:
        print(f"{size} Tunnels", file=sys.stderr, flush=True)
        try:
            rows.append(run_size(size))
        except (TimeoutError, AssertionError, devcluster.ClusterError, aiohttp.ClientError) as exc:
            print(f"bench-scale: {size} Tunnels: {type(exc).__name__}: {exc}", file=sys.stderr)
            break
        write_report(rows)
    return 0 if len(rows) == len(sizes) else 1


if __name__ == "__main__":
    sys.exit(main())
