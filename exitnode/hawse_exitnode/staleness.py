"""How long the operator has been silent, and whether agents may be served all the same (Fleet.spec.maxStaleness). Pure.

An exit node that does not hear its operator cannot know whose AgentToken was deleted meanwhile. A connected operator
whose whole configuration is in force counts as heard at every moment; after that the silence is measured by a clock
that nobody sets. Only what was kept over a restart is compared with the wall clock, and a time in the future tells
nothing: such a node waits for the operator. Called by `staleness_guard`.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto

from hawse_exitnode.session_state import Moment

CLOCK_SLACK_S = 60.0
"""So far a kept time may lie in the future: clocks are corrected by seconds. The shortest bound is as long."""


class Verdict(Enum):
    """What a silence means."""

    FRESH = auto()
    AGEING = auto()
    """More than half of the bound is over: people should know."""
    TOO_OLD = auto()


@dataclass(frozen=True, slots=True)
class LastWord:
    """When the operator was heard last."""

    at: float | None
    """As Moment.at; None = it is heard now, minus infinity = nobody knows."""

    def age_s(self, now: Moment) -> float:
        """For how long it has been silent."""
        return 0.0 if self.at is None else max(0.0, now.at - self.at)


def of_kept(heard_unix: float | None, now: Moment) -> LastWord:
    """The last word as an earlier process kept it; None: what it kept is not readable."""
    if heard_unix is None or not math.isfinite(heard_unix) or heard_unix > now.unix + CLOCK_SLACK_S:
        return LastWord(-math.inf)
    return LastWord(now.at - max(0.0, now.unix - heard_unix))


def judge(age_s: float, bound_s: float) -> Verdict:
    """Whether agents may be served by a configuration of this age. Bound 0: always."""
    if not bound_s or age_s <= bound_s / 2:
        return Verdict.FRESH
    return Verdict.AGEING if age_s <= bound_s else Verdict.TOO_OLD


def explain(age_s: float, now: Moment) -> str:
    """One sentence for visitors and agents."""
    if math.isinf(age_s):
        return "It does not know when it last heard from its operator."
    heard = datetime.fromtimestamp(now.unix - age_s, UTC)
    return f"It last heard from its operator on {heard:%Y-%m-%d at %H:%M} UTC."
