"""Links change under visitors, and nobody notices: from TCP to QUIC, and to another address of the agent."""

import shutil
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import loopback
from support.loopback import Loopback
from support.udp_path import UdpPath
from support.visits import Visits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

SOON = "from hawse_agent import __main__, upgrades; upgrades.FIRST_S = 3.0; __main__.main()"
"""A real `hawse` that tries QUIC again after 3 s instead of a minute."""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[tuple[Loopback, UdpPath, Path]]:
    """An exit node with a network before its UDP port, the app, and a login that leads through it."""
    with loopback.fleet(tmp_path) as made:
        place = made.add_exit_node().place
        made.start_app()
        with UdpPath((place.address, place.agents_port)) as path:
            yield made, path, made.trial.login(addresses=(path.address,), tcp_ports=(place.https_port,))
            made.agent.stop()


def test_a_move_from_tcp_to_quic_costs_no_request(scene: tuple[Loopback, UdpPath, Path]) -> None:
    made, path, config = scene
    path.blocked = True
    agent = made.trial.agent("http", made.app.target, config=config)
    agent.argv = [sys.executable, "-c", SOON, *agent.argv[1:]]
    agent.environment = {**agent.environment, "HTTPS_PROXY": ""}
    made._agent = agent
    agent.start()
    made.wait_until_served()
    assert "over HTTP/2" in agent.err
    node = made.nodes[0].process
    with Visits(made) as first, Visits(made) as second, Visits(made, http2=True) as third, ThreadPoolExecutor() as pool:
        path.blocked = False
        slow = [pool.submit(begin_slow, made) for _ in range(3)]  # begun on the old link, most likely
        agent.wait_until(lambda: "moved to QUIC" in agent.err, "it moved")
        assert [answer.result() for answer in slow] == [200, 200, 200]
        agent.wait_until(lambda: "session ended" in node.err, "the link over TCP has ended")
        asked = sum(one.seen["200"] for one in (first, second, third))
        agent.wait_until(
            lambda: sum(one.seen["200"] for one in (first, second, third)) > asked + 20, "visitors are served"
        )
    for one in (first, second, third):
        assert set(one.seen) == {"200"}, one.seen


def test_a_newer_session_over_quic_costs_no_request_either(scene: tuple[Loopback, UdpPath, Path]) -> None:
    """As an agent whose network changed dials again while its old link still works: here from a copy of its login."""
    made, _, config = scene
    older = made.start_agent(config=config)
    copy = made.directory / "copied"
    shutil.copytree(config, copy, ignore=shutil.ignore_patterns("run"))
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(begin_slow, made)
        older.wait_until(lambda: made.metric("tunnel_requests_in_flight") == 1, "it is on its way")
        with Visits(made) as visits:
            made.start_agent(config=copy)
            asked = visits.seen["200"]
            older.wait_until(lambda: visits.seen["200"] > asked + 20, "the newer one serves")
            assert slow.result() == 200
            assert older.wait() == 1
    assert set(visits.seen) == {"200"}, visits.seen


def test_an_exit_node_that_was_killed_tells_its_agents_itself_once_it_is_back(tmp_path: Path) -> None:
    with loopback.serving(tmp_path) as made:
        node, agent = made.nodes[0], made.agent
        agent.signal(signal.SIGSTOP)  # it can't count the silence, however long the start takes here
        node.process.kill()
        node.start()
        agent.signal(signal.SIGCONT)
        agent.wait_until(lambda: "lost" in agent.err, "it left the link")
        assert "it was started again" in agent.err
        agent.wait_until(lambda: agent.err.count("connected to") == 2, "it is back")
        assert "nothing was heard" not in agent.err


def begin_slow(made: Loopback) -> int:
    with made.visitor() as http:
        return http.get("/slow?s=3").status_code


def test_an_agent_whose_address_changes_keeps_its_link_and_its_requests(scene: tuple[Loopback, UdpPath, Path]) -> None:
    made, path, config = scene
    agent = made.start_agent(config=config)
    assert "over QUIC" in agent.err
    with Visits(made) as visits, ThreadPoolExecutor() as pool:
        for _ in range(3):
            slow, asked = pool.submit(begin_slow, made), visits.seen["200"]
            path.rebind()
            agent.wait_until(lambda asked=asked: visits.seen["200"] > asked + 20, "visitors are served")  # type: ignore[misc]
            assert slow.result() == 200
    assert set(visits.seen) == {"200"}, visits.seen
    assert "session ended" not in made.nodes[0].process.err
    assert "lost" not in agent.err
