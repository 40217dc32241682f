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
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "kind"), str(ROOT / "scripts")]

import aiohttp  # noqa: E402 - after the path

import devcluster  # noqa: E402
from support import scale  # noqa: E402
from support.operator import Api  # noqa: E402

SIZES = (500, 1_000, 2_000, 5_000)
STILL_S = 15.0
"""How long it is watched that nothing is written once all has converged."""
MAX_S = 420.0
"""One size takes no longer, whatever happens."""


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


async def until(what: str, question: Callable[[], Awaitable[bool]], every_s: float = 0.5) -> None:
    """Ask until it is true; the deadline is that of the whole size."""
    while not await question():  # noqa: ASYNC110 - there is no event: it asks another process
        await asyncio.sleep(every_s)
    print(f"  {what}", file=sys.stderr, flush=True)


async def measure(api: Api, count: int) -> Row:
    """One size on a cluster that is ready."""
    operator, row = scale.OperatorPod(api), Row(count)
    assert operator.find(), "no process of the operator"
    timeout = aiohttp.ClientTimeout(total=60.0)
    async with asyncio.timeout(MAX_S), aiohttp.ClientSession(timeout=timeout) as session:
        bulk = scale.Bulk(session, api.cluster)
        await _grow(row, operator, session, bulk)
        await _rest(row, operator, session)
        await _restart(row, operator, session)
    return row


async def _grow(row: Row, operator: scale.OperatorPod, session: aiohttp.ClientSession, bulk: scale.Bulk) -> None:
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


async def _still(operator: scale.OperatorPod, session: aiohttp.ClientSession) -> None:
    """Until nothing was written for three seconds: events come last, and so does the end of the settling time."""
    seen: list[int] = []

    async def is_still() -> bool:
        seen.append(await operator.writes(session))
        return len(seen) > 3 and seen[-4:] == [seen[-1]] * 4 and seen[-1] >= 0

    await until("nothing is written any more", is_still, 1.0)


async def _rest(row: Row, operator: scale.OperatorPod, session: aiohttp.ClientSession) -> None:
    cpu, writes, began = operator.cpu_s(), await operator.writes(session), time.monotonic()
    await asyncio.sleep(STILL_S)
    row.still_cpu_percent = 100 * (operator.cpu_s() - cpu) / (time.monotonic() - began)
    row.still_writes = await operator.writes(session) - writes


async def _restart(row: Row, operator: scale.OperatorPod, session: aiohttp.ClientSession) -> None:
    before, began = operator.pid, time.monotonic()
    os.kill(before, signal.SIGKILL)

    async def is_another() -> bool:
        return await asyncio.to_thread(operator.find, before)

    async def is_through() -> bool:
        done = await operator.reconciled_tunnels(session)
        return done >= row.tunnels and await operator.metric(session, "hawse_operator_queue_depth ") == 0

    await until("another process", is_another, 0.1)
    await until("it has gone through everything", is_through, 0.2)
    row.restart_s, row.restart_cpu_s = time.monotonic() - began, operator.cpu_s()
    await _still(operator, session)
    row.restart_writes = await operator.writes(session)
    row.restart_writes_by_kind = await operator.writes_by_kind(session)


def run_size(count: int) -> Row:
    """A fresh cluster with chart and exit node, then the measurement."""
    with (
        tempfile.TemporaryDirectory(prefix="hawse-scale-") as directory,
        scale.cluster_with_exit_node(Path(directory)) as api,
    ):
        return asyncio.run(measure(api, count))


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
    page = PAGE.format(date=date, table=table, creators=scale.CREATORS, still=STILL_S, growth=text)
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
