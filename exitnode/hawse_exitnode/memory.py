"""How much memory this process may have: the container's limit, or the machine's memory. Called by `node`.

The edge refuses visitors near it (exitnode/core/edge/src/pressure.rs), since the kernel would kill the process past it.
"""

from collections.abc import Mapping
from pathlib import Path

from hawse_exitnode.errors import UsageError

VARIABLE = "HAWSE_MEMORY_LIMIT_BYTES"
"""Sets the limit by hand: for an exit node without a container of its own. 0: none."""
_CONTAINER = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
"""cgroup v2 and v1, as a container sees them."""


def limit(environment: Mapping[str, str], root: Path = Path("/")) -> int:
    """Bytes; 0 = unknown, so that nothing is refused for it (macOS).

    Raises:
        UsageError: the variable is no number of bytes.
    """
    if (by_hand := environment.get(VARIABLE)) is not None:
        if not by_hand.isdecimal():
            raise UsageError(
                f"{VARIABLE} is {by_hand!r}: write a number of bytes, 1073741824 for 1 GiB, or 0 for no limit."
            )
        return int(by_hand)
    known = [found for path in _CONTAINER if (found := _number(root / path))]
    return min([*known, machine]) if (machine := _machine(root)) else min(known, default=0)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None  # "max"


def _machine(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemTotal":
            return int(value.split()[0]) << 10
    return None
