"""Sessions that fail, as event scripts: when an agent tries again, and when and with which words it ends."""

import pytest

from hawse_agent import moves, notices, session
from hawse_agent.endings import Failure
from hawse_agent.session_state import Phase
from support.agent_script import REFUSED, A, B, Script, ending, told


def test_a_failed_first_dial_is_repeated_with_growing_jitter() -> None:
    script = Script()
    waits = []
    for _ in range(6):
        before = script.at
        script.send(moves.NotDialled(A, REFUSED))
        wake = next(node.retry_at for node in script.state.nodes)
        waits.append(wake - before)
        script.send(moves.Tick(), after=wake - before)
        if script.phase() is not Phase.DIALLING:
            break
    assert waits == sorted(waits)
    assert waits[0] < 0.5
    assert max(waits) <= 15


def test_no_exit_node_within_the_patience_ends_it_with_every_reason() -> None:
    script = Script(A, B)
    script.send(moves.NotDialled(A, REFUSED))
    assert ending(script.send(moves.Tick(), after=14.9)) is None
    commands = script.send(moves.Tick(), after=0.2)
    assert ending(commands) == ("HAWSE-2001", 4)
    message = next(one.ending.message for one in commands if isinstance(one, moves.Finish))
    assert f"{A}: connection refused" in message
    assert f"{B}: no answer" in message


def test_once_connected_it_never_gives_up() -> None:
    script = Script()
    link = script.serve()
    script.send(moves.LinkLost(link, Failure("gone")))
    for _ in range(200):
        assert ending(script.send(moves.Tick(), moves.NotDialled(A, REFUSED), after=16)) is None


def test_a_lost_session_is_told_with_the_others_that_stay() -> None:
    script = Script(A, B)
    link = script.serve(A)
    script.serve(B)
    commands = script.send(moves.LinkLost(link, Failure("nothing was heard")))
    (lost,) = told(commands, notices.Lost)
    assert isinstance(lost, notices.Lost)
    assert (lost.where, lost.others) == ("eu-west-1", 1)
    assert not told(commands, notices.Waiting)


def test_a_session_that_lived_long_begins_its_back_off_anew() -> None:
    script = Script()
    for _ in range(8):
        script.send(moves.NotDialled(A, REFUSED), moves.Tick(), after=16)
    link = script.connect()
    script.send(moves.LinkLost(link, Failure("gone")), after=60)
    assert script.state.nodes[0].retry_at - script.at < 0.5


def test_a_session_that_dies_at_once_keeps_its_back_off() -> None:
    script = Script()
    script.luck = 0.99
    for _ in range(6):
        link = script.connect()
        script.send(moves.LinkLost(link, Failure("gone")))
        wait = script.state.nodes[0].retry_at - script.at
        script.send(moves.Tick(), after=wait)
    assert wait > 10


@pytest.mark.parametrize(
    ("code", "exit_code"), [("HAWSE-2003", 3), ("HAWSE-2007", 1), ("HAWSE-2014", 3)], ids=lambda value: str(value)
)
def test_a_refusal_of_the_login_ends_it_whichever_node_says_it(code: str, exit_code: int) -> None:
    script = Script(A, B)
    script.serve(A)
    link = script.serve(B)
    commands = script.send(moves.RefusedByNode(link, Failure("The AgentToken was deleted.", code, final=True)))
    assert ending(commands) == (code, exit_code)


def test_a_refusal_that_is_not_final_is_tried_again() -> None:
    script = Script()
    link = script.connect()
    assert ending(script.send(moves.RefusedByNode(link, Failure("not known here yet", "HAWSE-2003")))) is None
    assert moves.Dial(A) in script.send(moves.Tick(), after=1)


def test_an_epoch_that_no_clock_can_have_had_is_not_believed() -> None:
    """The last number of 64 bits could never be topped: this login would be locked out everywhere, for good."""
    script = Script()
    link = script.connect()
    before = script.state.epoch
    script.send(moves.RefusedByNode(link, Failure("A newer session is known.", "HAWSE-2007"), epoch=(1 << 64) - 1))
    assert script.state.epoch == before


def test_a_node_that_knows_a_higher_epoch_gets_one_above_it() -> None:
    script = Script()
    script.send(moves.Dialled(A, 1))
    script.send(moves.RefusedByNode(1, Failure("A newer session is known.", "HAWSE-2007"), epoch=9_000_000))
    script.send(moves.Tick(), after=1)
    assert script.send(moves.Dialled(A, 2)) == [moves.Greet(2, A, 9_000_001)]


def test_a_node_of_another_version_is_set_aside_while_others_serve() -> None:
    script = Script(A, B)
    script.serve(A)
    script.send(moves.Dialled(B, 9))
    commands = script.send(moves.RefusedByNode(9, Failure("Update hawse.", "HAWSE-2002", final=True)))
    assert ending(commands) is None
    assert script.state.nodes[1].retry_at - script.at == session.ASIDE_S


def test_it_ends_when_every_node_is_of_another_version() -> None:
    script = Script(A, B)
    final = Failure("exit node 9.0.0 speaks version 4. Update hawse on this machine.", "HAWSE-2002", final=True)
    assert ending(script.send(moves.NotDialled(A, final))) is None
    assert ending(script.send(moves.NotDialled(B, final))) == ("HAWSE-2002", 1)


def test_an_exit_node_that_cannot_prove_itself_ends_it_at_the_start() -> None:
    script = Script()
    commands = script.send(moves.NotDialled(A, Failure("unknown CA", "HAWSE-2011", final=True)))
    assert ending(commands) == ("HAWSE-2011", 3)


def test_an_exit_node_that_cannot_prove_itself_later_is_tried_again() -> None:
    script = Script()
    link = script.serve()
    script.send(moves.LinkLost(link, Failure("gone")), moves.Tick(), after=20)
    script.send(moves.Tick(), after=20)
    commands = script.send(moves.NotDialled(A, Failure("unknown CA", "HAWSE-2011", final=True)))
    assert ending(commands) is None
