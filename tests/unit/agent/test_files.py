"""Modes of the agent's files."""

import os
import stat
from pathlib import Path

import pytest

from hawse_agent import files
from hawse_agent.errors import AgentError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HAWSE_CONFIG_DIR": "/a", "XDG_CONFIG_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CONFIG_HOME": "/b", "HOME": "/c"}, "/b/hawse"),
        ({"HOME": "/c"}, "/c/.config/hawse"),
    ],
)
def test_the_config_directory_is(environ: dict[str, str], expected: str) -> None:
    assert files.config_directory(environ) == Path(expected)


def test_a_directory_is_made_private_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.make_private_directory(tmp_path / "a", pytest.fail)
        files.write_private(tmp_path / "a" / "f", b"x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == 0o700
    assert mode(tmp_path / "a" / "f") == 0o600


def test_an_open_directory_is_corrected_and_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    told: list[str] = []
    files.make_private_directory(tmp_path, told.append)
    assert mode(tmp_path) == 0o700
    assert "(0755); corrected to 0700" in told[0]


def test_an_open_file_is_corrected_and_told(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    path.chmod(0o644)
    told: list[str] = []
    assert files.read_private(path, limit_bytes=10, tell=told.append) == b"x"
    assert mode(path) == 0o600
    assert "(0644); corrected to 0600" in told[0]


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert files.read_private(tmp_path / "f", limit_bytes=10, tell=pytest.fail) is None


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    files.write_private(tmp_path / "f", b"x" * 11)
    with pytest.raises(AgentError, match="larger than 10 bytes"):
        files.read_private(tmp_path / "f", limit_bytes=10, tell=pytest.fail)


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(AgentError, match="not a regular file"):
        files.read_private(tmp_path / "f", limit_bytes=10, tell=pytest.fail)


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(AgentError, match="HAWSE-2012"):
        files.make_private_directory(tmp_path / "f", pytest.fail)


def test_writing_replaces_in_one_step_and_leaves_nothing_else(tmp_path: Path) -> None:
    files.write_private(tmp_path / "f", b"old")
    files.write_private(tmp_path / "f", b"new", durable=False)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("f", b"new")]


def test_a_directory_that_is_gone_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="no such file or directory") as caught:
        files.write_private(tmp_path / "gone" / "f", b"x")
    assert "\n" not in str(caught.value)
