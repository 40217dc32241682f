"""Builds what the demo and the tests run, side by side, with one live line a job: the Rust core and the Go programs.

Each job is a process of its own and decides itself whether there is something to do (both keep what they built by
content, see exitnode/core/hatch_build.py and build_tools.py). This script only starts them, shows the time and the
usual time, and prints the end of a log when a job fails. Called by the Makefile: `build.py core go`.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import build_tools

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 3600.0
QUIET_REPORT_S = 30.0
SILENT_S = 3.0
"""A job shorter than this had nothing to build: it is not worth a line."""


@dataclass(slots=True)
class Job:
    """One build in a process of its own."""

    name: str
    title: str
    command: list[str]
    usual_s: float
    process: "subprocess.Popen[bytes] | None" = None
    took_s: float | None = None
    log: Path = field(default_factory=Path)

    def start(self, logs: Path) -> None:
        """Start it, output into its log."""
        self.log = logs / f"{self.name}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)

    def poll(self, elapsed_s: float) -> None:
        """Notice its end."""
        if self.took_s is None and self.process is not None and self.process.poll() is not None:
            self.took_s = elapsed_s

    @property
    def failed(self) -> bool:
        """True once it ended with an error."""
        return self.process is not None and self.process.poll() not in (None, 0)

    def line(self, elapsed_s: float) -> str:
        """What people see of it."""
        if self.took_s is None:
            usual = build_tools.duration(self.usual_s)
            return f"build: {self.title}  {build_tools.duration(elapsed_s)} (usually {usual}; once)"
        return f"build: {self.title}  {'failed' if self.failed else 'done'} in {build_tools.duration(self.took_s)}"


def jobs(wanted: list[str]) -> list[Job]:
    """Return the jobs by name: `core` (Rust, editable install), `go` (devcluster and helm)."""
    usual = build_tools.usual_times(build_tools.cache_dir())
    core = [str(ROOT / ".venv/bin/uv"), "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", "."]
    go = [sys.executable, str(ROOT / "scripts/build_tools.py")]
    known = {
        "core": Job("core", "Rust data plane         ", core, usual.get("core", 150.0)),
        "go": Job("go", "Go: cluster and Helm    ", go, usual.get("go", 420.0)),
    }
    return [known[name] for name in wanted]


def run(todo: list[Job], stream: IO[str]) -> int:
    """Run all jobs to their end; 0 if none failed. A failure or Ctrl-C ends the others."""
    logs = build_tools.cache_dir() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    live, drawn, reported = stream.isatty(), 0, 0.0
    started = time.monotonic()
    try:
        for job in todo:
            job.start(logs)
        while any(job.took_s is None for job in todo) and not any(job.failed for job in todo):
            time.sleep(0.2)
            elapsed = time.monotonic() - started
            if elapsed > LIMIT_S:
                stream.write(f"build: not done after {build_tools.duration(LIMIT_S)}; logs are in {logs}\n")
                return 1
            for job in todo:
                job.poll(elapsed)
            if live and elapsed > SILENT_S:
                stream.write(
                    (f"\033[{drawn}A" if drawn else "") + "".join(f"\r\033[K{j.line(elapsed)}\n" for j in todo)
                )
                drawn = len(todo)
            elif not live and elapsed > SILENT_S and elapsed - reported > QUIET_REPORT_S:
                reported = elapsed
                stream.write("".join(f"{job.line(elapsed)}\n" for job in todo if job.took_s is None))
            stream.flush()
    finally:
        for job in todo:
            if job.process is not None and job.process.poll() is None:
                job.process.terminate()
                job.process.wait(timeout=30)
    return finish(todo, stream, live=live)


def finish(todo: list[Job], stream: IO[str], *, live: bool) -> int:
    """Say how it ended, remember the times, show the log of what failed."""
    for job in todo:
        if job.failed:
            tail = "\n".join(job.log.read_text(errors="replace").splitlines()[-30:])
            stream.write(f"{tail}\nbuild: {job.title.strip()} failed; the whole log is {job.log}\n")
            return 1
        if job.took_s is not None and job.took_s > SILENT_S:
            build_tools.remember(build_tools.cache_dir(), job.name, job.took_s)
            if not live:
                stream.write(f"{job.line(job.took_s)}\n")
    return 0


def main() -> int:
    """Build what the arguments name."""
    os.environ.setdefault("VIRTUAL_ENV", str(ROOT / ".venv"))
    try:
        return run(jobs(sys.argv[1:]), sys.stderr)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
