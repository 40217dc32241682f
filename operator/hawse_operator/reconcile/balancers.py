"""Addresses of load balancers that report a name instead of one (AWS does): looked up again when their TTL is over.

Records carry numbers, so that the name server can weigh them and check each. What was found last stays while a resolver
is silent or says nothing. Bounded: so many names, so many addresses of each, so long for all of them; the only one who
waits is the fleet's DNS. Owned by reconcile.dns.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from hawse_operator.policies.balancers import Found, IpAddress

NAMES_MAX = 64
ADDRESSES_MAX = 16
ROUND_S = 10.0
"""For all look-ups of a round; who has not answered by then is asked in the next one."""
LEAST_S, MOST_S = 5.0, 300.0
"""An answer is used for its TTL, within these bounds."""
RETRY_S = 10.0


class Resolver(Protocol):
    """Asks DNS (hawse_operator.resolver)."""

    async def addresses(self, hostname: str) -> Found:
        """A and AAAA of a name; never raises, always ends."""


@dataclass(frozen=True, slots=True)
class _Known:
    addresses: tuple[IpAddress, ...]
    until: datetime
    problem: str


class Balancers:
    """The names of one fleet."""

    def __init__(self, resolver: Resolver, clock: Callable[[], datetime]) -> None:
        self._resolver = resolver
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def addresses(self) -> dict[str, tuple[IpAddress, ...]]:
        """Of every name that has one."""
        return {name: known.addresses for name, known in self._known.items() if known.addresses}

    def problems(self) -> tuple[str, ...]:
        """Of names for which no address is known."""
        return tuple(f"{name}: {known.problem}" for name, known in self._known.items() if not known.addresses)

    def again_s(self) -> float | None:
        """Seconds until a name is due again; None: there is none."""
        now = self._clock()
        return min((max(0.0, (known.until - now).total_seconds()) for known in self._known.values()), default=None)

    async def refresh(self, names: Collection[str]) -> None:
        """Look up what is due of these names, and forget all others."""
        wanted = sorted(names)[:NAMES_MAX]
        self._known = {name: known for name, known in self._known.items() if name in wanted}
        now = self._clock()
        due = [name for name in wanted if name not in self._known or self._known[name].until <= now]
        answers: dict[str, Found] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ROUND_S), asyncio.TaskGroup() as group:
                for name in due:
                    group.create_task(self._ask(name, answers), name=f"load-balancer-{name}")
        for name in due:
            self._put(name, answers.get(name, Found(problem=f"no answer within {ROUND_S:g} s")))

    async def _ask(self, name: str, answers: dict[str, Found]) -> None:
        answers[name] = await self._resolver.addresses(name)

    def _put(self, name: str, found: Found) -> None:
        before = self._known.get(name)
        if not found.addresses:
            kept = before.addresses if before is not None else ()
            after, problem = RETRY_S, found.problem or "it has no address"
        else:
            kept, after, problem = found.addresses[:ADDRESSES_MAX], min(MOST_S, max(LEAST_S, found.ttl_s)), ""
        self._known[name] = _Known(kept, self._clock() + timedelta(seconds=after), problem)
