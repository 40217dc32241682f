"""Sessions over TCP that move to QUIC, as event scripts."""

import pytest

from hawse_agent import moves, notices, upgrades
from hawse_agent.choice import Route
from hawse_agent.endings import Failure
from hawse_agent.racing import Transport
from hawse_agent.session_state import Phase
from support.agent_script import APP, REFUSED, SHOP, A, Script, ending


def over_tcp() -> Script:
    """A session over TCP that serves, at the moment when QUIC is tried again."""
    script = Script()
    script.send(moves.Dialled(A, 1, Transport.TCP), moves.Welcomed(1, "eu-west-1", "eu-west", "0.1.0"))
    script.send(moves.OfferChanged(1, (SHOP,)), moves.RegistrationChanged(1, frozenset({"u1"})))
    assert moves.Dial(A, upgrade=True) not in script.send(moves.Tick(), after=29)
    assert script.send(moves.Tick(), after=upgrades.FIRST_S - 29) == [moves.Dial(A, upgrade=True)]
    return script


def try_quic(script: Script) -> None:
    """The new link is up, and was greeted, welcomed and offered the tunnel."""
    epoch = script.state.epoch
    assert script.send(moves.Dialled(A, 2, Transport.QUIC, upgrade=True)) == [moves.Greet(2, A, epoch + 1)]
    script.send(moves.Welcomed(2, "eu-west-1", "eu-west", "0.1.0"))
    assert script.send(moves.OfferChanged(2, (SHOP,))) == [moves.Serve(2, (Route(SHOP, APP),))]
    assert script.state.nodes[0].link == 1


def test_a_session_over_tcp_moves_to_quic_once_that_serves() -> None:
    script = over_tcp()
    try_quic(script)
    commands = script.send(moves.RegistrationChanged(2, frozenset({"u1"})))
    assert commands == [moves.Tell(notices.Moved("eu-west-1"))]
    assert (script.state.nodes[0].link, script.state.nodes[0].transport) == (2, Transport.QUIC)
    superseded = Failure("Another session took its place.", "HAWSE-2007", final=True)
    assert script.send(moves.RefusedByNode(1, superseded, script.state.epoch), moves.LinkLost(1, superseded)) == []
    assert moves.Dial(A, upgrade=True) not in script.send(moves.Tick(), after=upgrades.MOST_S)


@pytest.mark.parametrize("failure", ["not dialled", "lost", "silent", "refused"])
def test_a_move_that_fails_leaves_the_session_and_doubles_the_pause(failure: str) -> None:
    script = over_tcp()
    if failure != "not dialled":
        script.send(moves.Dialled(A, 2, Transport.QUIC, upgrade=True))
    event, after = {
        "not dialled": (moves.NotDialled(A, REFUSED, upgrade=True), 0.0),
        "lost": (moves.LinkLost(2, REFUSED), 0.0),
        "silent": (moves.Tick(), upgrades.GREETING_S),
        "refused": (moves.RefusedByNode(2, REFUSED), 0.0),
    }[failure]
    script.send(event, after=after)
    node = script.state.nodes[0]
    assert (node.phase, node.link, node.upgrade) == (Phase.UP, 1, None)
    assert node.upgrade_at - script.at == upgrades.pause_s(1, script.luck) == 2 * upgrades.pause_s(0, script.luck)


@pytest.mark.parametrize("superseded", [True, False])
def test_an_old_link_that_ends_first_leaves_the_session_to_the_new_one(superseded: bool) -> None:
    script = over_tcp()
    try_quic(script)
    failure = Failure("gone", "HAWSE-2007", final=True)
    event = moves.RefusedByNode(1, failure, script.state.epoch) if superseded else moves.LinkLost(1, failure)
    assert ending(script.send(event)) is None
    assert (script.state.nodes[0].link, script.state.nodes[0].phase) == (2, Phase.UP)


def test_a_session_that_ends_while_quic_is_dialled_takes_its_trial_along() -> None:
    script = over_tcp()
    script.send(moves.LinkLost(1, REFUSED))
    assert script.state.nodes[0].upgrade is None
    late = script.send(moves.Dialled(A, 2, Transport.QUIC, upgrade=True))
    assert late == [moves.Close(2, "", "not needed any more")]


def test_another_hawse_with_the_login_still_ends_it_during_a_move() -> None:
    script = over_tcp()
    try_quic(script)
    other = Failure("hawse runs twice", "HAWSE-2007", final=True)
    assert ending(script.send(moves.RefusedByNode(1, other, script.state.epoch + 1))) == ("HAWSE-2007", 1)


def test_pauses_between_moves_grow_to_half_an_hour() -> None:
    pauses = [upgrades.pause_s(failed, 0.999999) for failed in range(8)]
    assert [round(one) for one in pauses] == [60, 120, 240, 480, 960, 1800, 1800, 1800]
