"""Key sets of token issuers: fetched beside the reconcilers, every minute, remembered while an issuer is away.

A reconcile never waits for a foreign server. Called by reconcile.access_policies (asks) and runtime (runs it for a
term).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hawse_operator import fetching
from hawse_operator.policies import key_sets
from hawse_operator.reconcile.cache import Key

AT_ONCE = 4
REFRESH_AFTER = timedelta(seconds=60)
"""New keys count at the latest after this; issuers announce them much earlier."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to fetch, and which private networks may be reached for it."""

    url: str
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a key set."""

    at: datetime
    """When it was last tried."""
    keys: str = ""
    """The last good one; empty: there was none."""
    problem: str = ""
    """Why the last try came to nothing."""


class KeySets:
    """For one term."""

    def __init__(
        self,
        wake: Callable[[Key], None],
        clock: Callable[[], datetime],
        fetch: Callable[[str, Sequence[str]], Awaitable[fetching.Fetched]] = fetching.fetch,
    ) -> None:
        """`wake`: something is known for this policy."""
        self._wake = wake
        self._clock = clock
        self._fetch = fetch
        self._waiting: dict[tuple[Key, Question], None] = {}
        self._answers: dict[Key, dict[Question, Answer]] = {}
        self._asked = asyncio.Condition()

    def answer(self, owner: Key, question: Question) -> Answer | None:
        """What is known."""
        return self._answers.get(owner, {}).get(question)

    def is_due(self, owner: Key, question: Question) -> bool:
        """Whether it is time to ask."""
        known = self.answer(owner, question)
        return known is None or self._clock() - known.at >= REFRESH_AFTER

    async def ask(self, owner: Key, question: Question) -> None:
        """Fetch soon; asked again before the answer is here, it is one fetch."""
        async with self._asked:
            self._waiting[owner, question] = None
            self._asked.notify()

    def keep(self, owner: Key, questions: Sequence[Question]) -> None:
        """Forget everything else of an owner."""
        self._answers[owner] = {
            question: known for question, known in self._answers.get(owner, {}).items() if question in questions
        }
        for waiting in [one for one in self._waiting if one[0] == owner and one[1] not in questions]:
            del self._waiting[waiting]
        if not questions:
            del self._answers[owner]

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(self._work(), name=f"key-set-{number}")

    async def _work(self) -> None:
        while True:
            async with self._asked:
                await self._asked.wait_for(lambda: self._waiting)
                owner, question = next(iter(self._waiting))
                del self._waiting[owner, question]
            fetched = await self._fetch(question.url, question.allowed)
            keys = key_sets.read(fetched.body) if not fetched.problem else None
            before = self.answer(owner, question)
            problem = fetched.problem or ("" if keys else "it has no key set with a public key for signatures")
            kept = keys or (before.keys if before else "")
            self._answers.setdefault(owner, {})[question] = Answer(self._clock(), kept, problem)
            self._wake(owner)
