"""The live view on a real pseudo-terminal, and output into a pipe that closes."""

import contextlib
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import loopback
from support.loopback import Loopback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Loopback]:
    with loopback.fleet(tmp_path) as made:
        made.add_exit_node()
        made.start_app()
        yield made


def read_until(descriptor: int, text: str, timeout_s: float = 30.0) -> str:
    """Everything the terminal got until this text."""
    seen, deadline = "", time.monotonic() + timeout_s
    while text not in seen:
        assert time.monotonic() < deadline, seen
        os.set_blocking(descriptor, False)
        with contextlib.suppress(BlockingIOError):
            seen += os.read(descriptor, 65536).decode(errors="replace")
        time.sleep(0.02)
    return seen


def environment(parts: Loopback) -> dict[str, str]:
    return {
        **os.environ,
        "HAWSE_CONFIG_DIR": str(parts.trial.login()),
        "TERM": "xterm",
        "COLUMNS": "100",
        "LINES": "30",
    }


def test_a_terminal_gets_a_live_view_and_ctrl_c_ends_it(parts: Loopback) -> None:
    ours, theirs = pty.openpty()
    try:
        agent = subprocess.Popen(
            [sys.executable, "-m", "hawse_agent", "http", parts.app.target],
            env=environment(parts), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        try:
            os.close(theirs)
            seen = read_until(ours, parts.url)
            seen += read_until(ours, "connected")
            with parts.visitor() as http:
                assert http.get("/").status_code == 200
            seen += read_until(ours, "Ctrl-C stops it")
            agent.send_signal(2)
            assert agent.wait(15) == 0
        finally:
            agent.kill()
            agent.wait(5)
    finally:
        os.close(ours)
    assert "EXIT NODE" in seen
    assert "eu-west-1" in seen
    assert "Traceback" not in seen


def test_a_reader_that_takes_the_url_and_leaves_does_not_end_the_agent(parts: Loopback) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-m", "hawse_agent", "http", parts.app.target],
        env=environment(parts), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert agent.stdout is not None
        assert agent.stderr is not None
        assert agent.stdout.readline() == f"{parts.url}\n"
        agent.stdout.close()
        agent.stderr.close()
        parts.trial.apply(tunnels=[])
        parts.trial.apply(tunnels=[loopback.TunnelSpec("shop")])
        deadline = time.monotonic() + 20
        while True:
            with parts.visitor() as http:
                if http.get("/headers").status_code == 200:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert agent.poll() is None
    finally:
        agent.terminate()
        assert agent.wait(15) == 0
