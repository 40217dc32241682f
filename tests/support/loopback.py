"""Exit nodes, an agent and the sample app in real processes on 127.0.0.0/8, for integration tests.

    with loopback.serving(tmp_path) as fleet:          # everything up, the first page can be asked for
        with fleet.visitor() as http:
            assert http.get("/headers").status_code == 200

Thin on purpose: processes, certificates and files are hawse_agent.trial's, which `make try` uses too. Everything ends
with the context manager; each start has a generous deadline and shows the log of what did not come up.
"""

import contextlib
import json
import re
import ssl
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from hawse_agent.trial import processes
from hawse_agent.trial.fleet import TunnelSpec
from hawse_agent.trial.processes import ExitNode, Process, Trial, TrialError

APP = Path(__file__).parents[2] / "examples" / "app" / "app.py"

__all__ = ["APP", "App", "Loopback", "TrialError", "TunnelSpec", "rss_bytes", "serving"]


@dataclass(slots=True)
class App:
    """The sample app behind the tunnel."""

    process: Process
    host: str
    port: int

    @property
    def target(self) -> str:
        """As a user types it after `hawse http`."""
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Start (again) at the same place."""
        self.process.start()
        self.process.wait_until(lambda: "listening on" in self.process.out, "it listens")


class Loopback:
    """The parts of one running fleet. Kill, restart and change them at will."""

    def __init__(self, directory: Path) -> None:
        self.trial = Trial(directory)
        self.directory = directory
        self._app: App | None = None
        self._agent: Process | None = None

    # --- parts -----------------------------------------------------------------------------------------------------
    @property
    def nodes(self) -> Sequence[ExitNode]:
        """Exit nodes; each has place, process, start(), restart()."""
        return self.trial.exit_nodes

    @property
    def app(self) -> App:
        assert self._app is not None, "start_app() was not called"
        return self._app

    @property
    def agent(self) -> Process:
        """The last agent that was started."""
        assert self._agent is not None, "start_agent() was not called"
        return self._agent

    @property
    def ca_file(self) -> Path:
        """What visitors trust."""
        return self.trial.visitors_ca

    @property
    def tunnel(self) -> TunnelSpec:
        return self.trial.tunnels[0]

    @property
    def host(self) -> str:
        return f"{self.tunnel.host_label}.{self.trial.fleet.domain}"

    @property
    def url(self) -> str:
        """As the agent prints it."""
        if self.tunnel.tcp_port:
            return f"tcp://{self.host}:{self.tunnel.tcp_port}"
        port = self.nodes[0].place.https_port
        return f"https://{self.host}{'' if port == 443 else f':{port}'}/"

    # --- starting --------------------------------------------------------------------------------------------------
    def add_exit_node(self, region: str = "eu-west", *, address: str = "", start: bool = True) -> ExitNode:
        return self.trial.add_exit_node(region, address=address, start=start)

    def start_app(self, *, interval_s: float = 0.2) -> App:
        host = processes.free_address((3000,))
        argv = [sys.executable, str(APP), "--host", host, "--port", "3000", "--interval", str(interval_s)]
        self._app = App(self.trial.process("app", argv), host, 3000)
        self._app.start()
        return self._app

    def start_agent(self, *arguments: str, config: Path | None = None, wait: bool = True) -> Process:
        """`hawse http <app>` with a login of its own, or other arguments; waits until it serves."""
        typed = arguments or ("http", self.app.target)
        self._agent = self.trial.agent(*typed, config=config)
        self._agent.start()
        if wait:
            self.wait_until_served()
        return self._agent

    def wait_until_served(self, count: int = 1) -> None:
        """Until the running agent has printed the public URL (its first line of output)."""
        agent = self.agent
        agent.wait_until(lambda: agent.out.count("://") >= count, "it printed the public URL")

    # --- visiting --------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def visitor(
        self, node: int = 0, *, http2: bool = False, host: str = "", timeout_s: float = 20.0
    ) -> Iterator[httpx.Client]:
        """A client that reaches this exit node by address, with the tunnel's name in SNI and Host."""
        place = self.nodes[node].place
        name = host or self.host
        context = ssl.create_default_context(cafile=str(self.ca_file))

        def name_it(request: httpx.Request) -> None:
            request.extensions = {**request.extensions, "sni_hostname": name}

        with httpx.Client(
            base_url=f"https://{place.at(place.https_port)}",
            headers={"host": name if place.https_port == 443 else f"{name}:{place.https_port}"},
            verify=context,
            http1=not http2,
            http2=http2,
            trust_env=False,
            timeout=timeout_s,
            event_hooks={"request": [name_it]},
        ) as client:
            yield client

    def metric(self, name: str, node: int = 0) -> int:
        """Value of the first line of this exit node's /metrics that begins with `hawse_<name>`; 0 if there is none."""
        place = self.nodes[node].place
        with urllib.request.urlopen(f"http://{place.at(place.admin_port)}/metrics", timeout=10) as answer:
            found = re.findall(rf"^hawse_{re.escape(name)}.* (\S+)$", answer.read().decode(), re.MULTILINE)
        return int(float(found[0])) if found else 0

    def headers_seen_by_app(self, node: int = 0, **options: bool) -> dict[str, list[str]]:
        """Headers that the app received of a GET through this node."""
        with self.visitor(node, **options) as http:
            answer = http.get("/headers")
        answer.raise_for_status()
        headers: dict[str, list[str]] = json.loads(answer.text)["headers"]
        return headers


def rss_bytes(process: Process) -> int:
    """Memory of a running process (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024


@contextlib.contextmanager
def fleet(directory: Path) -> Iterator[Loopback]:
    """Nothing started yet: add_exit_node(), start_app(), start_agent() as the test needs."""
    made = Loopback(directory / "loopback")
    with made.trial:
        yield made


@contextlib.contextmanager
def serving(directory: Path, *, exit_nodes: int = 1, tunnels: Sequence[TunnelSpec] = ()) -> Iterator[Loopback]:
    """Exit nodes in different regions, the app and an agent that serves the first tunnel through all of them."""
    regions = ("eu-west", "us-east", "ap-south")
    with fleet(directory) as made:
        if tunnels:
            made.trial.tunnels = tuple(tunnels)
        for number in range(exit_nodes):
            made.add_exit_node(regions[number % len(regions)])
        made.start_app()
        typed = ("http", made.app.target, *(("--tunnel", tunnels[0].name) if len(tunnels) > 1 else ()))
        made.start_agent(*typed)
        yield made
