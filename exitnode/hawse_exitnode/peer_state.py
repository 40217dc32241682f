"""Values of the table of peers: state, events, commands. Pure; the transitions are in `peers` and `peer_links`.

A peer is a pod of this fleet's exit nodes as the operator lists it. Two nodes have two links, one a direction: the one
that dials has visitors for the agents of the one that accepts.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from hawse_api import spiffe
from hawse_api.ir import frames_pb2, ir_pb2
from hawse_exitnode.session_state import NodeFacts

HELLO_DEADLINE_S = 5.0
"""From link to PeerHello, and from PeerHello to PeerWelcome."""
CLOSING_DEADLINE_S = 5.0
MAX_ANNOUNCED = 20_000
"""Tunnels of one node; more are not announced, nor believed. The core has the same (PEER_TUNNELS in limits.rs)."""
MAX_IN_FRAME = 1000
MAX_UID = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one exit node deals with."""

    dials: int = 128
    frames_burst: int = 200
    """Frames of one link at once, then `frames_per_s`: ten times what is said first of MAX_ANNOUNCED tunnels ..."""
    frames_per_s: float = 50.0
    """... and as often as it speaks at most (backhaul.SPACING_S)."""
    refusals_told_every_s: float = 10.0
    """Strangers do not fill the log."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A pod of the list."""

    uid: str
    pod: str
    exit_node: str
    region: str
    address: str
    """Of its agents' UDP port."""
    spiffe_id: str

    @classmethod
    def of(cls, peer: ir_pb2.Peer) -> "Peer":
        """From IR."""
        return cls(peer.uid, peer.pod, peer.exit_node, peer.region, peer.address, peer.spiffe_id)


class Phase(Enum):
    """Where a link is."""

    AWAIT_HELLO = auto()
    SERVING = auto()
    """Accepted: it may bring visitors, and hears which tunnels our agents serve."""
    AWAIT_WELCOME = auto()
    REACHED = auto()
    """Dialled: our visitors get to its agents."""
    CLOSING = auto()


@dataclass(frozen=True, slots=True)
class Link:
    """One connection with a peer."""

    id: int
    phase: Phase
    peer: Peer
    is_dialled: bool
    deadline: float | None
    """When it is closed if nothing happens; None = may stay."""
    reached_at: float | None = None
    """Dialled: when it was welcomed."""
    heard: frozenset[str] = frozenset()
    """Dialled: tunnels that the peer's agents serve."""
    trouble: str = ""
    """Why it is being closed."""
    budget: float = 0.0
    budget_at: float | None = None
    """None: it has said nothing yet."""


@dataclass(frozen=True, slots=True)
class Dial:
    """How it stands with reaching a peer."""

    peer: Peer
    due: float | None
    """When to dial; None: under way (`attempt`), or there is a link."""
    failures: int = 0
    attempt: int = 0
    link: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """All peers of this node. Maps are replaced, never changed."""

    node: NodeFacts
    limits: Limits = Limits()
    listed: tuple[Peer, ...] = ()
    """As the operator lists them, this node too."""
    peers: Mapping[str, Peer] = field(default_factory=dict)
    """SPIFFE id -> peer: everybody else on the list."""
    dials: Mapping[str, Dial] = field(default_factory=dict)
    """SPIFFE id -> those that are dialled."""
    links: Mapping[int, Link] = field(default_factory=dict)
    announced: frozenset[str] = frozenset()
    """What every link in SERVING was told."""
    next_attempt: int = 1
    refusal_told_at: float | None = None

    @property
    def own_id(self) -> str:
        """What our certificate says; "" before there is one."""
        node = self.node
        return str(spiffe.ExitNodeId(node.domain, node.exit_node, node.pod)) if node.exit_node else ""

    def with_link(self, link: Link) -> "State":
        """The link added or replaced."""
        return dataclasses.replace(self, links={**self.links, link.id: link})

    def without_link(self, link_id: int) -> "State":
        """The link gone."""
        return dataclasses.replace(self, links={key: link for key, link in self.links.items() if key != link_id})

    def with_dial(self, dial: Dial) -> "State":
        """The dial added or replaced."""
        return dataclasses.replace(self, dials={**self.dials, dial.peer.spiffe_id: dial})


# --- events ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class PeersListed:
    """The configuration lists these."""

    listed: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class SelfNamed:
    """This process learned who it is: it enrolled."""

    node: NodeFacts


@dataclass(frozen=True, slots=True)
class LinkAccepted:
    """Somebody with a certificate of the fleet's CA has dialled us."""

    link: int
    who: str
    """SPIFFE id of an exit node; "" for anybody else."""


@dataclass(frozen=True, slots=True)
class LinkDialled:
    """A Dial command has led to a link."""

    attempt: int
    link: int
    who: str


@dataclass(frozen=True, slots=True)
class DialFailed:
    """A Dial command has not."""

    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class FrameCame:
    """One frame of a peer."""

    link: int
    frame: frames_pb2.Frame


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """The connection is gone."""

    link: int
    why: str


@dataclass(frozen=True, slots=True)
class ServingChanged:
    """The tunnels that agents serve here, all of them."""

    tunnel_uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event: TypeAlias = (
    PeersListed | SelfNamed | LinkAccepted | LinkDialled | DialFailed | FrameCame | LinkClosed | ServingChanged | Tick
)


# --- commands --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class DialPeer:
    """Connect; answered by LinkDialled or DialFailed with the same number."""

    attempt: int
    peer: Peer


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
class Admit:
    """The peer that dialled this link may open streams to our agents."""

    link: int


@dataclass(frozen=True, slots=True)
class Reach:
    """Visitors of these tunnels can, or cannot any more, be carried over this link."""

    link: int
    distance: int
    """0: own region; 1: another."""
    add: tuple[str, ...]
    remove: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the log."""

    event: str
    extra: Mapping[str, str]
    is_warning: bool = False


Command: TypeAlias = DialPeer | Send | Close | Admit | Reach | Note
Step: TypeAlias = tuple[State, tuple[Command, ...]]
