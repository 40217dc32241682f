"""A wall clock that is wrong, for one process: Debian's package faketime. Skips the test where it is not installed."""

from pathlib import Path

import pytest


def shifted_clock(offset: str) -> dict[str, str]:
    """Environment of a process whose clock is off by "+1h" or "-2h"; its monotonic clock stays right."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("needs libfaketime: apt-get install faketime")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }
