"""The work queue as event scripts over a clock in hand."""

import asyncio

import pytest

from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.queue import BASE_S, CAP_S, Queue, Schedule

A, B, C = (Key("tunnels", "ns", name) for name in "abc")


def drain(schedule: Schedule, now: float) -> list[Key]:
    found = []
    while (taken := schedule.take(now)) is not None:
        found.append(taken[0])
    return found


def finish(schedule: Schedule, key: Key, now: float, *, failed: bool = False, again_in_s: float | None = None) -> None:
    schedule.finish(key, now=now, failed=failed, jitter=1.0, again_in_s=again_in_s)


def test_keys_come_in_the_order_in_which_they_are_due() -> None:
    schedule = Schedule()
    for key, at in ((A, 3.0), (B, 1.0), (C, 1.0)):
        schedule.add(key, at)
    assert schedule.take(0.9) is None
    assert drain(schedule, 3.0) == [B, C, A]


def test_a_key_added_twice_runs_once() -> None:
    schedule = Schedule()
    for _ in range(5):
        schedule.add(A, 0.0)
    assert drain(schedule, 0.0) == [A]


def test_the_earlier_of_two_times_stays() -> None:
    schedule = Schedule()
    schedule.add(A, 10.0)
    schedule.add(A, 2.0)
    schedule.add(A, 5.0)
    assert schedule.next_at() == 2.0
    assert drain(schedule, 2.0) == [A]
    assert schedule.next_at() is None


def test_a_key_never_runs_twice_at_the_same_time_and_runs_again_if_it_was_added_meanwhile() -> None:
    schedule = Schedule()
    schedule.add(A, 0.0)
    assert drain(schedule, 0.0) == [A]
    schedule.add(A, 5.0)
    schedule.add(A, 1.0)
    assert drain(schedule, 6.0) == []
    finish(schedule, A, 2.0)
    assert schedule.next_at() == 1.0
    assert drain(schedule, 2.0) == [A]


def test_failures_back_off_up_to_the_cap_and_success_forgets_them() -> None:
    schedule, now, pauses = Schedule(), 0.0, []
    schedule.add(A, now)
    for _ in range(12):
        assert drain(schedule, now) == [A]
        finish(schedule, A, now, failed=True)
        at = schedule.next_at()
        assert at is not None
        pauses.append(at - now)
        now = at
    assert pauses[:3] == pytest.approx([BASE_S, 2 * BASE_S, 4 * BASE_S])
    assert pauses[-1] == pytest.approx(CAP_S)
    drain(schedule, now)
    finish(schedule, A, now)
    schedule.add(A, now)
    drain(schedule, now)
    finish(schedule, A, now, failed=True)
    assert schedule.next_at() == pytest.approx(now + BASE_S)


def test_a_failing_key_does_not_spin_on_its_own_events() -> None:
    schedule = Schedule()
    schedule.add(A, 0.0)
    drain(schedule, 0.0)
    schedule.add(A, 0.0)
    finish(schedule, A, 0.0, failed=True)
    assert schedule.next_at() == pytest.approx(BASE_S)


def test_a_key_comes_back_when_it_asked_for_it() -> None:
    schedule = Schedule()
    schedule.add(A, 0.0)
    drain(schedule, 0.0)
    finish(schedule, A, 1.0, again_in_s=30.0)
    assert schedule.next_at() == 31.0


def test_the_wait_of_a_key_is_told() -> None:
    schedule = Schedule()
    schedule.add(A, 1.0)
    assert schedule.take(4.0) == (A, 3.0)


def test_idle_means_nothing_runs_and_nothing_is_due() -> None:
    schedule = Schedule()
    assert schedule.is_idle(0.0)
    schedule.add(A, 5.0)
    assert schedule.is_idle(0.0)
    assert not schedule.is_idle(5.0)
    drain(schedule, 5.0)
    assert (schedule.depth(5.0), schedule.is_idle(5.0)) == (0, False)
    finish(schedule, A, 5.0)
    assert schedule.is_idle(5.0)


async def test_a_waiting_worker_gets_a_key_that_is_added() -> None:
    now = 0.0
    queue = Queue(lambda: now)
    async with asyncio.TaskGroup() as group:
        worker = group.create_task(queue.take())
        await asyncio.sleep(0)
        queue.add(A)
    assert worker.result() == A
    assert not queue.is_idle()
    queue.finish(A, failed=False, jitter=0.0)
    assert queue.is_idle()
    assert queue.depth() == 0


async def test_every_waiting_worker_wakes_for_its_own_key() -> None:
    queue = Queue(lambda: 0.0)
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(queue.take()) for _ in range(3)]
        await asyncio.sleep(0)
        for key in (A, B, C):
            queue.add(key)
    assert {worker.result() for worker in workers} == {A, B, C}


async def test_a_worker_wakes_by_itself_when_a_key_falls_due() -> None:
    times = iter([0.0, 0.0, 0.0, 0.0])
    queue = Queue(lambda: next(times, 1.0))
    queue.add(A, delay_s=0.001)
    assert await queue.take() == A
