"""What a visit says about the chain."""

from pathlib import Path

import pytest

from demo.visiting import served
from demo.visits import Door, Protocol, Visit, Visitor

DOOR = Door("eu-west", "eu-west-1", "127.0.1.2", 8443)


def visit(protocol: Protocol = Protocol.HTTP2, **changes: object) -> Visit:
    values: dict[str, object] = {
        "status": 101 if protocol is Protocol.WEBSOCKET else 200,
        "seconds": 0.01,
        "served_by": "eu-west-1",
        "spoken": protocol.value,
        "body": "hello" if protocol is Protocol.WEBSOCKET else "<h1>It works</h1>",
    }
    return Visit(DOOR, protocol, **(values | changes))  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize("protocol", Protocol)
def test_the_app_answered_through_the_exit_node_that_was_asked(protocol: Protocol):
    assert served(visit(protocol))


@pytest.mark.parametrize(
    "changes",
    [{"status": 502}, {"body": "another page"}, {"served_by": "us-east-1"}, {"served_by": ""}, {"spoken": "HTTP/1.1"}],
    ids=["error", "not-the-app", "another-exit-node", "nobody", "another-protocol"],
)
def test_anything_else_is_not_served(changes: dict[str, object]):
    assert not served(visit(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": 0, "problem": "refused"}, "visitor → exit node eu-west-1 (127.0.1.2:8443): refused"),
        ({"status": 404, "error_code": "HAWSE-1001"}, "operator → exit node: it knows no such tunnel"),
        ({"status": 502, "error_code": "HAWSE-1003"}, "agent → app: the app refused the connection"),
        ({"status": 418}, "status 418"),
    ],
)
def test_a_failed_visit_names_the_hop(changes: dict[str, object], said: str):
    assert visit(**changes).cause == said


@pytest.mark.parametrize("protocol", Protocol)
def test_each_visit_can_be_repeated_from_a_shell(protocol: Protocol):
    command = Visitor("shop.tunnels.localhost", 8443, Path("/run/ca.crt")).curl(DOOR, protocol)
    assert "--cacert /run/ca.crt --resolve shop.tunnels.localhost:8443:127.0.1.2" in command
    assert "shop.tunnels.localhost:8443/" in command
