"""The shield on loopback with real processes: exit node, agent, an app that prints each request it gets.

What is shared with whom is tested in Rust (exitnode/core/edge); here the field goes the whole way, and the last page
outlives app and agent.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hawse_agent.trial import processes
from hawse_agent.trial.processes import Process
from hawse_api.ir import ir_pb2
from support import loopback
from support.loopback import Loopback, TunnelSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

COUNTING_APP = Path(__file__).parents[1] / "support" / "counting_app.py"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loopback, Process]]:
    with loopback.fleet(tmp_path_factory.mktemp("shield")) as made:
        host = processes.free_address((3000,))
        app = made.trial.process("counting", [sys.executable, "-P", str(COUNTING_APP), "page", host, "3000"])
        app.start()
        app.wait_until(lambda: "listening" in app.out, "it listens")
        shield = ir_pb2.Shield(collapse=True, ttl_ms=600_000, stale_if_error_ms=600_000)
        made.trial.tunnels = (TunnelSpec("shop", shield=shield),)
        made.add_exit_node()
        made.start_agent("http", f"{host}:3000")
        yield made, app


def test_many_visitors_are_one_request_and_the_page_outlives_the_agent(served: tuple[Loopback, Process]) -> None:
    made, app = served

    def visit(number: int) -> str:
        with made.visitor(http2=number % 2 == 0) as http:
            return http.get("/launch").text

    with ThreadPoolExecutor(16) as visitors:
        assert set(visitors.map(visit, range(64))) == {"page"}
    assert app.out.count("GET /launch") == 1
    with made.visitor() as http:
        assert http.get("/launch").headers["cache-status"] == "hawse; hit"
        assert http.get("/launch", headers={"cookie": "sid=1"}).headers["cache-status"] == "hawse; fwd=bypass"
        assert app.out.count("GET /launch") == 2
        made.agent.kill()
        deadline = time.monotonic() + 30
        while http.get("/never-seen").headers.get("x-hawse-error") != "HAWSE-1002":
            assert time.monotonic() < deadline, made.nodes[0].process.tail()
            time.sleep(0.1)
        assert http.get("/launch").text == "page"
    assert made.metric("tunnel_shield_requests_total") > 0
