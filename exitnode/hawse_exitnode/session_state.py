"""Values of the session table: state, events, commands. Pure; the transitions are in `sessions` and `enrol_links`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from hawse_api import spiffe
from hawse_api.ir import control_pb2, frames_pb2
from hawse_exitnode.directory import Directory, Offered

HELLO_DEADLINE_S = 5.0
"""From link to Hello: a stranger may not hold a place."""
ENROL_DEADLINE_S = 10.0
"""From challenge to EnrolRequest: the agent only has to compute an HMAC."""
RELAY_DEADLINE_S = 12.0
"""The operator answers within 10 s, also when Kubernetes does not."""
CLOSING_DEADLINE_S = 5.0
FENCE_KEPT_S = 600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one exit node carries."""

    links: int = 12_000
    sessions: int = 10_000
    sessions_per_token: int = 256
    enrolling: int = 128
    enrolling_per_address: int = 8
    dead_fences: int = 4096
    frames_burst: int = 60
    """Frames of one link at once; then `frames_per_s`. A working agent sends one or two a minute."""
    frames_per_s: float = 5.0


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Who we are."""

    version: str
    exit_node: str
    region: str
    pod: str
    domain: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Two clocks, read once per event."""

    at: float
    """Monotonic seconds: for deadlines."""
    unix: float
    """For people: connected_at, the challenge's now."""


class Phase(Enum):
    """Where a link is."""

    AWAIT_HELLO = auto()
    ACTIVE = auto()
    YIELDING = auto()
    """A newer session has its slot (takeovers): its streams may end."""
    AWAIT_ENROL_HELLO = auto()
    AWAIT_ENROL = auto()
    RELAYED = auto()
    CLOSING = auto()


@dataclass(frozen=True, slots=True)
class Link:
    """One connection of an agent."""

    id: int
    phase: Phase
    remote: str
    deadline: float | None
    """When it is closed if nothing happens; None = may stay."""
    identity: spiffe.AgentId | None = None
    certificate: bytes = b""
    transport: int = 0
    """core_pb2.TRANSPORT_QUIC or .TRANSPORT_TCP."""
    slot: str = ""
    epoch: int = 0
    predecessor: int = 0
    """The session that serves in this one's place until this one has registered; 0 = none."""
    register_by: float = 0.0
    agent_version: str = ""
    hostname: str = ""
    connected_at: int = 0
    offered: tuple[Offered, ...] = ()
    withdrawn: frozenset[str] = frozenset()
    """UIDs that were offered on this link before: a Register that crosses a change of the offer is no offence."""
    wanted: tuple[str, ...] = ()
    registered: tuple[str, ...] = ()
    nonce: bytes = b""
    relay: int | None = None
    relay_deadline: float = 0.0
    budget: float = 0.0
    budget_at: float = 0.0

    def serves(self) -> tuple[str, ...]:
        """What it wants and may serve."""
        allowed = {offered.uid for offered in self.offered}
        return tuple(uid for uid in self.wanted if uid in allowed)


FenceKey: TypeAlias = tuple[str, str, str]
"""(token uid, agent id, slot). The token is part of it: agents choose their ids, and must not fence a stranger's."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The highest epoch that a slot has shown."""

    epoch: int
    link: int
    """The session that holds it; 0 = gone."""
    since: float


@dataclass(frozen=True, slots=True)
class Draining:
    """The node stops."""

    deadline_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """All links of this node. Maps are replaced, never changed: about 50 µs for 10,000 links, and events are rare."""

    node: NodeFacts
    limits: Limits = Limits()
    directory: Directory = field(default_factory=Directory)
    synced: bool = False
    """The operator is connected and its snapshot is in force: what is not in the directory does not exist."""
    static: bool = False
    """Serves from a file: there is no operator that could enrol anybody."""
    draining: Draining | None = None
    too_old: str = ""
    """Why no agent may be served: the operator has been silent for too long (staleness)."""
    links: Mapping[int, Link] = field(default_factory=dict)
    fences: Mapping[FenceKey, Fence] = field(default_factory=dict)
    next_relay: int = 1

    def with_link(self, link: Link) -> "State":
        """The link added or replaced."""
        return dataclasses.replace(self, links={**self.links, link.id: link})

    def without_link(self, link_id: int) -> "State":
        """The link gone."""
        return dataclasses.replace(self, links={key: link for key, link in self.links.items() if key != link_id})

    def with_fence(self, key: FenceKey, fence: Fence) -> "State":
        """The fence added or replaced."""
        return dataclasses.replace(self, fences={**self.fences, key: fence})


# --- events ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class LinkOpened:
    """A connection is ready for frames."""

    link: int
    alpn: str
    remote: str
    identity: spiffe.AgentId | None
    """Of the verified certificate; None = no agent's, or no certificate."""
    certificate: bytes
    nonce: bytes
    """32 random bytes, used if the agent enrols."""
    transport: int = 0


@dataclass(frozen=True, slots=True)
class FrameCame:
    """One frame of the agent."""

    link: int
    frame: frames_pb2.Frame


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """The connection is gone."""

    link: int


@dataclass(frozen=True, slots=True)
class DirectoryChanged:
    """The configuration changed."""

    directory: Directory


@dataclass(frozen=True, slots=True)
class OperatorChanged:
    """The control stream is in force, or is not."""

    synced: bool


@dataclass(frozen=True, slots=True)
class ConfigurationAged:
    """The operator has been silent for too long; "": it has not."""

    too_old: str


@dataclass(frozen=True, slots=True)
class RelayAnswered:
    """The operator's answer to a Relay command."""

    reply: control_pb2.RelayReply


@dataclass(frozen=True, slots=True)
class RelayFailed:
    """There is no operator to ask."""

    relay: int


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """The process was asked to stop."""

    deadline_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class NodeNamed:
    """This process learned who it is: it enrolled."""

    node: NodeFacts


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""

    busy: frozenset[int] = frozenset()
    """Links with open streams that answer; only if there are some in YIELDING."""


Event: TypeAlias = (
    LinkOpened
    | FrameCame
    | LinkClosed
    | DirectoryChanged
    | OperatorChanged
    | ConfigurationAged
    | RelayAnswered
    | RelayFailed
    | DrainStarted
    | NodeNamed
    | Tick
)


# --- commands --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Send:
    """Queue a frame."""

    link: int
    frame: frames_pb2.Frame


@dataclass(frozen=True, slots=True)
class Close:
    """Close after the frames queued so far."""

    link: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Bind:
    """Visitors of these tunnels go to this link from now on."""

    link: int
    tunnel_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relay:
    """Ask the operator; answered by RelayAnswered or RelayFailed with the same id."""

    request: control_pb2.RelayRequest


Command: TypeAlias = Send | Close | Bind | Relay
Step: TypeAlias = tuple[State, tuple[Command, ...]]
