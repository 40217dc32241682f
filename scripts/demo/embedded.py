"""The demo in the embedded cluster of kind/: a real API server, and pods that are processes of this machine.

Two nodes, one a region. Our two images are names for the programs of this Python environment; that map is made here, at
run time, since it holds paths of this machine. Called by __main__.
"""

from dataclasses import dataclass, field
from pathlib import Path

import devcluster
from demo import clusters, existing, session
from demo.errors import DemoError
from demo.kube import Shell
from demo.programs import Program, Programs
from demo.report import Report
from demo.settings import Settings
from demo.visits import Door


@dataclass(slots=True)
class EmbeddedCluster:
    """A cluster of the demo's own, in its temporary directory."""

    settings: Settings
    directory: Path
    """Of the demo; the cluster gets a folder in it."""
    cluster: devcluster.Cluster = field(init=False)

    def __post_init__(self) -> None:
        programs = self.settings.bin
        images = {f"hawse/{name}": [str(programs / f"hawse-{name}")] for name in ("operator", "exitnode")}
        nodes = [(region, region) for region in session.REGIONS]
        self.cluster = devcluster.Cluster(self.directory / "cluster", nodes, images)
        self.cluster.logs = self.directory / "logs" / "cluster"

    @property
    def kubeconfig(self) -> Path:
        """Written when the API server starts."""
        return self.cluster.kubeconfig

    def start(self, report: Report, shell: Shell) -> None:
        """Start it."""
        del shell
        try:
            with report.waiting("the cluster starts"):
                self.cluster.start()
        except devcluster.ClusterError as exc:
            raise DemoError("embedded cluster", str(exc)) from exc
        report.note("etcd, API server, controllers and scheduler run as one process, each node as one,")
        report.note("and a pod's containers as processes of their own on 127.0.0.0/8. No Docker, no root.")

    def values(self) -> str:
        """The chart's defaults name the images of the map."""
        return ""

    def start_app(self, programs: Programs, port: int) -> Program:
        """On this machine."""
        return existing.start_local_app(self.settings, programs, port)

    def reachable(self, doors: list[Door], programs: Programs) -> list[Door]:
        """Pods have addresses of this machine."""
        del programs
        return doors

    def api_server_pid(self) -> int | None:
        """One process with etcd, controllers and scheduler; the cluster starts it again."""
        return self.cluster.pid("control")

    def save_logs(self, shell: Shell, logs: Path) -> None:
        """Through the API server; the cluster's own are there already."""
        clusters.save_pod_logs(shell, logs, session.SYSTEM)

    def stop(self, shell: Shell) -> None:
        """End all its processes."""
        del shell
        try:
            self.cluster.stop()
        except (OSError, devcluster.ClusterError) as exc:
            raise DemoError("embedded cluster", f"it did not end in order: {exc}") from exc
