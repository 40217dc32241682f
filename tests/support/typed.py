"""A command typed by a user: what it printed, how it ended, what it left behind. For tests/e2e."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REAPER = ROOT / "tests" / "e2e" / "reaper.py"
TYPED_S = 1800.0
"""A cold machine builds for ten minutes first."""
_OURS = ("HAWSE_", "MAKE", "MFLAGS", "KUBECONFIG", "CHECK", "KIND")


@dataclass
class Typed:
    """The running command."""

    process: "subprocess.Popen[bytes]"
    output: Path
    report: Path

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    @property
    def last_line(self) -> str:
        """The last line that is not make's own."""
        lines = [line for line in self.text.splitlines() if line.strip() and not line.startswith("make")]
        return lines[-1] if lines else ""

    @property
    def left(self) -> list[str]:
        """Processes that outlived the command."""
        return list(json.loads(self.report.read_text())["left"])

    def wait_for(self, text: str, timeout_s: float = TYPED_S) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.text:
            assert self.process.poll() is None, f"it ended before {text!r} was shown:\n{self.text}"
            assert time.monotonic() < deadline, f"{text!r} was not shown:\n{self.text}"
            time.sleep(0.1)

    def press_ctrl_c(self) -> None:
        """What the terminal does: SIGINT to the foreground process group."""
        os.killpg(json.loads(self.report.read_text())["group"], signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to all of it at once, as the OOM killer or a closed virtual machine."""
        os.killpg(json.loads(self.report.read_text())["group"], signal.SIGKILL)

    def wait(self, timeout_s: float = TYPED_S) -> int:
        """Exit code."""
        self.process.wait(timeout_s)
        return int(json.loads(self.report.read_text())["code"])


def type_command(directory: Path, number: int, *command: str, **environment: str) -> Typed:
    """Start a command in the repository, with what it prints in a file."""
    output, report = directory / f"{number}.txt", directory / f"{number}.json"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, str(REAPER), str(report), *command],
            cwd=ROOT,
            env=inherited | {"TMPDIR": str(directory)} | environment,  # what a failure keeps goes with the test
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    one = Typed(process, output, report)
    while not report.exists():
        assert process.poll() is None, one.text
        time.sleep(0.02)
    return one


def summary_of(line: str) -> tuple[int, int]:
    """Checks that passed and failed, as the demo's last line says."""
    found = re.fullmatch(r"demo: (\d+) checks passed, (\d+) failed", line)
    assert found, f"the last line is {line!r}"
    return int(found[1]), int(found[2])
