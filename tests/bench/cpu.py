"""What processes have used so far, from /proc. Called by rounds and memory."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_USER_TICKS, _SYSTEM_TICKS = 11, 12  # fields of /proc/<pid>/stat after the name (proc(5): utime 14, stime 15)


def tree(pid: int) -> list[int]:
    """The process and everything it started that still lives."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [one for child in children.read_text().split() for one in tree(int(child))]
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
    return found


def seconds(pids: Iterable[int]) -> float:
    """CPU seconds (user and system) of these processes and their children."""
    total = 0
    for pid in (one for root in pids for one in tree(root)):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    return total / _TICKS_PER_S


def by_part(parts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """CPU seconds of each part of a product."""
    return {part: seconds(pids) for part, pids in parts.items()}


def rss_kb(pid: int) -> int:
    """Resident memory of one process in kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
