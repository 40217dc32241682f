"""Two transports race to one exit node: events in, starts and the winner out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawse_agent import racing
from hawse_agent.endings import Failure
from hawse_agent.racing import HEAD_START_S, Failed, Linked, Lost, Race, Start, Transport, Waited, Won

QUIC, TCP = Transport.QUIC, Transport.TCP
NOTHING = Failure("nothing answered", "HAWSE-2001")
CLOSED = Failure("connection refused", "HAWSE-2001")
UNTRUSTED = Failure("unknown CA", "HAWSE-2011", final=True)


def begun(*, tcp_at_once: bool = False) -> Race:
    return racing.begin(100.0, tcp_at_once=tcp_at_once)[0]


def test_quic_starts_alone() -> None:
    assert racing.begin(100.0, tcp_at_once=False)[1] == [Start(QUIC)]


def test_a_silent_udp_port_costs_no_more_than_the_head_start() -> None:
    race, early = racing.step(begun(), Waited(), 100.0 + HEAD_START_S - 0.01)
    _, due = racing.step(race, Waited(), 100.0 + HEAD_START_S)
    assert (early, due) == ([], [Start(TCP)])
    assert HEAD_START_S < 1


def test_tcp_starts_at_once_where_quic_fails_fast() -> None:
    assert racing.step(begun(), Failed(QUIC, CLOSED), 100.01)[1] == [Start(TCP)]


def test_tcp_starts_at_once_where_it_won_before_and_quic_has_its_chance() -> None:
    assert racing.begin(100.0, tcp_at_once=True)[1] == [Start(TCP), Start(QUIC)]


@pytest.mark.parametrize("winner", [QUIC, TCP])
def test_the_first_link_wins_and_ends_the_race(winner: Transport) -> None:
    race, won = racing.step(begun(tcp_at_once=True), Linked(winner), 100.1)
    assert won == [Won(winner)]
    assert racing.step(race, Waited(), 200.0) == (race, [])


def test_one_failure_leaves_the_other_transport_its_chance() -> None:
    race, nothing = racing.step(begun(tcp_at_once=True), Failed(TCP, CLOSED), 100.1)
    assert nothing == []
    assert racing.step(race, Linked(QUIC), 100.2)[1] == [Won(QUIC)]


def test_what_failed_on_both_is_told_of_both() -> None:
    race, _ = racing.step(begun(), Failed(QUIC, NOTHING), 105.0)
    _, (lost,) = racing.step(race, Failed(TCP, CLOSED), 105.1)
    assert lost == Lost(Failure("over QUIC: nothing answered; over HTTP/2: connection refused", "HAWSE-2001"))


def test_an_exit_node_that_cannot_be_trusted_is_not_asked_again_over_tcp() -> None:
    assert racing.step(begun(), Failed(QUIC, UNTRUSTED), 100.1)[1] == [Lost(UNTRUSTED)]


def test_a_final_answer_over_one_transport_speaks_for_both() -> None:
    race, _ = racing.step(begun(tcp_at_once=True), Failed(TCP, UNTRUSTED), 100.1)
    assert racing.step(race, Failed(QUIC, NOTHING), 105.0)[1] == [Lost(UNTRUSTED)]


@given(
    st.booleans(), st.lists(st.tuples(st.sampled_from(["link", "fail", "final", "wait"]), st.booleans()), max_size=8)
)
def test_no_transport_is_dialled_twice_and_the_race_ends_once(at_once: bool, happened: list[tuple[str, bool]]) -> None:
    race, commands = racing.begin(0.0, tcp_at_once=at_once)
    running: set[Transport] = set()
    ends = 0
    for number, (kind, first) in enumerate([("", True), *happened]):
        for command in commands:
            match command:
                case Start(transport):
                    assert transport not in {one.transport for one in race.failed} | running
                    running.add(transport)
                case Won() | Lost():
                    ends += 1
        assert ends or running, "nothing is under way and nothing was decided"
        assert ends or race.tcp_at is not None or running == set(race.started) - {one.transport for one in race.failed}
        if ends or not kind:
            commands = []
            continue
        if kind == "wait":
            event: racing.Event = Waited()
        else:
            transport = sorted(running, key=lambda one: one.value, reverse=first)[0]
            running.discard(transport)
            failure = UNTRUSTED if kind == "final" else NOTHING
            event = Linked(transport) if kind == "link" else Failed(transport, failure)
        race, commands = racing.step(race, event, float(number))
    assert ends <= 1
