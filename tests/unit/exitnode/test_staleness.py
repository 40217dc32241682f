"""How old a configuration is, and what that means: clocks that jump, restarts, bounds."""

import math

import pytest

from hawse_exitnode import staleness
from hawse_exitnode.session_state import Moment
from hawse_exitnode.staleness import LastWord, Verdict

HOUR = 3600.0
NOON = 1_795_521_600.0  # 2026-11-24 12:00 UTC


@pytest.mark.parametrize(
    ("age_s", "bound_s", "verdict"),
    [
        pytest.param(0.0, 60.0, Verdict.FRESH, id="heard now"),
        pytest.param(30.0, 60.0, Verdict.FRESH, id="half of the bound"),
        pytest.param(30.1, 60.0, Verdict.AGEING, id="more than half"),
        pytest.param(60.0, 60.0, Verdict.AGEING, id="the bound itself"),
        pytest.param(60.1, 60.0, Verdict.TOO_OLD, id="past it"),
        pytest.param(math.inf, 720 * HOUR, Verdict.TOO_OLD, id="nobody knows"),
        pytest.param(math.inf, 0.0, Verdict.FRESH, id="no bound"),
    ],
)
def test_a_silence_counts_against_the_bound(age_s: float, bound_s: float, verdict: Verdict) -> None:
    assert staleness.judge(age_s, bound_s) is verdict


def test_an_operator_that_is_connected_is_heard_at_every_moment() -> None:
    assert LastWord(None).age_s(Moment(1e9, NOON)) == 0.0


@pytest.mark.parametrize("jump_s", [-48 * HOUR, 0.0, 48 * HOUR])
def test_the_wall_clock_may_jump_while_the_process_lives(jump_s: float) -> None:
    assert LastWord(100.0).age_s(Moment(160.0, NOON + jump_s)) == 60.0


@pytest.mark.parametrize(
    ("heard_ago_s", "age_s"),
    [
        pytest.param(0.0, 0.0, id="just now"),
        pytest.param(2 * HOUR, 2 * HOUR, id="before the restart"),
        pytest.param(-59.0, 0.0, id="a clock that was corrected by seconds"),
        pytest.param(-61.0, math.inf, id="a time in the future tells nothing"),
        pytest.param(-math.inf, math.inf, id="no number"),
        pytest.param(math.nan, math.inf, id="not a number"),
        pytest.param(None, math.inf, id="nothing readable was kept"),
    ],
)
def test_a_restart_takes_over_the_age_of_what_was_kept(heard_ago_s: float | None, age_s: float) -> None:
    now = Moment(5.0, NOON)  # a machine that booted five seconds ago
    word = staleness.of_kept(None if heard_ago_s is None else NOON - heard_ago_s, now)
    assert word.age_s(now) == age_s
    assert word.age_s(Moment(65.0, NOON + 60)) == age_s + 60


def test_it_says_since_when() -> None:
    now = Moment(100.0, NOON)
    assert staleness.explain(2 * HOUR, now) == "It last heard from its operator on 2026-11-24 at 10:00 UTC."
    assert staleness.explain(math.inf, now) == "It does not know when it last heard from its operator."
