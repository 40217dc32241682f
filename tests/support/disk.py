"""A disk that can be filled, emptied and made read-only: a small tmpfs. Needs root, else skips."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(place: Path) -> Iterator[Path]:
    """A file system of 256 KiB of its own at this path while the block lasts."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    """Until there is no room for one byte more."""
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def make_room(disk: Path) -> None:
    """What `fill` took."""
    (disk / "filler").unlink()


def make_read_only(disk: Path) -> None:
    """From now on nothing can be written or corrected."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
