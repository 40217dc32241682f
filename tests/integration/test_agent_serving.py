"""`hawse http` end to end on real parts: exit nodes, agent and app in their own processes on loopback."""

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect as websocket

from support import loopback
from support.loopback import Loopback, TunnelSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """Two exit nodes, one tunnel; tests that only look share it."""
    with loopback.serving(tmp_path_factory.mktemp("served"), exit_nodes=2) as made:
        yield made
        assert_no_traceback(made)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Loopback]:
    """Nothing started yet."""
    with loopback.fleet(tmp_path) as made:
        yield made
        assert_no_traceback(made)


def assert_no_traceback(made: Loopback) -> None:
    """No process of ours may ever show one."""
    for log in (made.trial.directory / "logs").iterdir():
        assert "Traceback" not in log.read_text(errors="replace"), f"{log.name}: {log.read_text(errors='replace')}"


def wait_until_answers(made: Loopback, status: int, *, node: int = 0, timeout_s: float = 15.0) -> httpx.Response:
    """Ask until this status comes."""
    deadline = time.monotonic() + timeout_s
    while True:
        with made.visitor(node, timeout_s=5) as http:
            answer = http.get("/headers")
        if answer.status_code == status:
            return answer
        assert time.monotonic() < deadline, f"still {answer.status_code} {answer.headers}\n{made.agent.tail()}"
        time.sleep(0.1)


# --- looking only ----------------------------------------------------------------------------------------------------
def test_the_first_line_of_output_is_the_public_url(served: Loopback) -> None:
    assert served.agent.out == f"{served.url}\n"
    assert all(line.startswith("hawse: ") for line in served.agent.err.splitlines())


@pytest.mark.parametrize("node", [0, 1], ids=["eu-west", "us-east"])
@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_a_page_comes_through_each_exit_node(served: Loopback, node: int, http2: bool) -> None:
    with served.visitor(node, http2=http2) as http:
        answer = http.get("/")
    assert answer.status_code == 200
    assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert "It works" in answer.text
    assert served.app.target in answer.text


def test_an_upload_arrives_whole(served: Loopback) -> None:
    body = os.urandom(3_000_000)
    with served.visitor(http2=True) as http:
        answer = http.post("/upload", content=body)
    assert answer.json() == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def test_events_arrive_one_by_one(served: Loopback) -> None:
    arrived = []
    with served.visitor() as http, http.stream("GET", "/sse?count=4") as answer:
        arrived.extend(time.monotonic() for line in answer.iter_lines() if line.startswith("data:"))
    assert len(arrived) == 4
    assert arrived[-1] - arrived[0] > 0.4  # the app sends one every 0.2 s: they were not gathered


async def test_a_websocket_echoes_through_the_tunnel(served: Loopback) -> None:
    place = served.nodes[0].place
    context = ssl.create_default_context(cafile=str(served.ca_file))
    url = f"wss://{served.host}:{place.https_port}/ws"
    raw = socket.create_connection((place.address, place.https_port), timeout=10)
    raw.setblocking(False)
    async with asyncio.timeout(20), websocket(url, sock=raw, ssl=context, server_hostname=served.host) as echo:
        for message in ("hello", "x" * 100_000, b"\x00" * 70_000):
            await echo.send(message)
            assert await echo.recv() == message


def test_status_shows_the_running_agent(served: Loopback) -> None:
    deadline = time.monotonic() + 10
    while True:  # its second session and its own report come a moment after the first page
        (agent,) = json.loads(hawse(served, "status", "--json").stdout)["agents"]
        if agent["tunnels"] and [node["state"] for node in agent["exit_nodes"]] == ["connected", "connected"]:
            break
        assert time.monotonic() < deadline, agent
        time.sleep(0.2)
    assert agent["pid"] == served.agent.pid
    assert agent["tunnels"][0]["url"] == served.url
    assert {node["region"] for node in agent["exit_nodes"]} == {"eu-west", "us-east"}
    plain = hawse(served, "status")
    assert plain.returncode == 0
    assert served.url in plain.stdout


