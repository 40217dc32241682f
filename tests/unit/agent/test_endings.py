"""When an agent gives up, and with which words."""

import pytest

from hawse_agent import endings
from hawse_agent.choice import Offered, OtherKind
from hawse_agent.endings import Failure

UNREACHABLE = Failure("timed out", "HAWSE-2001")
UPDATE = Failure("Update hawse.", "HAWSE-2002", final=True)
UNTRUSTED = Failure("unknown CA", "HAWSE-2011", final=True)
REVOKED = Failure("The AgentToken was deleted", "HAWSE-2003", final=True)


@pytest.mark.parametrize(
    ("failures", "connected", "patience", "code"),
    [
        pytest.param((None, None), False, 5, None, id="still dialling"),
        pytest.param((UNREACHABLE, None), False, 5, None, id="patience is left"),
        pytest.param((UNREACHABLE, None), False, 0, "HAWSE-2001", id="patience is over"),
        pytest.param((UNREACHABLE, UNREACHABLE), True, -100, None, id="connected before: never"),
        pytest.param((UPDATE, None), False, 5, None, id="another node may do"),
        pytest.param((UPDATE, UNREACHABLE), True, -5, None, id="another node may come back"),
        pytest.param((UPDATE, UPDATE), True, -5, "HAWSE-2002", id="no node speaks our version"),
        pytest.param((UNTRUSTED,), False, 5, "HAWSE-2011", id="untrusted at the start"),
        pytest.param((UNTRUSTED,), True, 5, None, id="untrusted later: a captive portal"),
        pytest.param((None, REVOKED), True, 5, "HAWSE-2003", id="revoked counts from one node"),
    ],
)
def test_the_ending_is(
    failures: tuple[Failure | None, ...], connected: bool, patience: float, code: str | None
) -> None:
    named = {f"203.0.113.{number}:7443": failure for number, failure in enumerate(failures)}
    ending = endings.decide(named, connected=connected, patience_left_s=patience)
    assert (ending.code if ending else None) == code


def test_the_message_says_what_to_do() -> None:
    assert str(endings.of_failure(REVOKED).error) == (
        "The AgentToken was deleted (HAWSE-2003). Log in with a token that still exists: hawse login -"
    )


def test_advice_is_not_given_twice() -> None:
    ending = endings.of_failure(Failure("It is over. Log in again: hawse login -", "HAWSE-2014"))
    assert ending.message.count("Log in again") == 1


@pytest.mark.parametrize(
    ("is_tcp", "expected"),
    [
        (True, "db: served as TCP (the Tunnel's spec.protocol). Run hawse tcp PORT --tunnel db."),
        (False, "db: served as HTTP (the Tunnel's spec.protocol). Run hawse http PORT --tunnel db."),
    ],
)
def test_a_tunnel_of_the_other_kind_names_its_verb(is_tcp: bool, expected: str) -> None:
    ending = endings.of_choice(OtherKind((Offered("u", "team-a", "db", "", is_tcp),)), "team-a/laptop")
    assert (ending.code, ending.message) == ("HAWSE-2004", expected)
