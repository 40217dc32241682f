"""A disk that is full, on real processes: what runs goes on serving and says once what it could not write."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawse_agent import credentials
from support import loopback
from support.loopback import Loopback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Loopback]:
    with loopback.fleet(tmp_path) as made:
        yield made


def fill(disk: Path) -> None:
    """Until there is no room for one byte more."""
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_an_agent_serves_and_connects_again_while_its_disk_is_full(parts: Loopback, small_disk: Path) -> None:
    node = parts.add_exit_node()
    parts.start_app()
    config = small_disk / "login"
    credentials.save(config, credentials.load(parts.trial.login(), pytest.fail), pytest.fail)
    agent = parts.start_agent("http", parts.app.target, config=config)
    login = (config / credentials.FILE).read_bytes()
    epoch = (config / credentials.EPOCH_FILE).read_bytes()

    fill(small_disk)
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
