"""One connection to one exit node over two transports, as a table: (Race, event, time) -> (Race, commands). Pure.

QUIC starts first; TCP joins it after a head start, or at once where QUIC failed already or TCP won before on this
network (networks.py). The first link wins. A refusal that the other transport would get too ends the race: the exit
node answered. Called by dialling.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

from hawse_agent.endings import Failure

HEAD_START_S = 0.3
"""One round trip, which a QUIC handshake takes, to the other side of the world (RFC 8305: 0.25 s between addresses)."""


class Transport(Enum):
    """How frames and streams travel; the value is what people read."""

    QUIC = "QUIC"
    TCP = "HTTP/2"


@dataclass(frozen=True, slots=True)
class Failed:
    """No link over this transport."""

    transport: Transport
    failure: Failure


@dataclass(frozen=True, slots=True)
class Linked:
    """A link over this transport."""

    transport: Transport


@dataclass(frozen=True, slots=True)
class Waited:
    """Time has passed."""


Event: TypeAlias = Linked | Failed | Waited


@dataclass(frozen=True, slots=True)
class Start:
    """Dial over this transport."""

    transport: Transport


@dataclass(frozen=True, slots=True)
class Won:
    """Keep this link, end every other dial."""

    transport: Transport


@dataclass(frozen=True, slots=True)
class Lost:
    """No transport led to the exit node."""

    failure: Failure


Command: TypeAlias = Start | Won | Lost


@dataclass(frozen=True, slots=True)
class Race:
    """How far it is."""

    started: tuple[Transport, ...]
    tcp_at: float | None
    """When TCP joins; None: it has, or the race is over."""
    failed: tuple[Failed, ...] = ()
    over: bool = False


def begin(at: float, *, tcp_at_once: bool) -> tuple[Race, list[Command]]:
    """Start it. `tcp_at_once`: no head start for QUIC."""
    if tcp_at_once:
        both = (Transport.TCP, Transport.QUIC)
        return Race(both, None), [Start(one) for one in both]
    return Race((Transport.QUIC,), at + HEAD_START_S), [Start(Transport.QUIC)]


def step(race: Race, event: Event, at: float) -> tuple[Race, list[Command]]:
    """What follows. After the end nothing does."""
    if race.over:
        return race, []
    match event:
        case Linked(transport):
            return replace(race, tcp_at=None, over=True), [Won(transport)]
        case Failed():
            return _failed(replace(race, failed=(*race.failed, event)), event.failure)
        case Waited() if race.tcp_at is not None and at >= race.tcp_at:
            return _start_tcp(race)
        case _:
            return race, []


def _failed(race: Race, failure: Failure) -> tuple[Race, list[Command]]:
    if race.tcp_at is not None and not failure.final:
        return _start_tcp(race)
    if race.tcp_at is None and len(race.failed) < len(race.started):
        return race, []
    return replace(race, tcp_at=None, over=True), [Lost(summary(race.failed))]


def _start_tcp(race: Race) -> tuple[Race, list[Command]]:
    return replace(race, started=(*race.started, Transport.TCP), tcp_at=None), [Start(Transport.TCP)]


def summary(failed: Sequence[Failed]) -> Failure:
    """One failure for all transports: what the exit node itself said, else what happened to each."""
    for one in failed:
        if one.failure.final:
            return one.failure
    if len({one.failure.why for one in failed}) == 1:
        return failed[0].failure
    quic_first = sorted(failed, key=lambda one: one.transport is not Transport.QUIC)
    why = "; ".join(f"over {one.transport.value}: {one.failure.why.rstrip('.')}" for one in quic_first)
    return Failure(why, quic_first[0].failure.code)
