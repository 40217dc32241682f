"""What keeps an agent from a session, each with its exit code and one or two lines that say what to do."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hawse_agent import credentials
from hawse_agent.trial import fleet, pki, processes
from hawse_agent.trial.processes import Process
from hawse_api.ir import core_pb2, frames_pb2
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import FrameReceived
from support import loopback
from support.loopback import Loopback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Loopback]:
    with loopback.fleet(tmp_path) as made:
        yield made


def ended(agent: Process, code: int, *says: str) -> None:
    """It ended by itself with this code and these words, in at most two lines of error."""
    assert agent.wait(40) == code, agent.tail()
    assert "Traceback" not in agent.err
    for text in says:
        assert text in agent.err
    assert agent.out == ""


def test_no_exit_node_is_reached_within_the_patience(parts: Loopback) -> None:
    parts.add_exit_node(start=False)
    address = parts.nodes[0].agents_address
    began = time.monotonic()
    agent = parts.start_agent("http", "3000", "--connect-timeout", "3", wait=False)
    ended(agent, 4, "HAWSE-2001", f"{address}: ")
    assert time.monotonic() - began < 15


def test_an_exit_node_of_another_ca_is_not_trusted(parts: Loopback) -> None:
    parts.add_exit_node()
    config = parts.trial.login(roots=(parts.trial.fleet.visitors.der,))
    ended(parts.start_agent("http", "3000", config=config, wait=False), 3, "HAWSE-2011")


def test_an_exit_node_of_another_name_is_not_trusted(parts: Loopback) -> None:
    parts.add_exit_node()
    config = parts.trial.login(connect_name="connect.other.example")
    ended(parts.start_agent("http", "3000", config=config, wait=False), 3, "HAWSE-2011")


def test_a_certificate_of_another_ca_is_refused(parts: Loopback) -> None:
    parts.add_exit_node()
    stranger = pki.make_authority("stranger", parts.trial.fleet.made)
    leaf = stranger.issue(
        "agent", now=parts.trial.fleet.made, uri="spiffe://tunnels.localhost/ns/a/agenttoken/b/agent/c"
    )
    config = parts.trial.login(chain=leaf.chain_der, key=leaf.key_der)
    ended(parts.start_agent("http", "3000", config=config, wait=False), 3, "HAWSE-2016", "hawse login -")


def test_an_expired_certificate_is_told_before_anything_is_dialled(parts: Loopback) -> None:
    parts.add_exit_node(start=False)
    config = parts.trial.login(life=-dt.timedelta(minutes=10))
    ended(
        parts.start_agent("http", "3000", config=config, wait=False), 3, "HAWSE-2014", "expired 10 min", "hawse login -"
    )


def test_a_token_that_is_gone_is_told_at_the_start(parts: Loopback) -> None:
    parts.trial.token = False
    parts.trial.tunnels = ()
    parts.add_exit_node()
    agent = parts.start_agent("http", "3000", "--connect-timeout", "5", wait=False)
    assert agent.wait(40) in (3, 4), agent.tail()
    assert "HAWSE-2003" in agent.err or "AgentToken" in agent.err
    assert "Traceback" not in agent.err


def test_without_a_tunnel_it_says_so_and_waits(parts: Loopback) -> None:
    parts.trial.tunnels = ()
    parts.add_exit_node()
    parts.start_app()
    agent = parts.start_agent(wait=False)
    agent.wait_until(lambda: "no Tunnel names the token default/laptop yet (HAWSE-2004)" in agent.err, "it said so")
    parts.trial.apply(tunnels=[fleet.TunnelSpec("shop")])
    parts.wait_until_served()


@asynccontextmanager
async def node_that_answers(parts: Loopback, frame: frames_pb2.Frame) -> AsyncIterator[str]:
    """A link server whose only answer to Hello is this frame."""
    made = parts.trial.fleet
    address = processes.free_address((7443,))
    leaf = made.authority.issue("n", now=made.made, uri=f"spiffe://{made.domain}/exitnode/n/p", dns=[made.connect_name])
    identity = core_pb2.Identity(chain=leaf.chain_der, key=leaf.key_der, roots=[made.authority.der])
    async with TunnelCore() as core:
        await core.serve_links(f"{address}:7443", identity)

        async def run() -> None:
            async for event in core.events():
                if isinstance(event, FrameReceived):
                    core.send(event.link, frame)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(run())
            yield f"{address}:7443"
            task.cancel()


@pytest.mark.parametrize(
    ("frame", "code", "says"),
    [
        (
            frames_pb2.Frame(
                refused=frames_pb2.Refused(
                    code="HAWSE-2002",
                    message="This agent speaks 1 to 1, the exit node 2 to 3. Update hawse.",
                    final=True,
                )
            ),
            1,
            ("HAWSE-2002", "Update hawse."),
        ),
        (
            frames_pb2.Frame(welcome=frames_pb2.Welcome(version=7, node_version="9.9.9")),
            1,
            ("HAWSE-2002", "exit node 9.9.9 speaks version 7", "Update hawse on this machine"),
        ),
        (
            frames_pb2.Frame(
                refused=frames_pb2.Refused(code="HAWSE-2003", message="AgentToken laptop was deleted.", final=True)
            ),
            3,
            ("HAWSE-2003", "AgentToken laptop was deleted", "hawse login -"),
        ),
    ],
    ids=["refuses our version", "speaks a newer version", "revoked"],
)
async def test_a_final_answer_ends_it(
    parts: Loopback, frame: frames_pb2.Frame, code: int, says: tuple[str, ...]
) -> None:
    async with node_that_answers(parts, frame) as address:
        login = fleet.build_login(parts.trial.fleet, {address: 443}, agent_id="a1")
        credentials.save(parts.directory / "config", login, lambda _: None)
        agent = parts.start_agent("http", "3000", config=parts.directory / "config", wait=False)
        await asyncio.to_thread(ended, agent, code, *says)
