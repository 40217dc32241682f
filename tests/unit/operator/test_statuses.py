"""A status is written when it differs, and conditions move honestly."""

from datetime import timedelta

from hawse_api import v1alpha1
from hawse_operator.translate import statuses
from support.objects import NOW

GOOD = v1alpha1.judge("Accepted", True, "Accepted")
BAD = v1alpha1.judge("Accepted", False, "Invalid", "Mend it.")


def build(old: v1alpha1.TunnelStatus, *judgements: v1alpha1.Judgement, after_s: float = 0) -> v1alpha1.TunnelStatus:
    now = NOW + timedelta(seconds=after_s)
    return statuses.build_status(old, judgements, {"hostname": "a.b"}, generation=2, now=now)


def test_the_first_status_is_written_whole() -> None:
    new = build(v1alpha1.TunnelStatus(), GOOD)
    wanted = statuses.to_write(v1alpha1.TunnelStatus(), new)
    assert wanted is not None
    assert (wanted["observedGeneration"], wanted["hostname"]) == (2, "a.b")
    assert wanted["conditions"][0]["lastTransitionTime"] == "2026-03-01T12:00:00Z"


def test_the_second_time_nothing_is_written() -> None:
    first = build(v1alpha1.TunnelStatus(), GOOD)
    assert statuses.to_write(first, build(first, GOOD, after_s=3600)) is None


def test_the_transition_time_moves_with_the_status_only() -> None:
    first = build(v1alpha1.TunnelStatus(), BAD)
    other_words = v1alpha1.judge("Accepted", False, "Invalid", "Mend that.")
    second = build(first, other_words, after_s=60)
    assert statuses.to_write(first, second) is not None
    assert second.conditions[0].last_transition_time == NOW
    assert build(second, GOOD, after_s=90).conditions[0].last_transition_time == NOW + timedelta(seconds=90)


def test_transitions_are_changes_of_status_or_reason() -> None:
    first = build(v1alpha1.TunnelStatus(), GOOD)
    assert [item.type for item in statuses.transitions(v1alpha1.TunnelStatus(), first)] == ["Accepted"]
    assert statuses.transitions(first, build(first, GOOD)) == ()
    (turned,) = statuses.transitions(first, build(first, BAD))
    assert (turned.reason, turned.message) == ("Invalid", "Mend it.")


def test_what_is_not_known_yet_stays_as_it_was() -> None:
    first = build(v1alpha1.TunnelStatus(), GOOD)
    kept = statuses.kept_or_unknown(first, "Accepted", None, reason="Pending", message="Wait.")
    assert (kept.status, kept.reason) == ("True", "Accepted")
    unknown = statuses.kept_or_unknown(first, "Programmed", None, reason="Pending", message="Wait.")
    assert (unknown.status, unknown.reason) == ("Unknown", "Pending")
    assert statuses.kept_or_unknown(first, "Accepted", BAD, reason="Pending", message="Wait.") is BAD
