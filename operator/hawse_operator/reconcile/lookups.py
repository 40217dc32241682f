"""Look-ups in DNS beside the reconcilers: asked for at once, answered later, remembered until they are due again.

A reconcile never waits for a name server: those of tenants' domains are foreign, and one that answers nobody would
hold up every other object. Bounded: one entry for each Tunnel with a name of its own domain. Called by
reconcile.hostnames (asks) and runtime (runs it for a term).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hawse_operator.policies import hosts
from hawse_operator.reconcile.cache import Key

AT_ONCE = 8


class Resolver(Protocol):
    """Asks DNS (hawse_operator.resolver)."""

    async def look_up(self, hostname: str, record: str) -> hosts.Seen:
        """What DNS says now; never raises, always ends."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a Tunnel wants to know."""

    hostname: str
    record: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was seen, and when."""

    question: Question
    seen: hosts.Seen
    at: datetime


class LookUps:
    """For one term."""

    def __init__(self, resolver: Resolver, wake: Callable[[Key], None], clock: Callable[[], datetime]) -> None:
        """`wake`: an answer for this Tunnel is here."""
        self._resolver = resolver
        self._wake = wake
        self._clock = clock
        self._waiting: dict[Key, Question] = {}
        self._answers: dict[Key, Answer] = {}
        self._asked = asyncio.Condition()

    def answer(self, key: Key, question: Question) -> Answer | None:
        """The last answer to this question."""
        found = self._answers.get(key)
        return found if found is not None and found.question == question else None

    async def ask(self, key: Key, question: Question) -> None:
        """Look up soon; asked again before the answer is here, it is one look-up."""
        async with self._asked:
            self._waiting[key] = question
            self._asked.notify()

    def forget(self, key: Key) -> None:
        """The Tunnel is gone."""
        self._waiting.pop(key, None)
        self._answers.pop(key, None)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(self._work(), name=f"look-up-{number}")

    async def _work(self) -> None:
        while True:
            async with self._asked:
                await self._asked.wait_for(lambda: self._waiting)
                key = next(iter(self._waiting))
                question = self._waiting.pop(key)
            seen = await self._resolver.look_up(question.hostname, question.record)
            self._answers[key] = Answer(question, seen, self._clock())
            self._wake(key)
