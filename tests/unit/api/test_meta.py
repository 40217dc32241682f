"""Durations, times, selectors and metadata."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from hawse_api import v1alpha1
from hawse_api.v1alpha1 import meta


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("60s", 60),
        ("100ms", 0.1),
        ("1h30m", 5400),
        ("1h1m1s1ms", 3661.001),
        ("2160h", 7_776_000),
        ("1m1m", 120),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, seconds: float) -> None:
    assert v1alpha1.duration_s(text) == pytest.approx(seconds)


def test_a_time_is_written_in_utc_and_whole_seconds() -> None:
    moment = datetime(2026, 3, 1, 1, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert v1alpha1.format_time(moment) == "2026-02-28T23:00:00Z"


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [
        ("In", ("a", "b"), {"k": "b"}, True),
        ("In", ("a",), {"k": "b"}, False),
        ("In", ("a",), {}, False),
        ("NotIn", ("a",), {"k": "b"}, True),
        ("NotIn", ("a",), {"k": "a"}, False),
        ("NotIn", ("a",), {}, True),
        ("Exists", None, {"k": ""}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {}, True),
        ("DoesNotExist", None, {"k": ""}, False),
    ],
)
def test_an_expression_of_a_selector_compares_as_kubernetes_does(
    operator: str, values: tuple[str, ...] | None, labels: dict[str, str], expected: bool
) -> None:
    expression = meta.SelectorExpression(key="k", operator=meta.SelectorOperator(operator), values=values)
    assert v1alpha1.LabelSelector(match_expressions=(expression,)).matches(labels) is expected


def test_what_the_api_server_sets_is_not_sent_back() -> None:
    read = meta.ObjectMeta.model_validate(
        {
            "name": "shop",
            "namespace": "team-a",
            "uid": "u",
            "generation": 3,
            "resourceVersion": "7",
            "creationTimestamp": "2026-03-01T00:00:00Z",
            "deletionTimestamp": "2026-03-02T00:00:00Z",
            "labels": {"a": "b"},
            "managedFields": [{}],
        }
    )
    assert read.dump() == {"name": "shop", "namespace": "team-a", "labels": {"a": "b"}}


def test_an_object_says_what_it_is_and_whether_it_is_going() -> None:
    stamp = "2026-03-01T00:00:00Z"
    token = v1alpha1.AgentToken.from_object(
        {"metadata": {"name": "t", "namespace": "n", "uid": "u", "generation": 2, "deletionTimestamp": stamp}}
    )
    assert (token.name, token.namespace, token.uid, token.generation, token.is_deleting) == ("t", "n", "u", 2, True)


def test_a_status_travels_only_when_asked_for() -> None:
    used = datetime(2026, 3, 1, tzinfo=UTC)
    token = v1alpha1.AgentToken(
        metadata=v1alpha1.ObjectMeta(name="t"),
        status=v1alpha1.AgentTokenStatus(token_id="id", agent_ids=("a",), last_used_time=used),
    )
    assert "status" not in token.to_object()
    assert token.to_object(with_status=True)["status"] == {
        "conditions": [],
        "tokenID": "id",
        "agentIDs": ["a"],
        "lastUsedTime": "2026-03-01T00:00:00Z",
    }
