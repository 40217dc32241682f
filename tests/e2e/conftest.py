"""`make demo` as a user types it: its output, its exit code, what it leaves behind."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.typed import Typed, type_command

END_S = 90.0


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[Callable[..., Typed]]:
    """Type commands; whatever still runs at the end of the test gets a Ctrl-C."""
    started: list[Typed] = []

    def start(*command: str, **environment: str) -> Typed:
        one = type_command(tmp_path, len(started), *command, **environment)
        started.append(one)
        return one

    yield start
    for one in started:
        if one.process.poll() is None:
            one.press_ctrl_c()
            one.process.wait(END_S)


@pytest.fixture(autouse=True)
def free_ports() -> None:
    """The demo needs these two: say so, rather than fail in the middle."""
    for port in (3000, 8443):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                pytest.fail(f"127.0.0.1:{port} is in use: is a demo running?")
