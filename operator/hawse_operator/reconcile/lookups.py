"""Questions to foreign servers beside the reconcilers: answered later, remembered until they are due again.

A reconcile never waits for a name server or an identity provider of a tenant: one that answers nobody would hold up
every other object. Bounded: one entry for each object that asks. Called by reconcile.hostnames and reconcile.providers
(ask) and runtime (runs them for a term).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from hawse_operator.reconcile.cache import Key

AT_ONCE = 8


Question = TypeVar("Question")
Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Answer(Generic[Question, Seen]):
    """What was seen, and when."""

    question: Question
    seen: Seen
    at: datetime


class LookUps(Generic[Question, Seen]):
    """For one term."""

    def __init__(
        self,
        look_up: Callable[[Question], Awaitable[Seen]],
        wake: Callable[[Key], None],
        clock: Callable[[], datetime],
    ) -> None:
        """`look_up` never raises and always ends; `wake`: an answer for this object is here."""
        self._look_up = look_up
        self._wake = wake
        self._clock = clock
        self._waiting: dict[Key, Question] = {}
        self._answers: dict[Key, Answer[Question, Seen]] = {}
        self._asked = asyncio.Condition()

    def answer(self, key: Key, question: Question) -> Answer[Question, Seen] | None:
        """The last answer to this question."""
        found = self._answers.get(key)
        return found if found is not None and found.question == question else None

    async def ask(self, key: Key, question: Question) -> None:
        """Look up soon; asked again before the answer is here, it is one look-up."""
        async with self._asked:
            self._waiting[key] = question
            self._asked.notify()

    def forget(self, key: Key) -> None:
        """The object is gone."""
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
            seen = await self._look_up(question)
            self._answers[key] = Answer(question, seen, self._clock())
            self._wake(key)
