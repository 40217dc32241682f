"""What the core tells: frozen values, in the order in which things happened. Made by core.py."""

from dataclasses import dataclass
from enum import StrEnum

from hawse_api.ir import core_pb2, frames_pb2


class EndedBy(StrEnum):
    """Who ended a link."""

    US = "us"
    PEER = "peer"
    TIMEOUT = "timeout"
    """Nothing was heard for a while (4.5 s; 15 s during an enrolment): the peer or the network is gone."""
    RESTART = "restart"
    """The peer's process was killed and started again: it is there, and does not know the link."""
    TRANSPORT = "transport"
    """QUIC, TCP or TLS broke."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A link is ready for frames."""

    link: int
    """Never used again within one core."""
    alpn: str
    """names.ALPN_LINK, names.ALPN_PEER or names.ALPN_ENROL."""
    remote: str
    """"address:port" of the peer, as we see it."""
    peer_certificate: bytes
    """Verified leaf of the peer, DER; empty for an agent that enrols."""
    ca: bytes
    """Only on a link that was dialled with ca_sha256: the CA that matched, DER."""
    dialed: bool
    """True on the side that called dial()."""
    transport: int
    """core_pb2.TRANSPORT_QUIC or .TRANSPORT_TCP."""


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """One frame of the peer, in order."""

    link: int
    frame: frames_pb2.Frame


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The link is gone; nothing of it follows."""

    link: int
    code: int
    """Application code: the number of a HAWSE code, or 0."""
    reason: str
    by: EndedBy


@dataclass(frozen=True, slots=True)
class TargetsTurned:
    """A tunnel has turned to its standby, or back: what answers now, of every tunnel that has one."""

    targets: core_pb2.Targets


@dataclass(frozen=True, slots=True)
class CoreFailed:
    """A long-lived task of the core died. The process should end in order and start again."""

    what: str


Event = LinkUp | FrameReceived | LinkDown | TargetsTurned | CoreFailed
