"""Records of agents that run."""

import os
from pathlib import Path

import pytest

from hawse_agent import running


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
