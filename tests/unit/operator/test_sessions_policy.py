"""AgentSession objects are written coarsely."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hawse_api import v1alpha1
from hawse_operator.policies import sessions
from hawse_operator.policies.sessions import Delete, Keep, Live, Write
from support.objects import NOW


def link(name: str = "eu-1", rtt: int = 40) -> v1alpha1.Connection:
    return v1alpha1.Connection(
        name=name, region="eu", pod=f"{name}-x", transport="quic", rtt_milliseconds=rtt, since=NOW
    )


LIVE = Live("laptop", "0.1.0", (link(),), ("shop",))


def written(live: Live = LIVE) -> v1alpha1.AgentSessionStatus:
    decision = sessions.decide_session(None, live, settling=False, now=NOW)
    assert isinstance(decision, Write)
    return decision.status


def decide(live: Live | None, after_s: float, *, settling: bool = False) -> Write | Delete | Keep:
    return sessions.decide_session(written(), live, settling=settling, now=NOW + timedelta(seconds=after_s))


def test_a_new_session_is_written() -> None:
    status = written()
    assert [node.name for node in status.exit_nodes] == ["eu-1"]
    assert (status.hostname, status.version, status.tunnels, status.renew_time) == ("laptop", "0.1.0", ("shop",), NOW)
    assert sessions.judge_session(status).reason == "AgentConnected"


@pytest.mark.parametrize(
    "live",
    [
        pytest.param(replace(LIVE, connections=(link(), link("us-1"))), id="another exit node"),
        pytest.param(replace(LIVE, tunnels=("shop", "cart")), id="another tunnel"),
        pytest.param(replace(LIVE, version="0.2.0"), id="another version"),
    ],
)
def test_what_people_look_for_is_written_at_once(live: Live) -> None:
    assert isinstance(decide(live, 1), Write)


def test_an_unchanged_session_is_never_written_again() -> None:
    assert decide(LIVE, 86_400) == Keep()


def test_the_order_of_reports_is_no_change() -> None:
    two = replace(LIVE, connections=(link(), link("us-1")), tunnels=("a", "b"))
    turned = replace(two, connections=two.connections[::-1], tunnels=("b", "a"))
    assert sessions.decide_session(written(two), turned, settling=False, now=NOW) == Keep()


@pytest.mark.parametrize(
    ("rtt", "after_s", "expected"),
    [
        pytest.param(49, 600, Keep(), id="a quarter is noise"),
        pytest.param(60, 10, Keep(timedelta(seconds=50)), id="more waits for its minute"),
        pytest.param(60, 60, Write, id="and is written then"),
        pytest.param(20, 60, Write, id="less too"),
    ],
)
def test_round_trips_are_written_at_most_once_a_minute(rtt: int, after_s: float, expected: object) -> None:
    found = decide(replace(LIVE, connections=(link(rtt=rtt),)), after_s)
    assert isinstance(found, Write) if expected is Write else found == expected


def test_small_round_trips_do_not_count_in_percent() -> None:
    status = written(replace(LIVE, connections=(link(rtt=1),)))
    live = replace(LIVE, connections=(link(rtt=2),))
    assert sessions.decide_session(status, live, settling=False, now=NOW + timedelta(hours=1)) == Keep()


def test_an_agent_that_left_is_shown_as_gone_and_removed_after_five_minutes() -> None:
    gone = decide(None, 10)
    assert isinstance(gone, Write)
    assert (gone.status.exit_nodes, gone.status.tunnels) == ((), ())
    assert sessions.judge_session(gone.status).reason == "NoAgent"
    left_at = NOW + timedelta(seconds=10)

    def later(seconds: float) -> Write | Delete | Keep:
        return sessions.decide_session(gone.status, None, settling=False, now=left_at + timedelta(seconds=seconds))

    assert later(60) == Keep(timedelta(minutes=4))
    assert later(300) == Delete()


def test_a_new_leader_does_not_believe_that_agents_are_gone() -> None:
    assert decide(None, 10, settling=True) == Keep()


def test_nothing_is_made_for_an_agent_that_was_never_there() -> None:
    assert sessions.decide_session(None, None, settling=False, now=NOW) == Keep()
    assert sessions.decide_session(None, replace(LIVE, connections=()), settling=False, now=NOW) == Keep()
