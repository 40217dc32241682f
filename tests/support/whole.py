"""The whole product in an embedded cluster: chart, exit nodes, app, real agent, and a visitor who keeps asking.

Called by those of tests/cluster that are about the whole of it.
"""

import base64
import contextlib
import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from hawse_api import names
from support.cluster import new_cluster
from support.operator import FLEET, ROOT, SYSTEM, Api, exit_node, namespace, token, tunnel, wait_for

TEAM, TOKEN, TUNNEL = "team-a", "laptop", "shop"
HOST = f"{TUNNEL}.tunnels.example.com"
START_S = 120.0
VISIT_TIMEOUT_S = 10.0
VISIT_EVERY_S = 0.2


@contextlib.contextmanager
def installed(
    directory: Path,
    *,
    regions: Mapping[str, str],
    replicas: int = 1,
    environment: Mapping[str, str] | None = None,
    chart: Sequence[str] = (),
) -> Iterator[Api]:
    """A cluster with the chart, an exit node that is ready in each region, a token and a Tunnel."""
    with new_cluster(directory) as cluster:
        api = Api(cluster)
        api.apply(namespace(SYSTEM))
        values = ["--set", ",".join((f"replicas={replicas},image.tag=,exitNode.image.tag=", *chart))]
        for number, (name, value) in enumerate((environment or {}).items()):
            values += ["--set-string", f"extraEnv[{number}].name={name},extraEnv[{number}].value={value}"]
        timeout = f"--timeout={START_S:.0f}s"
        cluster.helm("install", "hawse", str(ROOT / "charts" / "hawse"), "-n", SYSTEM, *values, timeout)
        rollout = ("rollout", "status", "deployment/hawse-operator", timeout)
        cluster.kubectl("-n", SYSTEM, *rollout, timeout_s=START_S + 10)
        api.apply(FLEET, *(exit_node(name, region) for name, region in regions.items()))
        api.apply(namespace(TEAM), token(TOKEN, TEAM), tunnel(TUNNEL, TEAM))
        for name in regions:
            wait_for(f"{name} is ready", lambda name=name: is_true(api, "exitnode", name, "Ready"), timeout_s=START_S)
        api.wait_reason("agenttoken", TOKEN, "Ready", "Ready", TEAM)
        api.wait_reason("tunnel", TUNNEL, "Programmed", "Programmed", TEAM)
        yield api


def is_true(api: Api, kind: str, name: str, condition: str, where: str = "") -> bool:
    """Whether a condition holds now."""
    return bool(api.condition(kind, name, condition, where).get("status") == "True")


def text_of_token(api: Api) -> str:
    """What a developer gives to `hawse login`."""
    found = api.get("secret", f"{TOKEN}-token", TEAM)
    return base64.b64decode(found["data"]["token"]).decode() if found else ""


def pods_of(api: Api, exit_node_name: str) -> list[dict[str, Any]]:
    """Pods of an exit node."""
    return api.list("pods", "-n", SYSTEM, "-l", f"{names.LABEL_EXIT_NODE}={exit_node_name}")


def links(api: Api) -> dict[str, str]:
    """Pod -> since when the agent has its link there, as its AgentSession says."""
    sessions = api.list("agentsessions", "-n", TEAM)
    found = [node for body in sessions for node in (body.get("status") or {}).get("exitNodes", ())]
    return {node["pod"]: node["since"] for node in found}


@contextlib.contextmanager
def without_operator(api: Api, *, killed: bool = False) -> Iterator[None]:
    """No replica runs inside. `killed`: they end by kill -9, and the Deployment is not there to start them again."""
    for pid in processes_of(api, "hawse-operator") if killed else ():
        os.kill(pid, signal.SIGKILL)
    _scale_operator(api, 0)
    wait_for("no operator", lambda: not api.list("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=operator"))
    try:
        yield
    finally:
        _scale_operator(api, 1)
        rollout = ("rollout", "status", "deployment/hawse-operator", "--timeout=60s")
        api.cluster.kubectl("-n", SYSTEM, *rollout, timeout_s=70)


def _scale_operator(api: Api, replicas: int) -> None:
    api.cluster.kubectl("-n", SYSTEM, "scale", "deployment/hawse-operator", f"--replicas={replicas}")


def processes_of(api: Api, *words: str) -> list[int]:
    """Processes of the cluster whose command line has one of these words."""
    mark, found = f"{api.cluster.directory}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if any(word.encode() in command for word in words) and mark in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


class Laptop:
    """An app and the agent of a developer, as processes and threads here."""

    def __init__(self, directory: Path, api: Api, app_port: int = 0) -> None:
        self.config = directory / "hawse"
        self.log = directory / "agent.log"
        self._api = api
        self._agent: subprocess.Popen[bytes] | None = None
        self._app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Works)
        self._app_port = app_port or self._app.server_port
        threading.Thread(target=self._app.serve_forever, name="app", daemon=True).start()

    def login(self) -> None:
        """`hawse login -` with the token's text."""
        text = text_of_token(self._api)
        done = subprocess.run(
            [sys.executable, "-m", "hawse_agent", "login", "-"],
            env=self._environment(), input=text, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def serve(self, *typed: str, url: str = f"https://{HOST}") -> None:
        """`hawse http`, or other arguments; returns when it says that it serves this."""
        typed = typed or ("http", f"127.0.0.1:{self._app_port}")
        self.log.write_bytes(b"")
        with self.log.open("ab") as output:
            self._agent = subprocess.Popen(
                [sys.executable, "-m", "hawse_agent", *typed],
                env=self._environment(), stdout=output, stderr=output,
            )  # fmt: skip
        wait_for("the agent serves", lambda: f"serving {url}" in self.log.read_text(), timeout_s=60.0)

    def is_running(self) -> bool:
        """Whether the agent's process lives."""
        return self._agent is not None and self._agent.poll() is None

    def stop(self) -> None:
        """End the agent."""
        if self._agent is not None and self._agent.poll() is None:
            self._agent.terminate()
            self._agent.wait(15.0)

    def close(self) -> None:
        """End agent and app."""
        self.stop()
        self._app.shutdown()
        self._app.server_close()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "HAWSE_CONFIG_DIR": str(self.config)}


class _Works(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"it works")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def laptop(directory: Path, api: Api, app_port: int = 0) -> Iterator[Laptop]:
    """A laptop that is logged in and serves; `app_port`: not the app that says "it works", but another one."""
    one = Laptop(directory, api, app_port)
    try:
        one.login()
        one.serve()
        yield one
    finally:
        one.close()


def visit(address: str) -> str:
    """Status and text of one request over a new connection, or what went wrong."""
    try:
        with httpx.Client(verify=False, timeout=VISIT_TIMEOUT_S, trust_env=False) as visitor:  # noqa: S501 - self-signed
            answer = visitor.get(
                f"https://{address}:{names.PORT_HTTPS}/", headers={"Host": HOST}, extensions={"sni_hostname": HOST}
            )
    except httpx.HTTPError as exc:
        return repr(exc)
    return f"{answer.status_code} {answer.text[:200]}"


WORKS = "200 it works"


class Visitor:
    """Somebody who asks again and again, and remembers what went wrong."""

    def __init__(self, address: str) -> None:
        self.failures: list[str] = []
        self.count = 0
        self._address = address
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="visitor")

    def __enter__(self) -> "Visitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        self._thread.join(VISIT_TIMEOUT_S * 2)

    def _run(self) -> None:
        while not self._leave.wait(VISIT_EVERY_S):
            answer = visit(self._address)
            self.count += 1
            if answer != WORKS:
                self.failures.append(answer)
