"""What a kill cost the visitors: outcomes of requests in; losses, verdicts and cells of a table out. Pure.

Times are readings of one monotonic clock in seconds. Called by traffic (which visits), kills (which kills), and by
tests/integration/test_kills.py.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from demo.report import seconds

SERVED = ""
HANG_S = 10.0
"""A visitor gives up then. A dead path is left within 5 s (docs/design/0003-solid.md); machines are busy."""
REFUSED = "connection refused"
LOST = "connection lost"
NO_ANSWER = f"no answer in {HANG_S:g} s"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request of one visitor."""

    region: str
    started: float
    ended: float
    failure: str = SERVED
    """A code (HAWSE-1003), or what the visitor's client said."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What the visitors of one region saw from a kill until all was calm again."""

    region: str
    visits: int
    failures: tuple[tuple[str, int], ...] = ()
    """Cause and count, the most frequent first."""
    outage_s: float | None = 0.0
    """From the first failed request until one that began after the last failed one is served; None: there was none."""
    slowest_s: float = 0.0

    @property
    def failed(self) -> int:
        """Requests that were not served."""
        return sum(count for _, count in self.failures)

    @property
    def text(self) -> str:
        """A line with the causes."""
        causes = ", ".join(cause for cause, _ in self.failures)
        return f"{self.cell} ({causes})" if causes else self.cell

    @property
    def cell(self) -> str:
        """Cell of the table."""
        counted = f"{self.failed} of {self.visits} failed"
        if not self.failed:
            return counted
        return f"{counted}, {'not back' if self.outage_s is None else seconds(self.outage_s)}"


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill and its price."""

    what: str
    back_s: float | None
    """Until what was killed did its work again; None: it never did."""
    losses: tuple[Loss, ...]

    @property
    def row(self) -> tuple[str, ...]:
        """Row of the table."""
        back = "never" if self.back_s is None else seconds(self.back_s)
        return (self.what, back, *(loss.cell for loss in self.losses))


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a kill may cost."""

    back_s: float
    """Until what was killed works again, and as long may an outage last. Generous: machines are busy."""
    spared: frozenset[str] = frozenset()
    """Regions whose visitors must not notice."""
    causes: tuple[str, ...] = ()
    """What those of other regions may be told who are not served."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A check of the demo."""

    name: str
    held: bool
    detail: str


def loss_of(region: str, outcomes: Iterable[Outcome]) -> Loss:
    """Sum up the outcomes of one region; those of others are ignored."""
    own = [one for one in outcomes if one.region == region]
    failed = [one for one in own if one.failure != SERVED]
    causes = Counter(one.failure for one in failed)
    slowest = max((one.ended - one.started for one in own), default=0.0)
    return Loss(region, len(own), tuple(causes.most_common()), _outage(own, failed), slowest)


def _outage(outcomes: Sequence[Outcome], failed: Sequence[Outcome]) -> float | None:
    if not failed:
        return 0.0
    last = max(one.started for one in failed)
    back = [one.ended for one in outcomes if one.failure == SERVED and one.started > last]
    return min(back) - min(one.started for one in failed) if back else None


def is_calm(
    outcomes: Iterable[Outcome], waiting: Iterable[float], regions: Iterable[str], *, now: float, calm_s: float
) -> bool:
    """Whether every region was served, and nothing failed or hung, for the last `calm_s`.

    Args:
        outcomes: Of all regions.
        waiting: When the requests under way began.
        regions: Those that are visited.
        now: The clock.
        calm_s: At least several times the pause between two requests.
    """
    recent = [one for one in outcomes if one.ended >= now - calm_s]
    if any(one.failure != SERVED for one in recent) or any(began < now - calm_s for began in waiting):
        return False
    return {one.region for one in recent if one.started >= now - calm_s} >= set(regions)


def judge(kill: Kill, expected: Expectation) -> list[Verdict]:
    """Hold a kill against what it may cost."""
    verdicts = []
    spared = [loss for loss in kill.losses if loss.region in expected.spared]
    struck = [loss for loss in kill.losses if loss.region not in expected.spared]
    if spared:
        held = all(loss.visits > 0 and loss.failed == 0 for loss in spared)
        where = " and ".join(loss.region for loss in spared)
        verdicts.append(Verdict(f"{kill.what}: visitors of {where} notice nothing", held, _texts(spared)))
    if struck:
        held = all({cause for cause, _ in loss.failures} <= set(expected.causes) for loss in struck)
        slowest = max(loss.slowest_s for loss in kill.losses)
        detail = f"slowest answer {seconds(slowest)}" if held else _texts(struck)
        told = " or ".join(expected.causes)
        verdicts.append(Verdict(f"{kill.what}: who is not served is told {told}, nobody hangs", held, detail))
    outages = [loss.outage_s for loss in kill.losses]
    times = [time for time in (kill.back_s, *outages) if time is not None]
    held = len(times) == 1 + len(outages) and max(times) <= expected.back_s
    detail = f"after {seconds(kill.back_s)}" if held and kill.back_s is not None else "; ".join(kill.row)
    verdicts.append(Verdict(f"{kill.what}: back by itself within {expected.back_s:g} s", held, detail))
    return verdicts


def _texts(losses: Sequence[Loss]) -> str:
    return "; ".join(f"{loss.region}: {loss.text}" for loss in losses)
