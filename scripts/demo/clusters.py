"""The seam between the demo and where its cluster comes from: the embedded one, an existing one, kind.

Only what differs between the three is here: starting, images, how the agent and the app are run so that they reach the
exit nodes, and which addresses visitors connect to. Implemented by embedded.py, existing.py and kindcluster.py.
"""

from pathlib import Path
from typing import Protocol

from demo.kube import Shell
from demo.programs import Program, Programs
from demo.report import Report
from demo.settings import Settings
from demo.visits import Door


class Cluster(Protocol):
    """A Kubernetes cluster for the length of the demo."""

    @property
    def kubeconfig(self) -> Path:
        """Known before start()."""

    def start(self, report: Report, shell: Shell) -> None:
        """Make it usable; print facts about it.

        Raises:
            DemoError: it cannot be used.
        """

    def values(self) -> str:
        """Arguments for `helm install`, or "": where the images are."""

    def start_app(self, programs: Programs, port: int) -> Program:
        """Start the sample app where the agent runs."""

    def reachable(self, doors: list[Door], programs: Programs) -> list[Door]:
        """The same doors at addresses that this machine can connect to."""

    def api_server_pid(self) -> int | None:
        """Process to kill; None: the cluster, or its pods, are not the demo's to kill processes of."""

    def save_logs(self, shell: Shell, logs: Path) -> None:
        """After a failure: copy what the cluster knows into the folder of logs. Never raises DemoError."""

    def stop(self, shell: Shell) -> None:
        """End it, or take out of it what the demo put in."""


def save_pod_logs(shell: Shell, logs: Path, namespace: str) -> None:
    """Logs of all pods of a namespace, its events, and the state of our resources, through the API server."""
    for name, command in (
        ("pods.txt", "kubectl get pods -A -o wide --request-timeout=5s"),
        ("events.txt", "kubectl get events -A --sort-by=.lastTimestamp --request-timeout=5s"),
        ("hawse.yaml", "kubectl get hawse -A -o yaml --request-timeout=5s"),
    ):
        done = shell.run(command, hop="logs")
        (logs / name).write_text(done.both)
    listed = shell.run(f"kubectl get pods -n {namespace} -o name --request-timeout=5s", hop="logs")
    for pod in listed.out.split()[:20]:
        done = shell.run(f"kubectl logs -n {namespace} {pod} --tail=2000 --request-timeout=5s", hop="logs")
        (logs / f"{pod.replace('/', '-')}.log").write_text(done.both)


def app_command(settings: Settings, port: int) -> list[str]:
    """The sample app on this machine."""
    return [str(settings.bin / "python"), "examples/app/app.py", "--port", str(port)]
