"""What an agent has to tell the person at the keyboard: frozen values.

Made by session.py, renewal.py, probe.py and runner.py, worded by render.py.
"""

from dataclasses import dataclass
from typing import TypeAlias

from hawse_agent.choice import Offered, Route


@dataclass(frozen=True, slots=True)
class Connected:
    """A session with an exit node is up."""

    exit_node: str
    region: str
    address: str
    node_version: str
    transport: str = "QUIC"
    """As people read it: "QUIC" or "HTTP/2"."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A session went over from TCP to QUIC."""

    exit_node: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A session ended; the agent connects again."""

    where: str
    """Name of the exit node, or the address."""
    why: str
    code: str
    retry_s: float
    others: int
    """Sessions that are still up."""


@dataclass(frozen=True, slots=True)
class DialFailed:
    """The first of a row of failures to connect to this exit node, once another one was reached before."""

    address: str
    why: str
    code: str
    retry_s: float


@dataclass(frozen=True, slots=True)
class Draining:
    """An exit node stops."""

    exit_node: str
    reason: str
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Serving:
    """These tunnels are served from now on."""

    routes: tuple[Route, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """No Tunnel to serve; the agent waits for one."""

    missing: tuple[str, ...]
    offered: tuple[Offered, ...]
    gone: tuple[str, ...]
    """Names that were served until now."""
    token: str
    """namespace/name."""


@dataclass(frozen=True, slots=True)
class NotListening:
    """Nothing listens where the tunnel leads (HAWSE-2006): a warning."""

    target: str


@dataclass(frozen=True, slots=True)
class Listening:
    """The app that was missing is there."""

    target: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """A new certificate."""

    expires: str


@dataclass(frozen=True, slots=True)
class RenewalFailed:
    """The certificate could not be renewed; tried again later."""

    why: str
    code: str
    expires_in_s: float


@dataclass(frozen=True, slots=True)
class Note:
    """One line that is complete as it is (files' modes, for example)."""

    text: str


Notice: TypeAlias = (
    Connected
    | Lost
    | DialFailed
    | Draining
    | Serving
    | Waiting
    | NotListening
    | Listening
    | Moved
    | Renewed
    | RenewalFailed
    | Note
)
