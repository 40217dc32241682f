"""Two real agents with one credential: one serves, the other one says why it does not, and nobody fights."""

import shutil
from pathlib import Path

import pytest

from support import loopback
from support.loopback import Loopback
from support.visits import Visits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
HAND_OVER = {"HAWSE-1013"}
"""The first one ends at the first exit node that tells it, with what it carries for the other one."""


def sessions(parts: Loopback) -> list[int]:
    return [parts.metric("sessions", node) for node in (0, 1)]


def test_of_two_machines_with_a_copied_login_the_later_one_serves_and_the_other_ends_with_advice(
    tmp_path: Path,
) -> None:
    with loopback.serving(tmp_path, exit_nodes=2) as parts:
        first = parts.agent
        first.wait_until(lambda: sessions(parts) == [1, 1], "both exit nodes have it")
        copy = parts.directory / "copied"
        shutil.copytree(first.environment["HAWSE_CONFIG_DIR"], copy, ignore=shutil.ignore_patterns("run"))
        with Visits(parts, 0) as west, Visits(parts, 1) as east:
            second = parts.start_agent("http", parts.app.target, config=copy)
            assert first.wait(15) == 1, first.tail()
            second.wait_until(lambda: sessions(parts) == [1, 1], "one session at each")
            assert parts.headers_seen_by_app(0)
            assert parts.headers_seen_by_app(1)
        assert "HAWSE-2007" in first.err
        assert (
            "hawse runs twice with this login. Stop the other one, or log in with a config directory of its own"
            in first.err
        )
        assert "Traceback" not in first.err + second.err
        for seen in (west.seen, east.seen):
            assert set(seen) <= {"200"} | HAND_OVER, seen
            assert seen["200"] > 0
        for exit_node in parts.nodes:
            assert exit_node.process.err.count("took this one's place") <= 1, "nobody fights for the slot"
        assert second.popen is not None
        assert second.popen.poll() is None
