"""TCP tunnels on real parts: exit node, agent and an app with a line protocol in processes of their own on loopback."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawse_agent.trial import processes
from hawse_api.ir import ir_pb2
from support import loopback
from support.loopback import Loopback, TrialError, TunnelSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PORT = 20_017
APP = Path(__file__).parents[1] / "support" / "keyvalue_app.py"
DB = TunnelSpec("db", app_protocol=ir_pb2.APP_PROTOCOL_TCP, tcp_port=PORT)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Loopback]:
    """The exit node alone, with a TCP tunnel."""
    with loopback.fleet(tmp_path) as made:
        made.trial.tunnels = (DB,)
        made.add_exit_node()
        yield made


@pytest.fixture
def served(parts: Loopback) -> Loopback:
    """App and agent too."""
    start(parts)
    return parts


def start(made: Loopback) -> processes.Process:
    """The app, and the agent that leads to it; the app's process."""
    host = processes.free_address((6379,))
    # -P: beside it lies an operator.py, which is not the standard library's.
    process = made.trial.process("line-app", [sys.executable, "-P", str(APP), host, "6379"])
    process.start()
    process.wait_until(lambda: "listening on" in process.out, "it listens")
    made.start_agent("tcp", f"{host}:6379")
    return process


@contextlib.contextmanager
def visitor(made: Loopback) -> Iterator[socket.socket]:
    """A connection to the tunnel's port."""
    with socket.create_connection((made.nodes[0].place.address, PORT), timeout=20) as connection:
        yield connection


def is_reset(connection: socket.socket) -> bool:
    """It ends by a reset, not by an end."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


def test_a_line_protocol_passes_both_ways_and_ends_when_the_app_ends(served: Loopback) -> None:
    assert served.agent.out == f"tcp://tcp-{PORT}.{served.trial.fleet.domain}:{PORT}\n"
    assert "-> tcp://127." in served.agent.err
    with visitor(served) as connection, connection.makefile("rwb") as lines:
        assert lines.readline() == b"+READY\n"
        lines.write(b"SET color red\nGET color\nBULK 3000320\nGET nothing\nQUIT\n")  # pipelined
        lines.flush()
        assert [lines.readline(), lines.readline()] == [b"+OK\n", b"red\n"]
        assert lines.read(3_000_320) == bytes(range(256)) * 11_720
        assert lines.read() == b"-\n+BYE\n"
    assert served.metric("tunnel_connections_total") == 1
    assert served.metric('tunnel_bytes_total{direction="out"') > 3_000_000


def test_a_visitor_that_has_said_all_still_gets_the_answer(served: Loopback) -> None:
    with visitor(served) as connection:
        connection.sendall(b"SET a 1\nGET a\n")
        connection.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    assert got == b"+READY\n+OK\n1\n"


def test_every_broken_hop_is_a_reset(parts: Loopback) -> None:
    with visitor(parts) as connection:  # no agent: waited for in the first seconds, then not at all
        assert is_reset(connection)
    app = start(parts)
    with visitor(parts) as connection:
        assert connection.recv(7) == b"+READY\n"
        connection.sendall(b"ABORT\n")
        assert is_reset(connection), "the app's own reset"
    app.kill()
    with visitor(parts) as connection:
        assert is_reset(connection), "nothing listens there"
    app.start()
    app.wait_until(lambda: "listening on" in app.out, "it listens")
    with visitor(parts) as connection:
        assert connection.recv(7) == b"+READY\n"
        parts.agent.kill()
        assert is_reset(connection), "the agent was lost in the middle"


def test_the_other_verb_says_what_to_do(served: Loopback) -> None:
    wrong = served.trial.agent("http", "3000")
    wrong.start()
    wrong.wait_until(lambda: "hawse tcp PORT --tunnel db" in wrong.err, "it names the verb")
    assert "HAWSE-2004" in wrong.err


def test_a_port_that_is_taken_keeps_an_exit_node_of_a_file_from_starting(tmp_path: Path) -> None:
    with loopback.fleet(tmp_path) as made:
        made.trial.tunnels = (DB,)
        node = made.add_exit_node(start=False)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((node.place.address, PORT))
            other.listen()
            with pytest.raises(TrialError, match=f"cannot listen on TCP {node.place.address}:{PORT}"):
                node.start()
        node.start()
