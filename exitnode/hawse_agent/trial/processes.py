"""Starts and ends the processes of a trial. Blocking on purpose: tests and scripts/try.py drive it step by step.

Each process writes to a log file in the trial's directory; its start is waited for with a deadline and a start that
fails raises TrialError with the end of that log. `Trial.__exit__` ends everything that was started, hard if need be.
"""

import contextlib
import datetime as dt
import http.client
import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from hawse_agent import credentials, files
from hawse_agent.trial import fleet as fleets

START_S = 30.0
"""Deadline for a process to be ready: generous, test machines are busy."""
_STOP_S = 10.0
_POLL_S = 0.05
_TAIL_BYTES = 4000
_MODULES = {"hawse": "hawse_agent", "hawse-exitnode": "hawse_exitnode"}


class TrialError(Exception):
    """A process did not become ready; the message has the end of its log."""


@dataclass(slots=True)
class Process:
    """A child process with its logs: stdout and stderr apart, because the agent's stdout is its interface."""

    name: str
    argv: Sequence[str]
    directory: Path
    environment: Mapping[str, str] = field(repr=False)
    popen: "subprocess.Popen[bytes] | None" = None
    starts: int = 0

    @property
    def out(self) -> str:
        """Everything the last start wrote to stdout."""
        return self._read("out")

    @property
    def err(self) -> str:
        """Everything the last start wrote to stderr."""
        return self._read("err")

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self.popen is None:
            raise TrialError(f"{self.name} is not running")
        return self.popen.pid

    def start(self) -> None:
        """Start it; does not wait until it is ready."""
        self.starts += 1
        with self._log("out").open("wb") as out, self._log("err").open("wb") as err:
            self.popen = subprocess.Popen(  # noqa: S603 - fixed programs of ours
                list(self.argv), env=dict(self.environment), stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def wait_until(self, ready: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
        """Poll until ready.

        Raises:
            TrialError: the process ended, or the deadline passed.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.popen is not None and self.popen.poll() is not None:
                raise TrialError(f"{self.name} ended with {self.popen.returncode} before {what}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise TrialError(f"{self.name}: no sign within {timeout_s:g} s that {what}\n{self.tail()}")
            time.sleep(_POLL_S)

    def wait(self, timeout_s: float = START_S) -> int:
        """Exit code, once it has ended by itself."""
        if self.popen is None:
            raise TrialError(f"{self.name} was not started")
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise TrialError(f"{self.name} still runs after {timeout_s:g} s\n{self.tail()}") from exc

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the running process."""
        if self.popen is not None:
            self.popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as a crash or the OOM killer does it."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait(_STOP_S)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL after a while; the exit code."""
        if self.popen is None:
            return 0
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(_STOP_S)
        if self.popen.poll() is None:
            self.kill()
        return self.popen.returncode

    def tail(self) -> str:
        """The end of both logs, for messages."""
        return "\n".join(f"--- {self.name} {kind}\n{self._read(kind)[-_TAIL_BYTES:]}" for kind in ("out", "err"))

    def _log(self, kind: str) -> Path:
        return self.directory / f"{self.name}.{self.starts}.{kind}"

    def _read(self, kind: str) -> str:
        try:
            return self._log(kind).read_text(errors="replace")
        except FileNotFoundError:
            return ""


@dataclass(slots=True)
class ExitNode:
    """One exit node of the trial."""

    place: fleets.Place
    file: Path
    process: Process

    @property
    def agents_address(self) -> str:
        """Where agents dial."""
        return self.place.at(self.place.agents_port)

    def is_ready(self) -> bool:
        """Asks /readyz on the admin port."""
        connection = http.client.HTTPConnection(self.place.address, self.place.admin_port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.process.start()
        self.process.wait_until(self.is_ready, "its /readyz said 200")

    def restart(self) -> None:
        """Stop it in order and start it again at the same place."""
        self.process.stop()
        self.start()


class Trial:
    """A directory with a fleet: exit nodes, an agent's login, processes. Use as a context manager."""

    def __init__(self, directory: Path, *, domain: str = "tunnels.localhost") -> None:
        self.directory = directory
        self.fleet = fleets.make_fleet(domain, dt.datetime.now(dt.UTC).replace(microsecond=0))
        self.tunnels: tuple[fleets.TunnelSpec, ...] = (fleets.TunnelSpec("shop"),)
        self.allowed_cidrs: tuple[str, ...] = ()
        """Networks that exit nodes dial for standbys at a URL."""
        self.token = True
        self.exit_nodes: list[ExitNode] = []
        self.processes: list[Process] = []
        self.visitors_ca = directory / "visitors-ca.pem"
        files.make_private_directory(directory, _silent)
        self.visitors_ca.write_text(self.fleet.visitors.pem)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process, the last started first."""
        for process in reversed(self.processes):
            process.stop()

    def add_exit_node(
        self, region: str = "eu-west", *, address: str = "", https_port: int = 8443, start: bool = True
    ) -> ExitNode:
        """Make an exit node on a loopback address of its own, or on `address`, and start it."""
        at = address or free_address((https_port, 9090))
        place = fleets.Place(
            name=f"{region}-{len(self.exit_nodes) + 1}",
            region=region,
            address=at,
            https_port=free_port(at, https_port),
            agents_port=free_port(at, 7443, socket.SOCK_DGRAM),
            admin_port=free_port(at, 9090),
        )
        file = self.directory / f"{place.name}.json"
        process = self.process(place.name, [*_program("hawse-exitnode"), "static", str(file)])
        node = ExitNode(place, file, process)
        self.exit_nodes.append(node)
        self.write(node)
        if start:
            node.start()
        return node

    def write(self, node: ExitNode) -> None:
        """Write the exit node's file with the tunnels as they are now."""
        objects = fleets.build_objects(
            self.fleet, node.place, self.tunnels, token=self.token, allowed_cidrs=self.allowed_cidrs
        )
        files.write_private(node.file, fleets.build_static_file(self.fleet, node.place, objects).encode())

    def apply(self, *, tunnels: Sequence[fleets.TunnelSpec] | None = None, token: bool | None = None) -> None:
        """Change what the running exit nodes serve, without restarting them (SIGHUP)."""
        self.tunnels = self.tunnels if tunnels is None else tuple(tunnels)
        self.token = self.token if token is None else token
        for node in self.exit_nodes:
            self.write(node)
            node.process.signal(signal.SIGHUP)

    def login(self, name: str = "agent", *, life: dt.timedelta = dt.timedelta(hours=24), **changes: object) -> Path:
        """A config directory as `hawse login` would have left it."""
        directory = self.directory / name
        addresses = {node.agents_address: node.place.https_port for node in self.exit_nodes}
        made = fleets.build_login(self.fleet, addresses, agent_id=str(uuid.uuid4()), life=life)
        credentials.save(directory, replace(made, **changes), _silent)  # type: ignore[arg-type]  # fields by name
        return directory

    def agent(self, *arguments: str, config: Path | None = None, name: str = "agent") -> Process:
        """An agent's process, not started; `arguments` as a user types them ("http", "3000")."""
        directory = config or self.login(name)
        return self.process(name, [*_program("hawse"), *arguments], HAWSE_CONFIG_DIR=str(directory))

    def process(self, name: str, argv: Sequence[str], **environment: str) -> Process:
        """Make a process that ends with the trial."""
        logs = self.directory / "logs"
        logs.mkdir(exist_ok=True)
        count = sum(one.name.split("~")[0] == name for one in self.processes)
        unique = f"{name}~{count + 1}" if count else name
        made = Process(unique, argv, logs, {**os.environ, "PYTHONUNBUFFERED": "1", **environment})
        self.processes.append(made)
        return made


def free_address(ports: Sequence[int]) -> str:
    """A loopback address on which nobody listens on these ports: a trial then never meets another one."""
    for _ in range(100):
        address = str(ipaddress.IPv4Address(int(ipaddress.IPv4Address("127.64.0.1")) + secrets.randbelow(2**21)))
        with contextlib.suppress(OSError):
            for port in ports:
                free_port(address, port, strict=True)
            return address
    raise TrialError("no free loopback address was found in 127.64.0.0/11")


def free_port(
    address: str, preferred: int, kind: socket.SocketKind = socket.SOCK_STREAM, *, strict: bool = False
) -> int:
    """`preferred` if it is free there, else another port (strict: OSError)."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, preferred))
        except OSError:
            if strict:
                raise
            probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def _program(name: str) -> list[str]:
    """A program of this installation: the console script beside the running interpreter, never one from PATH."""
    script = Path(sys.executable).parent / name
    return [str(script)] if script.exists() else [sys.executable, "-m", _MODULES[name]]


def _silent(_: str) -> None:
    """The trial's own directories need no telling."""
