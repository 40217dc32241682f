"""2,000 Tunnels at once, in force at a real exit node; then nothing is written, not even by a restarted operator.

`make bench-scale` gives the figures for more sizes. Machines differ, so it is waited for as long as something happens:
the test fails when nothing has moved for a minute.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support import scale

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]
COUNT = 2_000
CONVERGE_S = 300.0
STALLED_S = 60.0
STILL_S = 4.0
MAX_WRITES = 6
"""For each Tunnel: its reservation and that one's status, its own status as it is judged and as it is in force, an
event. Five on a free machine; where exit nodes answer late a status may be written once more."""
TUNNELS = f"/apis/hawse.dev/v1alpha1/namespaces/{scale.NAMESPACE}/tunnels"
RESERVATIONS = "/apis/hawse.dev/v1alpha1/subdomainreservations"
WRITTEN = (
    TUNNELS,
    RESERVATIONS,
    "/apis/hawse.dev/v1alpha1/agenttokens",
    f"/apis/events.k8s.io/v1/namespaces/{scale.NAMESPACE}/events",
)


def test_two_thousand_tunnels_converge_and_then_nothing_is_written_even_by_a_new_process(tmp_path: Path) -> None:
    with scale.cluster_with_exit_node(tmp_path / "scale") as api:
        asyncio.run(converge_and_restart(api))


async def converge_and_restart(api: scale.Api) -> None:
    operator = scale.OperatorPod(api)
    assert operator.find(), "no process of the operator"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60.0)) as session:
        bulk = scale.Bulk(session, api.cluster)
        before = await operator.writes(session)
        await bulk.create(COUNT)
        await until("all are in force", bulk.programmed, lambda done: done == COUNT)
        await until_still(bulk)
        writes = await operator.writes(session) - before
        assert writes <= MAX_WRITES * COUNT, await operator.writes_by_kind(session)
        held = {body["spec"]["claimRef"]["name"]: body["metadata"]["name"] for body in await bulk.list(RESERVATIONS)}
        assert held == {f"t{number}": f"t{number}.tunnels.example.com" for number in range(COUNT)}

        at_rest = await versions(bulk)
        await restart(operator, session)
        await until_still(bulk)
        assert changed(at_rest, await versions(bulk)) == []
        assert await bulk.programmed() == COUNT


async def restart(operator: scale.OperatorPod, session: aiohttp.ClientSession) -> None:
    """Kill -9, and wait until the new process has gone through every Tunnel."""
    dead = operator.pid
    os.kill(dead, signal.SIGKILL)

    async def is_another() -> bool:
        return await asyncio.to_thread(operator.find, dead)

    await until("another process", is_another, bool)
    await until("it has looked at everything", lambda: operator.reconciled_tunnels(session), lambda done: done >= COUNT)


async def until(what: str, progress: Callable[[], Awaitable[Any]], is_done: Callable[[Any], bool]) -> None:
    """Look at a figure until it is what it should be, at most CONVERGE_S, and STALLED_S without a change."""
    began = moved = time.monotonic()
    seen = await progress()
    while not is_done(seen):
        await asyncio.sleep(0.5)
        now, last = time.monotonic(), seen
        seen = await progress()
        moved = now if seen != last else moved
        assert now - moved < STALLED_S, f"nothing moved for {STALLED_S:.0f} s: {what}; it is {seen}"
        assert now - began < CONVERGE_S, f"not within {CONVERGE_S:.0f} s: {what}; it is {seen}"


async def versions(bulk: scale.Bulk) -> dict[str, str]:
    """ResourceVersions of everything that is written for Tunnels: the API server's own word."""
    bodies = [body for path in WRITTEN for body in await bulk.list(path)]
    return {body["metadata"]["uid"]: body["metadata"]["resourceVersion"] for body in bodies}


async def until_still(bulk: scale.Bulk) -> None:
    """Until nothing is written for STILL_S: events come last."""
    before: dict[str, str] = {}
    began = time.monotonic()
    while before != (now := await versions(bulk)):
        assert time.monotonic() - began < CONVERGE_S, f"still written: {changed(before, now)[:5]}"
        before = now
        await asyncio.sleep(STILL_S)


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """UIDs of what came, went or was written."""
    return sorted({uid for uid, _ in before.items() ^ after.items()})
