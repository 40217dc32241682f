"""Kubernetes events: bounded, aggregated, in their place."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hawse_api import v1alpha1
from hawse_operator import errors
from hawse_operator.k8s import events
from hawse_operator.reconcile.context import is_worth_an_event
from hawse_operator.translate.statuses import Transition
from support.objects import NOW, fleet, tunnel


def note(text: str = "It works.", about: v1alpha1.Resource | None = None) -> events.Note:
    regarding = events.regarding(about or tunnel())
    return events.Note(regarding, is_warning=False, reason="Ready", action="Ready", text=text)


def test_an_event_stands_in_the_namespace_of_its_object() -> None:
    body = events.build_event(note(), at=NOW, instance="op-0")
    assert body["metadata"]["namespace"] == "team-a"
    assert body["regarding"]["kind"] == "Tunnel"
    assert (body["type"], body["reason"], body["eventTime"]) == ("Normal", "Ready", "2026-03-01T12:00:00.000000Z")
    assert events.build_event(note(about=fleet()), at=NOW, instance="op-0")["metadata"]["namespace"] == "default"


def test_long_notes_are_cut_to_what_the_api_takes() -> None:
    assert len(events.build_event(note("x" * 5000), at=NOW, instance="op-0")["note"]) == 1024


def test_an_object_has_its_share_and_a_little_more_later() -> None:
    limiter = events.Limiter()
    assert sum(limiter.allows("uid", NOW) for _ in range(100)) == 25
    assert limiter.allows("other", NOW)
    assert not limiter.allows("uid", NOW + timedelta(minutes=4))
    assert limiter.allows("uid", NOW + timedelta(minutes=9))


def test_the_limiter_remembers_the_newest_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "REMEMBERED", 2)
    limiter = events.Limiter()
    for uid in ("a", "b", "c"):
        limiter.allows(uid, NOW)
    assert len(limiter._buckets) == 2


class FakeClient:
    """What the recorder needs of k8s.client.Client."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.error = error

    async def create(self, _resource: object, body: Any) -> None:
        if self.error:
            raise self.error
        self.calls.append(("create", body))

    async def merge(self, _resource: object, _namespace: str, name: str, patch: Any) -> None:
        self.calls.append((name, patch))


async def post(client: FakeClient, *notes: events.Note) -> events.Recorder:
    recorder = events.Recorder(client, instance="op-0", clock=lambda: NOW)  # type: ignore[arg-type]  # a fake
    for item in notes:
        recorder.record(item)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(recorder.run())
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
    return recorder


async def test_an_equal_event_counts_up_instead_of_making_a_new_one() -> None:
    client = FakeClient()
    await post(client, note(), note(), note("Something else."))
    kinds = [call[0] for call in client.calls]
    assert kinds.count("create") == 2
    created = client.calls[0][1]["metadata"]["name"]
    assert (created, client.calls[1][1]["series"]["count"]) == (client.calls[1][0], 2)


async def test_an_event_that_cannot_be_posted_is_dropped() -> None:
    client = FakeClient(errors.Forbidden("no"))
    await post(client, note(), note("more"))
    assert client.calls == []


async def test_a_full_queue_drops_and_never_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE", 1)
    client = FakeClient()
    await post(client, note("a"), note("b"), note("c"))
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    ("type_", "status", "reason", "expected"),
    [
        ("Ready", "True", "Ready", True),
        ("Ready", "False", "NameTaken", False),
        ("Reserved", "False", "NameTaken", True),
        ("Reserved", "True", "Reserved", False),
        ("Programmed", "False", "Pending", False),
        ("Programmed", "False", "PartlyAvailable", False),
        ("Programmed", "False", "Unavailable", True),
        ("Programmed", "Unknown", "Whatever", False),
        ("Draining", "False", "NotDraining", False),
        ("TargetReady", "True", "AgentConnected", True),
        ("TargetReady", "False", "NoAgent", False),
    ],
)
def test_events_tell_news_once(type_: str, status: str, reason: str, expected: bool) -> None:
    transition = Transition(type_, v1alpha1.ConditionStatus(status), reason, "")
    assert is_worth_an_event(transition) is expected
