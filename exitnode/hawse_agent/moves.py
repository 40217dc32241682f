"""What can happen to an agent's sessions and what can be done about it: events and commands of session.py's table.

Frozen values without behaviour. Events are made by incoming.py (from frames) and runner.py, commands by session.py.
"""

from dataclasses import dataclass
from typing import TypeAlias

from hawse_agent import endings, notices
from hawse_agent.choice import Offered, Route
from hawse_agent.endings import Failure
from hawse_agent.racing import Transport


@dataclass(frozen=True, slots=True)
class Moment:
    """The time and the luck of a step."""

    at: float
    """Monotonic seconds."""
    unix_ms: int
    luck: float
    """In [0, 1)."""


# --- events ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """A link is up."""

    address: str
    link: int
    transport: Transport = Transport.QUIC
    upgrade: bool = False
    """Of a session over TCP that goes on meanwhile."""


@dataclass(frozen=True, slots=True)
class NotDialled:
    """No link."""

    address: str
    failure: Failure
    upgrade: bool = False


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The node admitted us."""

    link: int
    exit_node: str
    region: str
    node_version: str


@dataclass(frozen=True, slots=True)
class RefusedByNode:
    """The node ends the session, with a reason."""

    link: int
    failure: Failure
    epoch: int = 0
    """Of HAWSE-2007: the highest epoch that the node knows."""


@dataclass(frozen=True, slots=True)
class OfferChanged:
    """Tunnels that our token may serve."""

    link: int
    offered: tuple[Offered, ...]
    addresses: tuple[str, ...] = ()
    """Where the fleet's exit nodes are, as this one knows it."""
    tcp_ports: tuple[int, ...] = ()
    """In their order."""


@dataclass(frozen=True, slots=True)
class RegistrationChanged:
    """Tunnels that the node serves through us."""

    link: int
    uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """The node stops."""

    link: int
    deadline_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class LinkLost:
    """A link is gone."""

    link: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class AddressesChanged:
    """The fleet's exit nodes are these now."""

    addresses: tuple[str, ...]


Event: TypeAlias = (
    Tick
    | Dialled
    | NotDialled
    | Welcomed
    | RefusedByNode
    | OfferChanged
    | RegistrationChanged
    | DrainStarted
    | LinkLost
    | AddressesChanged
)


# --- commands --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Dial:
    """Connect; answer with Dialled or NotDialled."""

    address: str
    upgrade: bool = False
    """Over QUIC only, for a session over TCP."""


@dataclass(frozen=True, slots=True)
class Greet:
    """Remember the epoch, then send Hello."""

    link: int
    slot: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Serve:
    """Attach the apps, then send Register."""

    link: int
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Close:
    """Close the link."""

    link: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Show it to the person."""

    notice: notices.Notice


@dataclass(frozen=True, slots=True)
class LearnAddresses:
    """Ask a live session for the fleet's current addresses (renewal.py)."""


@dataclass(frozen=True, slots=True)
class RememberAddresses:
    """Exit nodes that were not known: keep them with the login."""

    addresses: tuple[str, ...]
    tcp_ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """End the command."""

    ending: endings.Ending


Command: TypeAlias = Dial | Greet | Serve | Close | Tell | LearnAddresses | RememberAddresses | Finish
