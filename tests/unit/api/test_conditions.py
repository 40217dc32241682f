"""Conditions change honestly."""

from datetime import UTC, datetime

import pytest

from hawse_api.v1alpha1 import Condition, ConditionStatus, ResourceStatus, judge, with_judgements

EARLIER = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def ready(status: ConditionStatus, reason: str = "Ready") -> Condition:
    return Condition(
        type="Ready", status=status, reason=reason, message="", observed_generation=1, last_transition_time=EARLIER
    )


@pytest.mark.parametrize(
    ("before", "holds", "expected"),
    [
        (ConditionStatus.TRUE, True, EARLIER),
        (ConditionStatus.TRUE, False, NOW),
        (ConditionStatus.FALSE, None, NOW),
        (ConditionStatus.UNKNOWN, None, EARLIER),
    ],
)
def test_the_transition_time_moves_only_with_the_status(
    before: ConditionStatus, holds: bool | None, expected: datetime
) -> None:
    (after,) = with_judgements((ready(before),), (judge("Ready", holds, "Other", "why"),), generation=2, now=NOW)
    assert after.last_transition_time == expected
    assert (after.reason, after.message, after.observed_generation) == ("Other", "why", 2)


def test_new_types_come_last_and_unjudged_ones_stay() -> None:
    old = (ready(ConditionStatus.TRUE),)
    new = with_judgements(old, (judge("Accepted", True, "Accepted"),), generation=2, now=NOW)
    assert [condition.type for condition in new] == ["Ready", "Accepted"]
    assert new[0] == old[0]


def test_the_same_judgement_twice_changes_nothing() -> None:
    judgements = (judge("Accepted", True, "Accepted"), judge("Ready", None, "Pending", "wait"))
    once = with_judgements((), judgements, generation=1, now=EARLIER)
    assert with_judgements(once, judgements, generation=1, now=NOW) == once


def test_a_condition_is_found_by_type() -> None:
    status = ResourceStatus(conditions=(ready(ConditionStatus.TRUE),))
    found = status.condition("Ready")
    assert found is not None
    assert found.is_true
    assert status.condition("Accepted") is None
