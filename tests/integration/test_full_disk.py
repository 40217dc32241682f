"""A disk that is full, on real processes: what runs goes on serving and says once what it could not write."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawse_agent import credentials
from support import control, disk, loopback
from support.loopback import Loopback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Loopback]:
    with loopback.fleet(tmp_path) as made:
        yield made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk.mounted(tmp_path / "disk") as place:
        yield place


def test_an_agent_serves_and_connects_again_while_its_disk_is_full(parts: Loopback, small_disk: Path) -> None:
    node = parts.add_exit_node()
    parts.start_app()
    config = small_disk / "login"
    credentials.save(config, credentials.load(parts.trial.login(), pytest.fail), pytest.fail)
    agent = parts.start_agent("http", parts.app.target, config=config)
    login = (config / credentials.FILE).read_bytes()
    epoch = (config / credentials.EPOCH_FILE).read_bytes()

    disk.fill(small_disk)
    agent.wait_until(lambda: "no space left on device" in agent.err, "it said what it could not write")
    assert parts.headers_seen_by_app()
    node.restart()
    agent.wait_until(lambda: agent.err.count(credentials.EPOCH_FILE) > 0, "it greeted without keeping its epoch")
    agent.wait_until(lambda: parts.metric("sessions") == 1, "it is back at its exit node")
    assert parts.headers_seen_by_app()
    status = f"{agent.pid}.json cannot be written"
    assert agent.err.count(status) == 1, "tried every second, told once"
    assert "Traceback" not in agent.err

    assert (config / credentials.FILE).read_bytes() == login
    assert (config / credentials.EPOCH_FILE).read_bytes() == epoch
    agent.kill()
    parts.start_agent("http", parts.app.target, config=config)  # it starts on the full disk, too
    assert parts.headers_seen_by_app()


async def test_an_exit_node_serves_changes_and_starts_again_from_what_it_kept_before_its_disk_was_full(
    tmp_path: Path,
) -> None:
    hosts = [f"{name}.{control.DOMAIN}" for name in ("shop", "blog")]
    with disk.mounted(tmp_path / "state") as state:
        async with control.operator() as op, control.app() as app:
            token = op.add_token("laptop")
            op.add_tunnel("shop", token)
            op.publish_fleet()
            async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
                await control.until(lambda: (state / "configuration.json").exists(), 5, "nothing was kept")
                kept = (state / "configuration.json").read_bytes()
                disk.fill(state)
                op.add_tunnel("blog", token)
                await control.until(lambda: "cannot keep the configuration" in node.log, 10, "it did not say so")
                await agent.enrol(token, node)
                await agent.connect(node, app=app)
                assert [(await node.visit(host)).status_code for host in hosts] == [200, 200]
                assert (state / "configuration.json").read_bytes() == kept

                op.add_tunnel("docs", token)
                await asyncio.sleep(2.5)  # changes are kept at most once a second
                assert node.log.count("cannot keep the configuration") == 1, "told at every change"

                await op.stop()
                await node.end(signal.SIGKILL)
                await node.start()
                await node.wait_ready()
                assert [(await node.visit(host)).headers["x-hawse-error"] for host in hosts] == [
                    "HAWSE-1002",
                    "HAWSE-1001",
                ]


async def test_an_exit_node_keeps_its_configuration_as_soon_as_there_is_room_again(tmp_path: Path) -> None:
    """Not only at the next change, which may be days away."""
    with disk.mounted(tmp_path / "state") as state:
        async with control.operator() as op:
            op.add_tunnel("shop", op.add_token("laptop"))
            op.publish_fleet()
            async with control.exit_node(op, tmp_path) as node:
                await control.until(lambda: (state / "configuration.json").exists(), 5, "nothing was kept")
                kept = (state / "configuration.json").read_bytes()
                disk.fill(state)
                op.add_tunnel("blog", op.add_token("desktop"))
                await control.until(lambda: "cannot keep the configuration" in node.log, 10, "it did not say so")
                disk.make_room(state)
                await control.until(lambda: "the configuration is kept again" in node.log, 30, "it did not try again")
                assert (state / "configuration.json").read_bytes() != kept
