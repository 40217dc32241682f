"""What the steps of one run share: the terminal, the shell, the cluster, what was found on the way.

Holds; decides nothing. Made by __main__, handed to every step.
"""

from dataclasses import dataclass, field
from pathlib import Path

import powerdns
from demo.clusters import Cluster
from demo.kube import Shell
from demo.programs import Program, Programs
from demo.report import Report
from demo.settings import Settings
from demo.visits import Door, Visitor

SYSTEM = "hawse-system"
RELEASE = "hawse"
NAMESPACE = "team-a"
OTHER_NAMESPACE = "team-b"
FLEET = "default"
TUNNEL = "shop"
TOKEN = "laptop"  # noqa: S105 - the name of an AgentToken
FLEET_FILE = "examples/fleet.yaml"
TUNNEL_FILE = "examples/tunnel.yaml"
REGIONS = ("eu-west", "us-east")
BROWSER_REGION = "eu-west"


@dataclass(slots=True)
class Session:
    """One run."""

    settings: Settings
    report: Report
    programs: Programs
    shell: Shell
    cluster: Cluster
    directory: Path
    """Temporary: logs, CA, the agent's login, the cluster."""
    doors: list[Door] = field(default_factory=list)
    visitor: Visitor | None = None
    hostname: str = ""
    url: str = ""
    app: Program | None = None
    agent: Program | None = None
    name_server: powerdns.Server | None = None
    """The fleet's own; None: it has none."""

    @property
    def logs(self) -> Path:
        """Where every process of the demo writes."""
        return self.directory / "logs"

    @property
    def tools(self) -> Path:
        """First on PATH: programs that are not in the Python environment (helm)."""
        return self.directory / "bin"

    @property
    def guest(self) -> Visitor:
        """The visitor, known once the fleet has its CA."""
        if self.visitor is None:
            raise RuntimeError("the visitor is made in step 5")
        return self.visitor

    @property
    def serving_app(self) -> Program:
        """The sample app, started in step 4."""
        if self.app is None:
            raise RuntimeError("the app is started in step 4")
        return self.app

    @property
    def serving_agent(self) -> Program:
        """The agent, started in step 4."""
        if self.agent is None:
            raise RuntimeError("the agent is started in step 4")
        return self.agent
