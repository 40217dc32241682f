"""Runs a command as a terminal would, and tells what it left behind.

    python reaper.py REPORT.json COMMAND...

The command gets a process group of its own, whose id is in the report from the start on: `kill -INT -<group>` is what a
terminal does at Ctrl-C. This process adopts orphans (Linux), so that whatever is still running below it after the
command's end was left by it. Used by the tests of this folder; nothing here is imported.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SUBREAPER = 36  # linux/prctl.h
GRACE_S = float(os.environ.get("REAPER_GRACE_S", "2"))
"""How long after the command's end something may still be running."""


def descendants() -> list[str]:
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
            if state not in "ZX":
                parents.setdefault(int(parent), []).append(int(stat.parent.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        children = parents.get(waiting.pop(), [])
        waiting += children
        found += children
    lines = []
    for pid in found:
        with contextlib.suppress(OSError):
            lines.append(f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
    return lines


def main() -> int:
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    report = Path(sys.argv[1])
    process = subprocess.Popen(sys.argv[2:], start_new_session=True, stdin=subprocess.DEVNULL)
    write(report, {"group": process.pid})
    code = process.wait()
    deadline = time.monotonic() + GRACE_S
    while (left := descendants()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for line in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line.split()[0]), signal.SIGKILL)
    write(report, {"group": process.pid, "code": code, "left": left})
    return 0


def write(report: Path, content: dict[str, object]) -> None:
    partial = report.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.replace(report)


if __name__ == "__main__":
    sys.exit(main())
