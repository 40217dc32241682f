"""`hawse http` on a machine whose clock is wrong: served where that is safe, else told what is wrong with it."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawse_agent import credentials
from hawse_agent.trial.processes import Process
from support import loopback
from support.clock import shifted_clock
from support.loopback import Loopback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Loopback]:
    with loopback.fleet(tmp_path) as made:
        made.add_exit_node()
        made.start_app()
        yield made


def start_agent(parts: Loopback, config: Path, offset: str) -> Process:
    agent = parts.trial.agent("http", parts.app.target, config=config)
    agent.environment = {**agent.environment, **shifted_clock(offset)}
    agent.start()
    return agent


def wait_until_served(agent: Process) -> None:
    agent.wait_until(lambda: "https://" in agent.out, "it printed the public URL")


def epoch(config: Path) -> int:
    return credentials.read_epoch(config, pytest.fail)


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_an_hour_is_borne(parts: Loopback, offset: str) -> None:
    agent = start_agent(parts, parts.trial.login(), offset)
    wait_until_served(agent)
    assert parts.headers_seen_by_app()
    assert "HAWSE-" not in agent.err


@pytest.mark.parametrize(
    ("offset", "says"), [("-3h", "behind the exit node"), ("+30d", "Set the clock if it is ahead")]
)
def test_more_than_certificates_bear_is_told_as_a_wrong_clock(parts: Loopback, offset: str, says: str) -> None:
    agent = start_agent(parts, parts.trial.login(life=dt.timedelta(days=60)), offset)
    assert agent.wait(40) == 3, agent.tail()
    assert "HAWSE-3007" in agent.err
    assert says in agent.err
    assert "Traceback" not in agent.err


@pytest.mark.parametrize("kept", [True, False], ids=["with its epoch", "without its epoch"])
def test_a_clock_that_was_set_back_keeps_nobody_from_the_slot(parts: Loopback, kept: bool) -> None:
    """The exit node knows an epoch of an hour ahead; the dead session still holds the slot."""
    config = parts.trial.login()
    first = start_agent(parts, config, "+1h")
    wait_until_served(first)
    before = epoch(config)
    first.kill()
    if not kept:
        (config / credentials.EPOCH_FILE).unlink()
    again = start_agent(parts, config, "-10s")
    wait_until_served(again)
    assert parts.headers_seen_by_app()
    assert epoch(config) > before
