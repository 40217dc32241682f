"""kubectl and helm as a user types them: shown, run, logged; and silent questions with JSON answers.

The programs are the ones of this repository, never those of PATH. Knows no kinds. Used by clusters, the steps, session.
"""

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import programs
from demo.errors import DemoError
from demo.report import Report

_ASK_S = 20.0
_POLL_S = 0.15


@dataclass(frozen=True, slots=True)
class Shell:
    """A terminal as the user's: our programs first on PATH, KUBECONFIG set, the repository as working directory."""

    report: Report
    root: Path
    environment: Mapping[str, str]
    log: Path
    """Every command with its whole output."""

    def show(self, command: str, *, hop: str, timeout_s: float = 60.0, quiet: bool = False) -> str:
        """Print a command, run it with bash, print what it says; return its stdout.

        Raises:
            DemoError: it failed.
        """
        self.report.command(command)
        with self.report.waiting(command.split()[0]):
            done = self.run(command, hop=hop, timeout_s=timeout_s)
        if done.code != 0:
            self.report.output(done.both)
            raise DemoError(hop, f"the command ended with {done.code}: {command}", log=self.log)
        if not quiet:
            self.report.output(done.both)
        return done.out

    def run(self, command: str, *, hop: str, timeout_s: float = _ASK_S) -> programs.Done:
        """Run a command line silently."""
        argv = ["bash", "-c", f"set -o pipefail; {command}"]
        started = time.monotonic()
        done = programs.run(argv, hop=hop, environment=self.environment, timeout_s=timeout_s, cwd=self.root)
        with self.log.open("a") as log:
            answer = done.err if "-o json" in command else done.both  # whole objects would hide the rest
            log.write(f"$ {command}\n{answer}[{done.code}, {time.monotonic() - started:.2f} s]\n")
        return done

    def ask(self, *arguments: str, hop: str = "the API server", timeout_s: float = _ASK_S) -> str:
        """Stdout of a silent kubectl.

        Raises:
            DemoError: it failed.
        """
        command = shlex.join(["kubectl", *arguments])
        done = self.run(command, hop=hop, timeout_s=timeout_s)
        if done.code != 0:
            raise DemoError(hop, f"{command}: {done.err.strip() or done.code}", log=self.log)
        return done.out

    def get(self, *arguments: str, hop: str = "the API server") -> Any:
        """What `kubectl get … -o json` says; None if it is not there (yet)."""
        done = self.run(shlex.join(["kubectl", "get", *arguments, "-o", "json", "--ignore-not-found"]), hop=hop)
        if done.code != 0 or not done.out.strip():
            return None
        return json.loads(done.out)

    def until(self, what: str, found: Callable[[], Any], *, timeout_s: float) -> Any:
        """Poll until `found` returns something true; return that, or its last answer when time is over."""
        with self.report.waiting(what) as ticker:
            while not (answer := found()) and ticker.elapsed_s < timeout_s:
                ticker.tick()
                time.sleep(_POLL_S)
            return answer


def condition(resource: Any, type_: str) -> Mapping[str, str]:
    """One condition of an object as JSON, empty if it is not there."""
    conditions: Sequence[Mapping[str, str]] = ((resource or {}).get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == type_), {})


def holds(resource: Any, type_: str) -> bool:
    """Whether a condition is True for the object as it now is."""
    found = condition(resource, type_)
    generation = (resource or {}).get("metadata", {}).get("generation")
    return found.get("status") == "True" and found.get("observedGeneration", generation) == generation


def describe(resource: Any) -> str:
    """What does not hold, in one line, with the operator's own words."""
    if not resource:
        return "it does not exist"
    conditions = (resource.get("status") or {}).get("conditions") or ()
    wrong = [one for one in conditions if one.get("status") != "True" and one.get("type") != "Ready"]
    wrong = wrong or [one for one in conditions if one.get("status") != "True"]
    if not wrong:
        return "no condition was reported" if not conditions else "all conditions hold"
    return "; ".join(
        f"{one['type']}={one['status']} {one.get('reason', '')}: {one.get('message', '')}" for one in wrong
    )
