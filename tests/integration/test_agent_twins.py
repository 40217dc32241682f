"""Two real agents with one credential: one serves, the other one says why it does not, and nobody fights."""

import shutil
import threading
from collections import Counter
from pathlib import Path

import pytest

from support import loopback
from support.loopback import Loopback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
HAND_OVER = {"HAWSE-1002", "HAWSE-1013"}


class Visits:
    """A visitor who asks without a pause while the block lasts."""

    def __init__(self, made: Loopback, node: int) -> None:
        self.made, self.node = made, node
        self.seen: Counter[str] = Counter()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Visits":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _run(self) -> None:
        with self.made.visitor(self.node) as http:
            while not self.ended.wait(0.01):
                answer = http.get("/headers")
                self.seen[answer.headers.get("x-hawse-error", str(answer.status_code))] += 1


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
        assert "Stop the other hawse, or log in with a config directory of its own" in first.err
        assert "Traceback" not in first.err + second.err
        for seen in (west.seen, east.seen):
            assert set(seen) <= {"200"} | HAND_OVER, seen
            assert seen["200"] > 0
        for exit_node in parts.nodes:
            assert exit_node.process.err.count("took this one's place") <= 1, "nobody fights for the slot"
        assert second.popen is not None
        assert second.popen.poll() is None
