"""Agents that run on this machine: each keeps a small file in <config>/run, `hawse status` reads them.

An agent holds a lock on its file's sibling for as long as it lives, so that a file left behind by kill -9 is known for
what it is, whatever process has its pid today.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hawse_agent import files

DIRECTORY = "run"
_LIMIT_BYTES = 256 * 1024
_MOST = 256


class Record:
    """The file of this process."""

    def __init__(self, directory: Path, pid: int) -> None:
        self._file = directory / DIRECTORY / f"{pid}.json"
        self._pid = pid

    def write(self, content: Mapping[str, Any]) -> None:
        """Replace what `hawse status` shows."""
        files.write_private(self._file, json.dumps({"pid": self._pid, **content}).encode(), durable=False)


@contextlib.contextmanager
def record(directory: Path, tell: files.Tell) -> Iterator[Record]:
    """Be known to `hawse status` inside the block.

    Raises:
        AgentError: the directory cannot be used.
    """
    run = directory / DIRECTORY
    files.make_private_directory(run, tell)
    pid = os.getpid()
    lock, file = run / f"{pid}.lock", run / f"{pid}.json"
    descriptor = _lock(lock)
    try:
        yield Record(directory, pid)
    finally:
        with contextlib.suppress(OSError):  # read-only by now: `hawse status` finds that nobody holds the lock
            file.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
        os.close(descriptor)


def read_all(directory: Path) -> list[dict[str, Any]]:
    """Records of the agents that live; files of dead ones are removed."""
    found = []
    for file in sorted((directory / DIRECTORY).glob("*.json"))[:_MOST]:
        if not _is_locked(file.with_suffix(".lock")):
            file.unlink(missing_ok=True)
            file.with_suffix(".lock").unlink(missing_ok=True)
            continue
        content = files.read_private(file, limit_bytes=_LIMIT_BYTES, tell=lambda _: None)
        with contextlib.suppress(ValueError):
            entry = json.loads(content or b"null")
            if isinstance(entry, dict):
                found.append(entry)
    return found


def _lock(path: Path) -> int:
    """Make the file and hold its lock; the descriptor."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, files.PRIVATE_FILE)
    except OSError as exc:
        raise files.unwritable(path, exc) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:  # a file system without locks
        os.close(descriptor)
        raise files.unwritable(path, exc) from exc
    return descriptor


def _is_locked(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
