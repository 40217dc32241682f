"""When may a child that somebody keeps editing be put back again: at once the first times, then ever more rarely.

Two controllers that both want their way would write forever. Pure: the clock is an argument. Called by
reconcile.exitnodes, which asks only for edits of others, never for changes of its own mind.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Child = TypeVar("Child", bound=Hashable)
AT_ONCE = 3
"""Corrections before there is a pause: a person who edits twice sees both put back in the same second."""
BASE_S = 1.0
CAP_S = 60.0
QUIET_S = 300.0
"""After so long without an edit the next one is the first again; longer than the longest pause."""


@dataclass(frozen=True, slots=True)
class Go:
    """Put it back now."""

    is_war: bool
    """It has just become too many: a person should know."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after this time."""

    seconds: float


@dataclass(slots=True)
class _Fight:
    count: int = 0
    last_at: float = 0.0


@dataclass(slots=True)
class Corrections(Generic[Child]):
    """How often each child was put back lately."""

    _fights: dict[Child, _Fight] = field(default_factory=dict)

    def decide(self, child: Child, *, now: float) -> Go | Wait:
        """Whether the edit that was found may be put back at `now`; counts it if so."""
        fight = self._fights.get(child)
        if fight is None or now - fight.last_at > QUIET_S:
            fight = self._fights[child] = _Fight()
        if fight.count >= AT_ONCE:
            pause = min(CAP_S, BASE_S * 2.0 ** min(fight.count - AT_ONCE, 32))
            if (left := fight.last_at + pause - now) > 0:
                return Wait(left)
        fight.count += 1
        fight.last_at = now
        return Go(is_war=fight.count == AT_ONCE + 1)
