"""Leader election as event scripts: events in, commands out, the clock in hand."""

import pytest

from hawse_operator.policies.leadership import (
    Command,
    Event,
    Failed,
    Lead,
    Read,
    Record,
    Release,
    Role,
    State,
    StepDown,
    Stop,
    Write,
    Wrote,
    believes_for_s,
    give_up_after_s,
    look_again_after_s,
    renew_every_s,
    transition,
)

ME, OTHER = "pod-a", "pod-b"
DURATION_S = 15.0
ACQUIRE_NEW = Write(transitions=1, is_new=True, acquires=True)


def record(holder: str = OTHER, transitions: int = 1, stamp: str = "t0") -> Record:
    return Record(holder, transitions, stamp, DURATION_S)


def run(*script: tuple[float, Event], state: State | None = None) -> tuple[State, list[tuple[Command, ...]]]:
    state = state or State(ME, DURATION_S)
    commands = []
    for now, event in script:
        state, found = transition(state, event, now=now)
        commands.append(found)
    return state, commands


def leading(now: float = 0.0) -> State:
    state, _ = run((now, Read(None)), (now, Wrote(record(ME), now)))
    return state


def test_a_missing_lease_is_made_and_leads_in_term_1() -> None:
    state, commands = run((0, Read(None)), (0.1, Wrote(record(ME), 0)))
    assert commands == [(ACQUIRE_NEW,), (Lead(1),)]
    assert (state.role, state.term) == (Role.LEADER, 1)


def test_a_lease_that_changes_is_believed() -> None:
    script = [(float(second), Read(record(stamp=f"t{second}"))) for second in range(0, 60, 5)]
    state, commands = run(*script)
    assert set(commands) == {()}
    assert state.role is Role.STANDBY


def test_a_lease_that_does_not_change_for_its_duration_is_taken_over_in_the_next_term() -> None:
    _, commands = run(
        (0, Read(record(transitions=4))), (14.9, Read(record(transitions=4))), (15, Read(record(transitions=4)))
    )
    assert commands == [(), (), (Write(transitions=5, is_new=False, acquires=True),)]


def test_waiting_starts_when_the_replica_first_sees_the_lease_whatever_its_clock_says() -> None:
    old = record(stamp="1999-01-01T00:00:00Z")
    _, commands = run((1000, Read(old)), (1014, Read(old)))
    assert commands == [(), ()]


def test_a_released_lease_is_taken_at_once() -> None:
    _, commands = run((0, Read(record(holder="", transitions=7))))
    assert commands == [(Write(transitions=8, is_new=False, acquires=True),)]


def test_a_lease_of_this_pod_before_its_restart_is_taken_at_once_in_a_new_term() -> None:
    _, commands = run((0, Read(record(holder=ME, transitions=3))))
    assert commands == [(Write(transitions=4, is_new=False, acquires=True),)]


def test_a_lost_race_for_the_lease_changes_nothing() -> None:
    state, commands = run((0, Read(None)), (0, Failed()), (3, Read(record())))
    assert commands == [(ACQUIRE_NEW,), (), ()]
    assert state.role is Role.STANDBY


def test_a_leader_renews_without_a_new_term() -> None:
    state, commands = run((3, Read(record(ME))), (3, Wrote(record(ME, stamp="t3"), 3)), state=leading())
    assert commands == [(Write(transitions=1, is_new=False, acquires=False),), ()]
    assert (state.role, state.renewed_at, state.term) == (Role.LEADER, 3, 1)


def test_a_leader_that_cannot_renew_stops_before_the_lease_runs_out() -> None:
    state, commands = run((3, Failed()), (9.9, Failed()), (10, Failed()), state=leading())
    assert commands == [(), (), (StepDown(),)]
    assert state.role is Role.STANDBY
    assert give_up_after_s(DURATION_S) + renew_every_s(DURATION_S) < DURATION_S


def test_no_wait_of_a_leader_outlasts_the_moment_when_it_gives_up() -> None:
    state = leading()
    assert believes_for_s(state, now=4) == 6
    assert believes_for_s(state, now=11) == 0
    assert believes_for_s(State(ME, DURATION_S), now=100) == DURATION_S


def test_a_leader_whose_renewal_failed_tries_again_sooner_and_gets_more_than_three_tries() -> None:
    assert look_again_after_s(leading(), now=0.1) == renew_every_s(DURATION_S)
    assert look_again_after_s(State(ME, DURATION_S), now=100) == renew_every_s(DURATION_S)
    now, tries = renew_every_s(DURATION_S), 0
    while now < give_up_after_s(DURATION_S):  # each fails at once
        now, tries = now + look_again_after_s(leading(), now=now), tries + 1
    assert tries >= 6


def test_a_renewal_counts_from_when_it_was_begun() -> None:
    _, commands = run((3, Wrote(record(ME), 1)), (10.9, Failed()), (11, Failed()), state=leading())
    assert commands == [(), (), (StepDown(),)]


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(record(OTHER), id="another holder"),
        pytest.param(record(ME, transitions=2), id="another term"),
        pytest.param(None, id="no Lease any more"),
    ],
)
def test_a_leader_that_finds_the_lease_changed_steps_down(found: Record | None) -> None:
    state, commands = run((3, Read(found)), state=leading())
    assert commands == [(StepDown(),)]
    assert state.role is Role.STANDBY


def test_a_leader_that_is_told_to_stop_gives_the_lease_back() -> None:
    state, commands = run((1, Stop()), (2, Read(None)), (3, Stop()), state=leading())
    assert commands == [(StepDown(), Release(1)), (), ()]
    assert state.role is Role.ENDED


def test_a_standby_that_is_told_to_stop_writes_nothing() -> None:
    state, commands = run((0, Stop()))
    assert commands == [()]
    assert state.role is Role.ENDED


def test_a_leader_that_stepped_down_leads_again_in_a_higher_term() -> None:
    lost, _ = run((10, Failed()), state=leading())
    _, commands = run((11, Read(record(ME))), (11, Wrote(record(ME, transitions=2), 11)), state=lost)
    assert commands == [(Write(transitions=2, is_new=False, acquires=True),), (Lead(2),)]


def test_failing_on_standby_is_no_news() -> None:
    assert run((100, Failed()))[1] == [()]


def test_an_unknown_event_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="no transition"):
        transition(State(ME, DURATION_S), "nonsense", now=0)  # type: ignore[arg-type]
