"""Child processes of the demo: started in sessions of their own, ended in order, and afterwards proven to be gone.

A session of its own keeps the terminal's Ctrl-C from a child, so that the demo ends them in its order. The demo makes
itself the reaper of orphans (Linux), so that a grandchild whose parent died is still found below us. Starts only from
the main thread: the parent-death signal that covers a `kill -9` of the demo belongs to the starting thread.
"""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo.errors import DemoError

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_LINUX = sys.platform == "linux"
_LIBC = ctypes.CDLL(None) if _LINUX else None
_STOP_S = 8.0
_POLL_S = 0.05


@dataclass(slots=True)
class Program:
    """A program in the background; what it writes goes to <name>.log."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def output(self) -> str:
        """Everything it wrote so far."""
        return self.log.read_text(errors="replace")

    def wait(self, timeout_s: float) -> int | None:
        """Exit code, or None if it still runs after that time."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


@dataclass(slots=True)
class Programs:
    """Everything that this demo started in the background."""

    logs: Path
    _started: list[Program] = field(default_factory=list)

    def start(
        self, name: str, argv: Sequence[str], *, environment: Mapping[str, str], cwd: Path | None = None
    ) -> Program:
        """Start a program; a second one of a name gets a log of its own."""
        log = self.logs / f"{name}.log"
        if log.exists():
            log = self.logs / f"{name}-{len(list(self.logs.glob(f'{name}*.log'))) + 1}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(argv),
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent if _LINUX else None,
            )
        program = Program(name, process, log)
        self._started.append(program)
        return program

    def ended(self) -> list[Program]:
        """Those that ended by themselves."""
        return [program for program in self._started if not program.running()]

    def named(self, name: str) -> list[Program]:
        """Those of a name, ended or not."""
        return [program for program in self._started if program.name == name]

    def await_output(self, program: Program, pattern: re.Pattern[str], timeout_s: float) -> str | None:
        """First group of what it printed; None if it ended or the time is over."""
        deadline = time.monotonic() + timeout_s
        while not (found := pattern.search(program.output())):
            if time.monotonic() > deadline or not program.running():
                return None
            time.sleep(_POLL_S)
        return found.group(1)

    def stop(self, program: Program) -> None:
        """SIGTERM to its session, SIGKILL to what is left of it after a while."""
        if program in self._started:
            self._started.remove(program)
        end_session(program.process, _STOP_S)

    def stop_all(self) -> None:
        """End all of them, the last one first."""
        for program in reversed(self._started.copy()):
            self.stop(program)


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def both(self) -> str:
        """Stdout, then stderr."""
        return self.out + self.err


def run(
    argv: Sequence[str],
    *,
    hop: str,
    environment: Mapping[str, str],
    timeout_s: float,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> Done:
    """Run a command to its end.

    Raises:
        DemoError: it is not there, or takes longer than it may.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as exc:
        raise DemoError(hop, f"{argv[0]} cannot be started: {exc.strerror}") from exc
    try:
        out, err = process.communicate(None if stdin is None else stdin.encode(), timeout=timeout_s)
    except subprocess.TimeoutExpired as exc:
        raise DemoError(
            hop, f"`{Path(argv[0]).name} {' '.join(argv[1:3])} …` took longer than {timeout_s:g} s"
        ) from exc
    finally:
        end_session(process, 1.0)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    return Done(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def end_session(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    """End a process and everything in its session."""
    deadline = time.monotonic() + patience_s
    _signal_group(process.pid, signal.SIGTERM)
    while process.poll() is None or _group_lives(process.pid):
        if process.returncode is not None:
            _reap_group(process.pid)
        if time.monotonic() > deadline:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait(5)
            return
        time.sleep(_POLL_S)


def adopt_orphans() -> None:
    """From now on orphaned descendants become children of this process, where leftovers() finds them."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def leftovers() -> list[str]:
    """Descendants of this process that still run, as "pid command". Linux only; elsewhere it finds none."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
            if state not in "ZX":
                parents.setdefault(int(parent), []).append(int(stat.parent.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        children = parents.get(waiting.pop(), [])
        waiting += children
        found += children
    return [f"{pid} {_command_of(pid)}" for pid in sorted(found)]


def kill_leftovers() -> None:
    """SIGKILL to every descendant: the last resort, after the orderly end."""
    for entry in leftovers():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(entry.split()[0]), signal.SIGKILL)


def tail(path: Path, lines: int = 15) -> list[str]:
    """The end of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16384))
            return file.read().decode(errors="replace").rstrip().splitlines()[-lines:]
    except OSError:
        return []


def _end_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _reap_group(group: int) -> None:
    """Orphans of the group are our children (adopt_orphans) and stay zombies, and so members, until waited for."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:120]
    except OSError:
        return "?"
