"""Modes of the agent's files."""

import os
import stat
from pathlib import Path

import pytest

from hawse_agent import files
from hawse_agent.errors import AgentError
from support import disk


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


@pytest.mark.parametrize("target", ["other", "gone"])
def test_a_link_in_place_of_a_file_is_refused_and_what_it_leads_to_is_left_alone(tmp_path: Path, target: str) -> None:
    (tmp_path / "other").write_bytes(b"x")
    (tmp_path / "other").chmod(0o644)
    (tmp_path / "f").symlink_to(tmp_path / target)
    with pytest.raises(AgentError, match=r"is a symbolic link.*HAWSE-2012") as caught:
        files.read_private(tmp_path / "f", limit_bytes=10, tell=pytest.fail)
    assert str(tmp_path / "f") in str(caught.value)
    assert mode(tmp_path / "other") == 0o644


def test_a_link_that_the_person_named_is_followed(tmp_path: Path) -> None:
    files.write_private(tmp_path / "other", b"x")
    (tmp_path / "f").symlink_to(tmp_path / "other")
    assert files.read_private(tmp_path / "f", limit_bytes=10, tell=pytest.fail, follow_link=True) == b"x"


def test_writing_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"x")
    (tmp_path / "f").symlink_to(tmp_path / "other")
    files.write_private(tmp_path / "f", b"new")
    assert not (tmp_path / "f").is_symlink()
    assert ((tmp_path / "f").read_bytes(), (tmp_path / "other").read_bytes()) == (b"new", b"x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_and_directories_of_somebody_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_bytes(b"x")
    os.chown(tmp_path / "d", 4711, -1)
    os.chown(tmp_path / "f", 4711, -1)
    with pytest.raises(AgentError, match=r"belongs to another user \(uid 4711\)"):
        files.make_private_directory(tmp_path / "d", pytest.fail)
    with pytest.raises(AgentError, match=r"belongs to another user \(uid 4711\)"):
        files.read_private(tmp_path / "f", limit_bytes=10, tell=pytest.fail)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_an_unwritable_directory_is_told_with_what_to_do(tmp_path: Path) -> None:
    """As a user whom modes bind: root may write everywhere."""
    tmp_path.chmod(0o755)
    files.write_private(tmp_path / "f", b"old")
    os.seteuid(4711)
    try:
        with pytest.raises(AgentError, match=r"f cannot be written: permission denied.*set HAWSE_CONFIG_DIR"):
            files.write_private(tmp_path / "f", b"new")
        with pytest.raises(AgentError, match=r"permission denied"):
            files.read_private(tmp_path / "f", limit_bytes=10, tell=pytest.fail)
    finally:
        os.seteuid(0)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("f", b"old")]


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


def test_a_mode_that_cannot_be_corrected_is_told_and_for_our_own_files_refused(tmp_path: Path) -> None:
    """A mounted Secret: read-only, and 0644 unless somebody thought of it."""
    with disk.mounted(tmp_path / "secret") as place:
        (place / "f").write_bytes(b"x")
        (place / "f").chmod(0o644)
        disk.make_read_only(place)
        with pytest.raises(AgentError, match=r"\(0644\), and that cannot be corrected: read-only file system.*Give it"):
            files.read_private(place / "f", limit_bytes=10, tell=pytest.fail)
        told: list[str] = []
        assert files.read_private(place / "f", limit_bytes=10, tell=told.append, follow_link=True) == b"x"
        assert "give it mode 0600" in told[0]
