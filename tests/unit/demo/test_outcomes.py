"""What a kill cost: outcomes in, losses, verdicts and cells out."""

from collections.abc import Sequence

import pytest

from demo import outcomes
from demo.outcomes import NO_ANSWER, Expectation, Kill, Loss, Outcome

EU, US = "eu-west", "us-east"


def visit(at: float, failure: str = "", *, took: float = 0.01, region: str = EU) -> Outcome:
    return Outcome(region, at, at + took, failure)


@pytest.mark.parametrize(
    ("visits", "text"),
    [
        pytest.param([], "0 of 0 failed", id="nobody-came"),
        pytest.param([visit(1), visit(2, region=US)], "0 of 1 failed", id="others-do-not-count"),
        pytest.param(
            [visit(1), visit(2, "connection refused"), visit(4)],
            "1 of 3 failed, 2.0 s (connection refused)",
            id="one-failure",
        ),
        pytest.param(
            [visit(1, "a"), visit(1.1, "b"), visit(1.2), visit(1.3, "b"), visit(1.49)],
            "3 of 5 failed, 500 ms (b, a)",
            id="served-in-between-is-not-back",
        ),
        pytest.param(
            [visit(1, "a"), visit(0.5, took=9)], "1 of 2 failed, not back (a)", id="an-early-request-is-no-sign"
        ),
    ],
)
def test_the_loss_of_a_region_in_words(visits: Sequence[Outcome], text: str) -> None:
    assert outcomes.loss_of(EU, visits).text == text


def test_the_slowest_visit_is_remembered() -> None:
    assert outcomes.loss_of(EU, [visit(1, took=0.3), visit(2, took=4.5), visit(3)]).slowest_s == 4.5


@pytest.mark.parametrize(
    ("visits", "waiting", "calm"),
    [
        pytest.param([visit(9.5), visit(9.6, region=US)], [9.9], True, id="served-everywhere"),
        pytest.param([visit(9.5)], [], False, id="nobody-in-one-region"),
        pytest.param([visit(9.5), visit(9.6, "a", region=US), visit(9.7, region=US)], [], False, id="a-failure"),
        pytest.param([visit(9.5), visit(9.6, region=US)], [8.9], False, id="somebody-waits"),
        pytest.param([visit(9.5), visit(7, took=2.5, region=US)], [], False, id="served-but-asked-long-ago"),
        pytest.param(
            [visit(5, "a"), visit(9.5), visit(9.6, region=US)], [], True, id="a-failure-before-the-time-of-calm"
        ),
    ],
)
def test_calm_is_a_second_in_which_all_are_served(visits: list[Outcome], waiting: list[float], calm: bool) -> None:
    assert outcomes.is_calm(visits, waiting, [EU, US], now=10, calm_s=1) is calm


def kill(eu: Loss, us: Loss, back_s: float | None = 1.0) -> Kill:
    return Kill("app", back_s, (eu, us))


FINE = Loss(US, 100)


@pytest.mark.parametrize(
    ("what", "expected", "held"),
    [
        pytest.param(kill(Loss(EU, 9), FINE), Expectation(5, frozenset({EU, US})), [True, True], id="all-spared"),
        pytest.param(
            kill(Loss(EU, 9, (("x", 1),)), FINE),
            Expectation(5, frozenset({EU, US})),
            [False, True],
            id="one-not-spared",
        ),
        pytest.param(kill(Loss(EU, 0), FINE), Expectation(5, frozenset({EU, US})), [False, True], id="nobody-came"),
        pytest.param(
            kill(Loss(EU, 9, (("connection lost", 2),), 1), FINE),
            Expectation(5, frozenset({US}), ("connection lost",)),
            [True, True, True],
            id="the-other-region-is-spared",
        ),
        pytest.param(
            kill(Loss(EU, 9, ((NO_ANSWER, 1),), 1), FINE),
            Expectation(5, frozenset({US}), ("connection lost",)),
            [True, False, True],
            id="hang",
        ),
        pytest.param(
            kill(Loss(EU, 9, (("status 500", 1),), 1), FINE),
            Expectation(5, causes=("a",)),
            [False, True],
            id="an-answer-without-a-code",
        ),
        pytest.param(
            kill(Loss(EU, 9, (("HAWSE-1003", 1),), 1), FINE),
            Expectation(5, causes=("HAWSE-1003",)),
            [True, True],
            id="the-code-that-was-expected",
        ),
        pytest.param(
            kill(Loss(EU, 9, (("connection lost", 1),), 1), FINE),
            Expectation(5, causes=("HAWSE-1003",)),
            [False, True],
            id="no-code",
        ),
        pytest.param(kill(Loss(EU, 9), FINE, None), Expectation(5, causes=("a",)), [True, False], id="never-back"),
        pytest.param(kill(Loss(EU, 9), FINE, 6), Expectation(5, causes=("a",)), [True, False], id="back-too-late"),
        pytest.param(
            kill(Loss(EU, 9, (("a", 1),), 7), FINE), Expectation(5, causes=("a",)), [True, False], id="outage-too-long"
        ),
        pytest.param(
            kill(Loss(EU, 9, (("a", 1),), None), FINE),
            Expectation(5, causes=("a",)),
            [True, False],
            id="outage-not-over",
        ),
    ],
)
def test_a_kill_is_held_against_what_it_may_cost(what: Kill, expected: Expectation, held: list[bool]) -> None:
    assert [verdict.held for verdict in outcomes.judge(what, expected)] == held


def test_a_verdict_that_does_not_hold_says_what_was_seen() -> None:
    seen = kill(Loss(EU, 9, ((NO_ANSWER, 3),), None), FINE, None)
    told, back = outcomes.judge(seen, Expectation(5, causes=("a",)))
    assert told.detail == f"eu-west: 3 of 9 failed, not back ({NO_ANSWER}); us-east: 0 of 100 failed"
    assert back.detail.startswith("app; never; 3 of 9 failed")


def test_the_row_of_the_table() -> None:
    assert kill(Loss(EU, 9), FINE).row == ("app", "1.0 s", "0 of 9 failed", "0 of 100 failed")
