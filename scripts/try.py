"""`make try`: an exit node, an agent and the sample app on loopback, without a cluster; the fastest look at Hawse.

Everything on the path is the real program; only the operator is missing, so the exit node reads its configuration from
a file and the agent's login is made here (hawse_agent.trial). Visits the first page itself over HTTP/1.1 and HTTP/2
with curl, prints what came, and stays up until Ctrl-C. `--check` ends after the visits: 0 if both answered 200.
"""

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hawse_agent.trial import processes
from hawse_agent.trial.processes import ExitNode, Process, Trial, TrialError

APP = Path(__file__).parents[1] / "examples" / "app" / "app.py"
ADDRESS = "127.0.0.1"
"""Browsers lead *.localhost here by themselves."""
CURL_S = 20


@dataclass(frozen=True, slots=True)
class Up:
    """What is running."""

    node: ExitNode
    app: Process
    agent: Process
    url: str
    host: str
    ca: Path


@dataclass(frozen=True, slots=True)
class Visit:
    """One request through the tunnel."""

    option: str
    ok: bool
    said: str
    seconds: float


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Hawse on loopback, without a cluster.")
    parser.add_argument("--check", action="store_true", help="end after the visits, with 0 or 1")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="hawse-try-") as directory:
        try:
            with everything(Path(directory)) as up:
                visits = show(up)
                if given.check:
                    return 0 if all(visit.ok for visit in visits) else 1
                stay(up)
        except TrialError as exc:
            say(f"try: {exc}")
            return 1
    say("\neverything has ended")
    return 0


@contextlib.contextmanager
def everything(directory: Path) -> Iterator[Up]:
    """Start exit node, app and agent; ends them all."""
    started = time.monotonic()
    with Trial(directory) as trial:
        node = trial.add_exit_node("eu-west", address=ADDRESS)
        step(
            started,
            f"exit node {node.place.name} listens on {ADDRESS}: TCP {node.place.https_port} for visitors, "
            f"UDP {node.place.agents_port} for agents",
        )
        port = processes.free_port(ADDRESS, 3000)
        app = trial.process("app", [sys.executable, str(APP), "--port", str(port)])
        app.start()
        app.wait_until(lambda: "listening on" in app.out, "it listens")
        step(started, f"sample app listens on {ADDRESS}:{port}")
        agent = trial.agent("http", str(port))
        agent.start()
        agent.wait_until(lambda: "https://" in agent.out, "it printed the public URL")
        url = agent.out.split()[0]
        step(started, f"hawse http {port}  ->  {url}")
        yield Up(node, app, agent, url, f"shop.{trial.fleet.domain}", trial.visitors_ca)


def show(up: Up) -> list[Visit]:
    """Visit over both protocols and print the table."""
    if shutil.which("curl") is None:
        raise TrialError("curl is not installed. Install it (apt install curl) and try again.")
    say("\nVisits, from this machine through the exit node and the tunnel to the app:")
    visits = [visit(up, "--http1.1"), visit(up, "--http2")]
    for one in visits:
        say(f"  {one.option:10} {'ok    ' if one.ok else 'FAILED'} {one.seconds * 1000:6.1f} ms  {one.said}")
    say(f"\nTry it yourself:\n  {' '.join(curl(up, '--http2'))} {up.url}headers")
    return visits


def visit(up: Up, option: str) -> Visit:
    """One GET with curl."""
    shape = "%{http_version}|%{http_code}|%{content_type}|%{size_download}"
    argv = [*curl(up, option), "-sS", "-o", "/dev/null", "-w", shape, "--max-time", str(CURL_S), up.url]
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=CURL_S + 5, check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        return Visit(option, ok=False, said=done.stderr.strip(), seconds=seconds)
    version, status, kind, size = done.stdout.split("|")
    expected = "2" if option == "--http2" else "1.1"
    ok = status == "200" and version == expected
    return Visit(option, ok=ok, said=f"HTTP/{version} {status} {kind}, {size} bytes", seconds=seconds)


def curl(up: Up, option: str) -> list[str]:
    """The command without its URL."""
    place = up.node.place
    return ["curl", option, "--cacert", str(up.ca), "--resolve", f"{up.host}:{place.https_port}:{place.address}"]


def stay(up: Up) -> None:
    """Until Ctrl-C, or until something ends by itself."""
    say(f"\n{up.url} is up; logs are in {up.agent.directory}. Ctrl-C ends everything.")
    while True:
        for process in (up.node.process, up.app, up.agent):
            if process.popen is not None and process.popen.poll() is not None:
                raise TrialError(f"{process.name} ended\n{process.tail()}")
        time.sleep(0.5)


def step(started: float, text: str) -> None:
    """A line with the time since the start."""
    say(f"{time.monotonic() - started:5.1f} s  {text}")


def say(text: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
