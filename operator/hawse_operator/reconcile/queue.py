"""Which key is reconciled when: dedupe, delays, exponential back-off, never one key twice at the same time.

`Schedule` is the decision, pure with the clock as an argument; `Queue` lets coroutines wait for it. What a key means
is not known here. Called by intake and reconcilers (add) and by the workers (take, finish).
"""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from hawse_operator import telemetry
from hawse_operator.k8s import backoff
from hawse_operator.reconcile.cache import Key

BASE_S = 0.2
CAP_S = 120.0
"""Longest pause between attempts of a key that keeps failing: an error that needs a person is looked at every two
minutes."""


class _Due(NamedTuple):
    at: float
    order: int
    key: Key


@dataclass(slots=True)
class Schedule:
    """Keys and when they are due. Times are of any monotonic clock, in seconds."""

    _heap: list[_Due] = field(default_factory=list)
    _due: dict[Key, _Due] = field(default_factory=dict)
    _running: dict[Key, float | None] = field(default_factory=dict)
    """Running keys, and when they have to run again because they were added meanwhile."""
    _failures: dict[Key, int] = field(default_factory=dict)
    _order: int = 0

    def add(self, key: Key, at: float) -> None:
        """Make a key due at a time; the earlier of two times stays."""
        if key in self._running:
            known_again = self._running[key]
            self._running[key] = at if known_again is None else min(known_again, at)
            return
        known = self._due.get(key)
        if known is not None and known.at <= at:
            return
        self._order += 1
        due = _Due(at, self._order, key)
        self._due[key] = due
        heapq.heappush(self._heap, due)

    def take(self, now: float) -> tuple[Key, float] | None:
        """The next key that is due, with the time it waited. It runs from here until `finish`."""
        at = self.next_at()
        if at is None or at > now:
            return None
        due = heapq.heappop(self._heap)
        del self._due[due.key]
        self._running[due.key] = None
        return due.key, now - due.at

    def finish(self, key: Key, *, now: float, failed: bool, jitter: float, again_in_s: float | None) -> None:
        """A run has ended: back off if it failed, else run again after `again_in_s` if asked."""
        added = self._running.pop(key)
        if failed:
            attempt = self._failures.get(key, 0)
            self._failures[key] = attempt + 1
            # Whatever was added meanwhile waits for the back-off too: a failing key must not spin on its own events.
            self.add(key, now + backoff.delay_s(attempt, base_s=BASE_S, cap_s=CAP_S, jitter=jitter))
            return
        self._failures.pop(key, None)
        if added is not None:
            self.add(key, added)
        if again_in_s is not None:
            self.add(key, now + again_in_s)

    def next_at(self) -> float | None:
        """When the next key is due; None: only an add or a finish brings work."""
        while self._heap and self._due.get(self._heap[0].key) is not self._heap[0]:
            heapq.heappop(self._heap)  # an earlier entry replaced it
        return self._heap[0].at if self._heap else None

    def depth(self, now: float) -> int:
        """Keys that are due."""
        return sum(1 for due in self._due.values() if due.at <= now)

    def is_idle(self, now: float) -> bool:
        """Nothing runs and nothing is due."""
        return not self._running and self.depth(now) == 0


class Queue:
    """A Schedule that workers can wait on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._schedule = Schedule()
        self._changed = asyncio.Event()

    def add(self, key: Key, *, delay_s: float = 0.0) -> None:
        """Reconcile a key, at once or after a delay."""
        self._schedule.add(key, self._clock() + delay_s)
        self._changed.set()

    async def take(self) -> Key:
        """Wait for the next key. Cancel safe: a key is handed out only when this returns."""
        while True:
            if (taken := self._schedule.take(self._clock())) is not None:
                telemetry.QUEUE_LATENCY.observe(taken[1])
                return taken[0]
            self._changed.clear()
            at = self._schedule.next_at()
            try:
                async with asyncio.timeout(None if at is None else max(0.0, at - self._clock())):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def finish(self, key: Key, *, failed: bool, jitter: float, again_in_s: float | None = None) -> None:
        """Report the end of a run."""
        self._schedule.finish(key, now=self._clock(), failed=failed, jitter=jitter, again_in_s=again_in_s)
        self._changed.set()

    def depth(self) -> int:
        """Keys that are due now."""
        return self._schedule.depth(self._clock())

    def is_idle(self) -> bool:
        """Nothing runs and nothing is due."""
        return self._schedule.is_idle(self._clock())
