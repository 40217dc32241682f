"""Starts what is compared, all on loopback, and says which processes are whose. Called by __main__ and the smoke test.

Hawse's parts are the real programs: `hawse-exitnode static` and `hawse http`, limits on. Peers get the fewest settings
that make them comparable: connections to the app kept alive, no access log, encryption where the row says so.
"""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers, tools
from bench.loader import Endpoint
from bench.workloads import H2, HTTP, HTTPS
from hawse_agent.trial import processes
from hawse_agent.trial.processes import Trial

ADDRESS = "127.0.0.1"
_NEEDS = {
    "hawse": ("hawse",),
    "direct": ("direct",),
    "nginx": ("nginx",),
    "nginx+frp-tcp": ("frp", "nginx"),
    "nginx+rathole-noise": ("rathole", "nginx"),
    "frp-tcp": ("frp",),
    "rathole": ("rathole",),
}
ALL = tuple(_NEEDS)
"""Products, as the rows name them."""


@dataclass(frozen=True, slots=True)
class Product:
    """One way to the app."""

    name: str
    endpoints: Mapping[str, Endpoint]
    """By scheme: what visitors may speak to it."""
    parts: Mapping[str, Sequence[int]]
    """Process ids by part: "edge" is where visitors arrive."""


class Bench:
    """Everything that runs during a benchmark; ends with the trial."""

    def __init__(self, trial: Trial, loader: Path) -> None:
        self.trial = trial
        self.loader = loader
        self.products: dict[str, Product] = {}
        self.missing: dict[str, str] = {}
        self.host = f"shop.{trial.fleet.domain}"
        self.app_port = self._start_app()

    def start(self, wanted: Sequence[str]) -> None:
        """Start these products; what cannot be had goes into `missing`."""
        starters: dict[str, Callable[[], None]] = {
            "hawse": self._start_hawse,
            "direct": self._start_direct,
            "frp": self._start_frp,
            "rathole": self._start_rathole,
            "nginx": lambda: self._start_nginx(wanted),
        }
        needed = [need for name in wanted for need in _NEEDS[name]]
        for name, start in starters.items():
            if name in needed:
                self._try(name, start)
        self.products = {name: self.products[name] for name in wanted if name in self.products}

    def _try(self, name: str, start: Callable[[], None]) -> None:
        try:
            start()
        except (tools.MissingError, processes.TrialError, subprocess.SubprocessError) as exc:
            self.missing[name] = str(exc)

    def _start_app(self) -> int:
        port = processes.free_port(ADDRESS, 3000)
        app = self.trial.process("origin", [str(self.loader), "origin", f"{ADDRESS}:{port}"])
        app.start()
        app.wait_until(lambda: "listening on" in app.out, "it listens")
        return port

    def _start_direct(self) -> None:
        self.products["direct"] = Product("direct", {HTTP: self._plain(self.app_port)}, {})

    def _start_hawse(self) -> None:
        node = self.trial.add_exit_node("eu-west")
        agent = self.trial.agent("http", str(self.app_port))
        agent.start()
        agent.wait_until(lambda: "https://" in agent.out, "it printed the public URL")
        place = node.place
        at = Endpoint(place.address, place.https_port, self.host, self.trial.visitors_ca)
        parts = {"edge": [node.process.pid], "agent": [agent.pid]}
        self.products["hawse"] = Product("hawse", {HTTPS: at, H2: at}, parts)

    def _start_frp(self) -> None:
        made = peers.start_frp(self.trial, tools.frp(), self.app_port)
        self.products["frp-tcp"] = Product("frp-tcp", {HTTP: self._plain(made.port)}, made.parts)

    def _start_rathole(self) -> None:
        program = tools.rathole()
        for name, noise in (("rathole", False), ("rathole-noise", True)):
            made = peers.start_rathole(self.trial, program, self.app_port, noise=noise)
            self.products[name] = Product(name, {HTTP: self._plain(made.port)}, made.parts)

    def _start_nginx(self, wanted: Sequence[str]) -> None:
        behind = {"nginx": self.app_port}
        for tunnel in ("frp-tcp", "rathole-noise"):
            if tunnel in self.products and f"nginx+{tunnel}" in wanted:
                behind[f"nginx+{tunnel}"] = self.products[tunnel].endpoints[HTTP].port
        made = peers.start_nginx(self.trial, tools.nginx(), behind)
        for name, (http, https) in made.ports.items():
            secure = Endpoint(ADDRESS, https, self.host, self.trial.visitors_ca)
            endpoints = {HTTP: self._plain(http), HTTPS: secure, H2: secure}
            tunnel_parts = self.products[name.removeprefix("nginx+")].parts if "+" in name else {}
            self.products[name] = Product(name, endpoints, {"edge": made.pids, **tunnel_parts})

    def _plain(self, port: int) -> Endpoint:
        return Endpoint(ADDRESS, port, self.host)


def use_core(overlay: Path | None) -> None:
    """Let programs that are started from now on take hawse_tunnel from there; None: as installed."""

    if overlay is not None:
        roots = [overlay, *(tools.ROOT / name for name in ("tests", "operator", "exitnode"))]
        os.environ["PYTHONPATH"] = os.pathsep.join(map(str, roots))
