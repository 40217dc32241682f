"""Values of the session table: one exit node, the agent as a whole, a step under construction. Pure.

The transitions are in `session` and `serving`.
"""

import dataclasses
from dataclasses import dataclass, field
from enum import Enum

from hawse_agent import notices, upgrades
from hawse_agent.choice import Offered, Route, Wanted
from hawse_agent.endings import Failure
from hawse_agent.moves import Command, Moment
from hawse_agent.racing import Transport


class Phase(Enum):
    """Where one exit node stands."""

    WAITING = "waits until retry_at"
    DIALLING = "dial is under way"
    GREETING = "Hello was sent"
    UP = "session"
    DRAINING = "session, and the node stops soon"


LINKED = (Phase.GREETING, Phase.UP, Phase.DRAINING)
LIVE = (Phase.UP, Phase.DRAINING)


@dataclass(frozen=True, slots=True)
class Node:
    """One exit node."""

    address: str
    phase: Phase = Phase.WAITING
    retry_at: float = 0.0
    attempts: int = 0
    link: int = 0
    transport: Transport = Transport.QUIC
    """Of the link."""
    since: float = 0.0
    deadline: float = 0.0
    failure: Failure | None = None
    exit_node: str = ""
    region: str = ""
    node_version: str = ""
    offered: tuple[Offered, ...] | None = None
    asked: tuple[str, ...] = ()
    registered: frozenset[str] = frozenset()
    returns_by: float = 0.0
    """It stopped in order, and is expected back before then."""
    upgrade_at: float = 0.0
    """Of a session over TCP: when QUIC is tried again."""
    upgrades_failed: int = 0
    upgrade: upgrades.Upgrade | None = None
    leaving: bool = False
    """No longer among the fleet's addresses: not dialled again."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything the table knows."""

    wanted: Wanted
    slot: str
    """Follows the address in Hello.slot: two `hawse` of one login with different tunnels do not fence each other."""
    token: str
    patience_s: float
    epoch: int
    nodes: tuple[Node, ...]
    started_at: float
    connected: bool = False
    last: str = ""
    """Name of the last tunnel served without --tunnel."""
    serving: tuple[Route, ...] = ()
    told: notices.Waiting | None = None


@dataclass(slots=True)
class Step:
    """The state under construction and the commands so far; lives for one call of step()."""

    state: State
    now: Moment
    commands: list[Command] = field(default_factory=list)

    def put(self, node: Node, **changes: object) -> Node:
        """Change a node; the node as it is then."""
        changed = dataclasses.replace(node, **changes)  # type: ignore[arg-type]  # fields by name
        kept = tuple(changed if one.address == node.address else one for one in self.state.nodes)
        self.state = dataclasses.replace(self.state, nodes=kept)
        return changed

    def change(self, **changes: object) -> None:
        """Change the agent as a whole."""
        self.state = dataclasses.replace(self.state, **changes)  # type: ignore[arg-type]  # fields by name

    def do(self, *commands: Command) -> None:
        """Add commands."""
        self.commands += commands
