"""The demo in a cluster that exists: KUBECONFIG=… make demo. Takes nothing over, and takes out what it put in.

The agent and the visitors run on this machine, so the pods' addresses must be reachable from it. Called by __main__.
"""

import socket
import time
from dataclasses import dataclass
from pathlib import Path

from demo import clusters, session
from demo.errors import DemoError
from demo.kube import Shell
from demo.programs import Program, Programs
from demo.report import Report
from demo.settings import Images, Settings
from demo.visits import Door

_THINK_S = 5
_CONNECT_S = 5.0


@dataclass(slots=True)
class ExistingCluster:
    """Somebody's cluster."""

    settings: Settings
    kubeconfig: Path
    images: Images
    _touched: bool = False

    def start(self, report: Report, shell: Shell) -> None:
        """Refuse to take over what is there; leave a moment to think."""
        context = shell.ask("config", "current-context").strip()
        report.note(f"KUBECONFIG is set: the demo uses the existing cluster of the context {context}.")
        report.note(
            "It installs Hawse there and takes it out again at the end; unset KUBECONFIG for the embedded cluster."
        )
        taken = [
            name
            for name in (session.SYSTEM, session.NAMESPACE, session.OTHER_NAMESPACE)
            if shell.get("namespace", name) is not None
        ]
        if taken:
            raise DemoError(
                "cluster",
                f"the demo makes and deletes these namespaces, and they exist: {', '.join(taken)}",
                fix=f"delete them (kubectl delete namespace {' '.join(taken)}) or use another cluster",
            )
        if shell.get("fleets.hawse.dev") and shell.get("fleets.hawse.dev")["items"]:
            raise DemoError("cluster", "there is a Fleet in this cluster already", fix="use another cluster")
        if report.stream.isatty():
            report.note(f"Starting in {_THINK_S} s; Ctrl-C to stop.")
            time.sleep(_THINK_S)
        self._touched = True

    def values(self) -> str:
        """Arguments for `helm install`."""
        return image_values(self.images)

    def start_app(self, programs: Programs, port: int) -> Program:
        """On this machine."""
        return start_local_app(self.settings, programs, port)

    def reachable(self, doors: list[Door], programs: Programs) -> list[Door]:
        """The pods' own addresses, if this machine has a way to them.

        Raises:
            DemoError: it has none.
        """
        del programs
        for door in doors:
            try:
                socket.create_connection((door.address, door.port), timeout=_CONNECT_S).close()
            except OSError as exc:
                raise DemoError(
                    f"this machine → exit node {door.exit_node}",
                    f"{door.address}:{door.port} cannot be reached from here: {exc}",
                    fix="examples/fleet.yaml gives exit nodes their pods' addresses, and this cluster's pod network is"
                    " not routed to this machine. Run the demo on a machine inside that network, or use KIND=1",
                ) from exc
        return doors

    def api_server_pid(self) -> int | None:
        """Not ours to kill."""
        return None

    def save_logs(self, shell: Shell, logs: Path) -> None:
        """Through the API server."""
        clusters.save_pod_logs(shell, logs, session.SYSTEM)

    def stop(self, shell: Shell) -> None:
        """Remove what the demo made; the CRDs stay, as the chart's resource policy says."""
        if not self._touched:
            return
        names = f"{session.NAMESPACE} {session.OTHER_NAMESPACE}"
        for command in (
            f"kubectl delete namespace {names} --ignore-not-found --timeout=60s",
            "kubectl delete subdomainreservations --all --timeout=30s",
            f"kubectl delete -f {session.FLEET_FILE} --ignore-not-found --timeout=60s",
            f"helm uninstall {session.RELEASE} -n {session.SYSTEM} --wait --timeout 60s",
            f"kubectl delete namespace {session.SYSTEM} --ignore-not-found --timeout=60s",
        ):
            shell.run(command, hop="cleanup", timeout_s=90)


def image_values(images: Images) -> str:
    """Arguments for `helm install` that name the two images."""
    parts = [*_image("image", images.operator), *_image("exitNode.image", images.exitnode)]
    return " ".join(f"--set {part}" for part in parts)


def start_local_app(settings: Settings, programs: Programs, port: int) -> Program:
    """The sample app on this machine, without our credentials in its environment."""
    command = clusters.app_command(settings, port)
    return programs.start("app", command, environment={"PYTHONUNBUFFERED": "1"}, cwd=settings.root)


def _image(key: str, text: str) -> list[str]:
    name, _, digest = text.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:  # the colon of a registry's port
        repository, tag = name, ""
    values = [f"{key}.repository={repository}"]
    values += [f"{key}.tag={tag}"] if tag else []
    return values + ([f"{key}.digest={digest}"] if digest else [])
