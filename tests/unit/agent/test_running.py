"""Records of agents that run."""

import os
from pathlib import Path

import pytest

from hawse_agent import running
from hawse_agent.errors import AgentError
from support import disk


def test_a_running_agent_is_listed_and_gone_afterwards(tmp_path: Path) -> None:
    with running.record(tmp_path, pytest.fail) as record:
        record.write({"uptime_s": 1})
        assert running.read_all(tmp_path) == [{"pid": os.getpid(), "uptime_s": 1}]
    assert running.read_all(tmp_path) == []
    assert list((tmp_path / "run").iterdir()) == []


def test_a_file_left_behind_by_a_killed_agent_is_removed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    (run / f"{os.getppid()}.json").write_text("{}")  # that pid lives, and is no agent
    (run / f"{os.getppid()}.lock").write_text("")
    assert running.read_all(tmp_path) == []
    assert list(run.iterdir()) == []


def test_without_a_directory_nothing_runs(tmp_path: Path) -> None:
    assert running.read_all(tmp_path) == []


def test_a_directory_that_is_read_only_is_told_with_what_to_change(tmp_path: Path) -> None:
    with disk.mounted(tmp_path / "config") as config:
        (config / "run").mkdir(mode=0o700)
        disk.make_read_only(config)
        with (
            pytest.raises(AgentError, match=r"\.lock cannot be written: read-only file system.*HAWSE_CONFIG_DIR"),
            running.record(config, pytest.fail),
        ):
            pytest.fail("it runs")
