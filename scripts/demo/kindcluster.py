"""The demo in a kind cluster: make demo KIND=1, where Docker and kind are installed; KIND=NAME uses one that exists.

Our images are built from the Dockerfile and loaded. Pods' addresses are not routed to this machine, so the agent and
the app run in containers that share the network of a kind node, and visitors come in by kubectl port-forward. The
command `hawse` is a small script on PATH that does that. Called by __main__.
"""

import importlib.metadata
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from demo import clusters, session
from demo.errors import DemoError
from demo.kube import Shell
from demo.programs import Program, Programs, run
from demo.report import Report
from demo.settings import Settings
from demo.visits import Door

NAME = "hawse-demo"
"""Of a cluster of the demo's own, and the label of our containers."""
_BUILD_S = 3600.0
_CREATE_S = 600.0
_FORWARD_S = 15.0


@dataclass(slots=True)
class KindCluster:
    """A cluster of Docker containers."""

    settings: Settings
    directory: Path
    _created: bool = False

    @property
    def own(self) -> bool:
        """Whether the demo creates and deletes it."""
        return self.settings.kind_name == ""

    @property
    def name(self) -> str:
        """Of the kind cluster."""
        return self.settings.kind_name or NAME

    @property
    def kubeconfig(self) -> Path:
        """Written by kind."""
        return self.directory / "kubeconfig"

    @property
    def version(self) -> str:
        """Tag of our images: the chart's default."""
        return importlib.metadata.version("hawse")

    def start(self, report: Report, shell: Shell) -> None:
        """Build and load the images, create the cluster."""
        for tool, fix in (("docker", "install Docker"), ("kind", "install kind (kind.sigs.k8s.io)")):
            if shutil.which(tool) is None:
                raise DemoError("kind", f"KIND=1 needs {tool}", fix=f"{fix}, or run `make demo` without KIND")
        if shell.run("docker info", hop="kind").code != 0:
            raise DemoError(
                "kind", "the Docker daemon does not answer", fix="start it, or run `make demo` without KIND"
            )
        for target in ("operator", "exitnode", "agent"):
            build = f"docker build -q --target {target} -t hawse/{target}:{self.version} ."
            shell.show(build, hop="Docker", timeout_s=_BUILD_S, quiet=True)
        if self.own:
            self._create(shell)
        else:
            shell.show(
                f"kind export kubeconfig --name {self.name} --kubeconfig {self.kubeconfig}", hop="kind", quiet=True
            )
        images = f"hawse/operator:{self.version} hawse/exitnode:{self.version}"
        shell.show(f"kind load docker-image --name {self.name} {images}", hop="kind", timeout_s=_CREATE_S, quiet=True)
        self._write_hawse()

    def _create(self, shell: Shell) -> None:
        if self.name in shell.run("kind get clusters", hop="kind").out.split():
            fix = f"kind delete cluster --name {self.name}, or use it: make demo KIND={self.name}"
            raise DemoError("kind", f"there is a kind cluster {self.name}", fix=fix)
        self._created = True
        create = (
            f"kind create cluster --name {self.name} --config kind/kind.yaml --kubeconfig {self.kubeconfig} --wait 180s"
        )
        shell.show(create, hop="kind", timeout_s=_CREATE_S, quiet=True)

    def values(self) -> str:
        """The chart's defaults are the images that were loaded."""
        return ""

    def start_app(self, programs: Programs, port: int) -> Program:
        """Beside the agent, in the network of a kind node."""
        mount = f"{self.settings.root / 'examples' / 'app'}:/app:ro"
        entry = ["--entrypoint", "python", "-v", mount, f"hawse/agent:{self.version}", "/app/app.py"]
        command = [*self._docker_run(), *entry, "--port", str(port)]
        return programs.start("app", command, environment=os.environ)

    def reachable(self, doors: list[Door], programs: Programs) -> list[Door]:
        """Each exit node by a port-forward of its own."""
        return [self._forwarded(door, programs) for door in doors]

    def api_server_pid(self) -> int | None:
        """Not ours to kill."""
        return None

    def save_logs(self, shell: Shell, logs: Path) -> None:
        """Through the API server."""
        clusters.save_pod_logs(shell, logs, session.SYSTEM)

    def stop(self, shell: Shell) -> None:
        """Delete our containers, and the cluster if it is our own."""
        if shutil.which("docker") is not None:
            shell.run(f"docker ps -aq --filter label={NAME} | xargs -r docker rm -f", hop="kind", timeout_s=60)
        if self._created:
            shell.run(f"kind delete cluster --name {self.name}", hop="kind", timeout_s=120)

    def _docker_run(self) -> list[str]:
        return ["docker", "run", "--rm", "--label", NAME, "--network", f"container:{self.name}-control-plane"]

    def _write_hawse(self) -> None:
        config = self.directory / "agent"
        config.mkdir(mode=0o700)
        user = f"{os.getuid()}:{os.getgid()}"
        options = f"-i --user {user} -v {config}:/config -e HAWSE_CONFIG_DIR=/config"
        script = self.directory / "bin" / "hawse"
        script.write_text(f'#!/bin/sh\nexec {" ".join(self._docker_run())} {options} hawse/agent:{self.version} "$@"\n')
        script.chmod(0o755)

    def _forwarded(self, door: Door, programs: Programs) -> Door:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        kubectl = str(self.settings.bin / "kubectl")
        selector = f"hawse.dev/exit-node={door.exit_node}"
        found = run(
            [kubectl, "get", "pods", "-n", session.SYSTEM, "-l", selector, "-o", "name"],
            hop="API server",
            environment=environment,
            timeout_s=20,
        )
        pod = (found.out.split() or [""])[0]
        command = [kubectl, "port-forward", "-n", session.SYSTEM, pod, f":{door.port}"]
        forward = programs.start(f"forward-{door.exit_node}", command, environment=environment)
        port = programs.await_output(forward, re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)"), _FORWARD_S)
        if port is None:
            raise DemoError("kubectl port-forward", f"no port leads to exit node {door.exit_node}", log=forward.log)
        return Door(door.region, door.exit_node, "127.0.0.1", int(port))