def hawse(made: Loopback, *arguments: str, config: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the CLI as a user does, to its end."""
    directory = config or Path(made.agent.environment["HAWSE_CONFIG_DIR"])
    done = subprocess.run(
        [sys.executable, "-m", "hawse_agent", *arguments],
        env={**os.environ, "HAWSE_CONFIG_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


# --- the app ---------------------------------------------------------------------------------------------------------
def test_an_app_that_is_down_is_a_502_that_names_it_and_a_warning_at_the_start(parts: Loopback) -> None:
    parts.add_exit_node()
    parts.start_app()
    parts.app.process.kill()
    parts.start_agent()
    parts.agent.wait_until(lambda: "HAWSE-2006" in parts.agent.err, "it warned")
    assert parts.agent.out == f"{parts.url}\n"
    with parts.visitor() as http:
        answer = http.get("/", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["x-hawse-error"]) == (502, "HAWSE-1003")
    assert "HAWSE-1003" in answer.text
    parts.app.start()
    wait_until_answers(parts, 200)
    parts.agent.wait_until(lambda: "answers now" in parts.agent.err, "it saw the app")


def test_an_app_that_closes_in_the_middle_of_a_body_breaks_that_answer_only(parts: Loopback) -> None:
    parts.add_exit_node()
    parts.start_app()
    parts.start_agent()
    for http2 in (False, True):
        with parts.visitor(http2=http2) as http, pytest.raises(httpx.RemoteProtocolError):
            http.get("/cut")
        with parts.visitor(http2=http2) as http:
            assert http.get("/headers").status_code == 200


def test_an_app_that_restarts_is_served_again_without_the_agents_doing(parts: Loopback) -> None:
    parts.add_exit_node()
    parts.start_app()
    parts.start_agent()
    wait_until_answers(parts, 200)
    parts.app.process.kill()
    wait_until_answers(parts, 502)
    parts.app.start()
    wait_until_answers(parts, 200)


# --- the agent -------------------------------------------------------------------------------------------------------
def test_an_agent_killed_hard_takes_its_place_back_at_once(parts: Loopback) -> None:
    parts.add_exit_node()
    parts.start_app()
    parts.start_agent()
    config = Path(parts.agent.environment["HAWSE_CONFIG_DIR"])
    parts.agent.kill()
    began = time.monotonic()
    parts.start_agent("http", parts.app.target, config=config)
    wait_until_answers(parts, 200)
    # Far below the 15 s after which the exit node would notice the dead link by itself.
    assert time.monotonic() - began < 8
    found = json.loads(hawse(parts, "status", "--json").stdout)
    assert [agent["pid"] for agent in found["agents"]] == [parts.agent.pid]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_signal_ends_it_in_order(parts: Loopback, number: signal.Signals) -> None:
    parts.add_exit_node()
    parts.start_app()
    parts.start_agent()
    parts.agent.signal(number)
    assert parts.agent.wait(10) == 0
    assert wait_until_answers(parts, 503).headers["x-hawse-error"] == "HAWSE-1002"


def test_a_second_agent_of_the_same_login_takes_over_and_the_first_says_so(parts: Loopback) -> None:
    parts.add_exit_node()
    parts.start_app()
    first = parts.start_agent()
    config = Path(first.environment["HAWSE_CONFIG_DIR"])
    parts.start_agent("http", parts.app.target, config=config)
    assert first.wait(15) == 1
    assert "HAWSE-2007" in first.err
    wait_until_answers(parts, 200)


def test_two_tunnels_of_one_login_are_served_by_two_agents(parts: Loopback) -> None:
    parts.trial.tunnels = (TunnelSpec("shop"), TunnelSpec("api"))
    parts.add_exit_node()
    parts.start_app()
    first = parts.start_agent("http", parts.app.target, "--tunnel", "shop")
    config = Path(first.environment["HAWSE_CONFIG_DIR"])
    parts.start_agent("http", parts.app.target, "--tunnel", "api", config=config)
    for host in ("shop.tunnels.localhost", "api.tunnels.localhost"):
        with parts.visitor(host=host) as http:
            assert http.get("/headers").status_code == 200


def test_start_serves_every_tunnel_of_its_file(parts: Loopback) -> None:
    parts.trial.tunnels = (TunnelSpec("shop"), TunnelSpec("api"))
    parts.add_exit_node()
    parts.start_app()
    file = parts.directory / "hawse.toml"
    file.write_text(
        f'tunnels = [{{tunnel = "shop", to = "{parts.app.target}"}}, {{tunnel = "api", to = "{parts.app.target}"}}]'
    )
    agent = parts.start_agent("start", "--config", str(file))
    agent.wait_until(lambda: agent.out.count("https://") >= 2, "it printed both URLs")
    for host in ("shop.tunnels.localhost", "api.tunnels.localhost"):
        with parts.visitor(host=host) as http:
            assert http.get("/headers").status_code == 200


def test_several_tunnels_without_a_name_are_listed(parts: Loopback) -> None:
    parts.trial.tunnels = (TunnelSpec("shop"), TunnelSpec("api"))
    parts.add_exit_node()
    agent = parts.start_agent("http", "3000", wait=False)
    assert agent.wait() == 2
    assert "HAWSE-2005" in agent.err
    assert "They are: api, shop." in agent.err
    named = parts.start_agent("http", "3000", "--tunnel", "blog", wait=False)
    assert named.wait() == 2
    assert 'no Tunnel "blog"' in named.err
    assert "HAWSE-2004" in named.err


def test_json_output_is_one_event_a_line(parts: Loopback) -> None:
    parts.add_exit_node()
    parts.start_app()
    agent = parts.start_agent("http", parts.app.target, "--json")
    events = [json.loads(line) for line in agent.out.splitlines()]
    assert [event["event"] for event in events] == ["connected", "serving"]
    assert events[1]["routes"][0]["url"] == parts.url


def test_open_modes_of_the_login_are_corrected_and_told(parts: Loopback) -> None:
    parts.add_exit_node()
    parts.start_app()
    config = parts.trial.login()
    (config / "credentials.json").chmod(0o644)
    agent = parts.start_agent("http", parts.app.target, config=config)
    assert "could be read by other users (0644); corrected to 0600" in agent.err
    assert (config / "credentials.json").stat().st_mode & 0o777 == 0o600


# --- the exit nodes --------------------------------------------------------------------------------------------------
def test_an_exit_node_that_restarts_gets_its_agent_back(parts: Loopback) -> None:
    node = parts.add_exit_node()
    parts.start_app()
    parts.start_agent()
    wait_until_answers(parts, 200)
    node.restart()
    wait_until_answers(parts, 200, timeout_s=30)
    assert re.search(r"lost eu-west-1: .*connecting again", parts.agent.err)
    assert parts.agent.popen is not None
    assert parts.agent.popen.poll() is None


def test_an_exit_node_killed_hard_leaves_the_other_serving(parts: Loopback) -> None:
    first, _ = parts.add_exit_node("eu-west"), parts.add_exit_node("us-east")
    parts.start_app()
    parts.start_agent()
    wait_until_answers(parts, 200, node=1)
    first.process.kill()
    for _ in range(20):
        with parts.visitor(1) as http:
            assert http.get("/headers").status_code == 200
    first.start()
    wait_until_answers(parts, 200, node=0, timeout_s=45)


def test_a_deleted_tunnel_is_waited_for_and_served_again(parts: Loopback) -> None:
    parts.add_exit_node()
    parts.start_app()
    agent = parts.start_agent()
    spec = parts.tunnel
    parts.trial.apply(tunnels=[])
    agent.wait_until(lambda: "the Tunnel shop is gone (HAWSE-2004)" in agent.err, "it told that the Tunnel is gone")
    parts.trial.apply(tunnels=[TunnelSpec(spec.name)])
    parts.wait_until_served(2)
    wait_until_answers(parts, 200)


def test_a_deleted_token_cuts_the_agent_off_with_the_reason(parts: Loopback) -> None:
    parts.add_exit_node()
    parts.start_app()
    agent = parts.start_agent()
    began = time.monotonic()
    parts.trial.apply(token=False)
    assert agent.wait(10) == 3
    assert time.monotonic() - began < 5
    assert "HAWSE-2003" in agent.err


def test_a_second_exit_node_on_the_same_port_says_which_port(parts: Loopback) -> None:
    node = parts.add_exit_node()
    second = parts.trial.process("second", node.process.argv)
    second.start()
    assert second.wait(30) != 0
    assert "HAWSE-2013" in second.err + second.out
