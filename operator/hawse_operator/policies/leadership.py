"""Who leads: a table over the Lease, `(State, Event) -> (State, commands)`.

Time is a monotonic clock of this process: like client-go, a replica believes a foreign Lease until it has not seen it
change for the Lease's duration on its own clock, so clocks of different machines never matter. term = the Lease's
transitions, raised at every acquisition, also of a Lease that this pod held before its restart: exit nodes tell
streams apart by it.

Nothing here talks to the API server; reconcile.leader does, and feeds back what came of it.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Record:
    """The Lease's spec, as far as it decides."""

    holder: str
    """Empty: released."""
    transitions: int
    stamp: str
    """renewTime as text: only compared for change."""
    duration_s: float


class Role(Enum):
    """What this replica is."""

    STANDBY = auto()
    LEADER = auto()
    ENDED = auto()
    """It was told to stop and never leads again."""


@dataclass(frozen=True, slots=True)
class State:
    """What this replica knows."""

    identity: str
    duration_s: float
    role: Role = Role.STANDBY
    seen: Record | None = None
    seen_at: float = 0.0
    """When `seen` last changed."""
    term: int = 0
    renewed_at: float = 0.0
    """When the last successful renewal was begun."""


@dataclass(frozen=True, slots=True)
class Read:
    """The Lease was read; None: there is none."""

    record: Record | None


@dataclass(frozen=True, slots=True)
class Wrote:
    """Our write went through; it was begun at `begun_at`."""

    record: Record
    begun_at: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Reading or writing failed, or somebody else wrote first."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The process ends."""


Event = Read | Wrote | Failed | Stop


@dataclass(frozen=True, slots=True)
class Write:
    """Write the Lease at the version that was read."""

    transitions: int
    is_new: bool
    """There is no Lease yet."""
    acquires: bool


@dataclass(frozen=True, slots=True)
class Lead:
    """Begin to lead in this term."""

    term: int


@dataclass(frozen=True, slots=True)
class StepDown:
    """Stop writing and serving, now."""


@dataclass(frozen=True, slots=True)
class Release:
    """Give the Lease away, so that the other replica need not wait."""

    transitions: int


Command = Write | Lead | StepDown | Release


def renew_every_s(duration_s: float) -> float:
    """Pause between looks at the Lease: five within its duration."""
    return duration_s / 5


def look_again_after_s(state: State, *, now: float) -> float:
    """Pause until the next look.

    A leader whose last renewal failed tries again three times as soon: failures that come in the same rhythm would
    else end it.
    """
    pause_s = renew_every_s(state.duration_s)
    is_overdue = state.role is Role.LEADER and now - state.renewed_at >= pause_s / 2
    return pause_s / 3 if is_overdue else pause_s


def give_up_after_s(duration_s: float) -> float:
    """A leader that could not renew for so long stops: well before others may take over at `duration_s`."""
    return duration_s * 2 / 3


def believes_for_s(state: State, *, now: float) -> float:
    """How long this replica may go on without a word of the API server: no wait of a leader may outlast it."""
    if state.role is not Role.LEADER:
        return state.duration_s
    return max(0.0, state.renewed_at + give_up_after_s(state.duration_s) - now)


def transition(state: State, event: Event, *, now: float) -> tuple[State, tuple[Command, ...]]:
    """The table."""
    match state.role, event:
        case Role.ENDED, _:
            return state, ()
        case Role.STANDBY, Stop():
            return replace(state, role=Role.ENDED), ()
        case Role.LEADER, Stop():
            return replace(state, role=Role.ENDED), (StepDown(), Release(state.term))
        case Role.STANDBY, Read(record):
            return _standby_read(state, record, now)
        case Role.LEADER, Read(record):
            return _leader_read(state, record)
        case Role.STANDBY, Wrote(record, begun_at):
            leading = replace(
                state, role=Role.LEADER, seen=record, seen_at=now, term=record.transitions, renewed_at=begun_at
            )
            return leading, (Lead(record.transitions),)
        case Role.LEADER, Wrote(record, begun_at):
            return replace(state, seen=record, seen_at=now, renewed_at=begun_at), ()
        case Role.LEADER, Failed() if now - state.renewed_at >= give_up_after_s(state.duration_s):
            return replace(state, role=Role.STANDBY, seen_at=now), (StepDown(),)
        case _, Failed():
            return state, ()
    raise AssertionError(f"no transition for {state.role} and {event}")


def _standby_read(state: State, record: Record | None, now: float) -> tuple[State, tuple[Command, ...]]:
    if record is None:
        return state, (Write(transitions=1, is_new=True, acquires=True),)
    if record != state.seen:
        state = replace(state, seen=record, seen_at=now)
    is_free = record.holder in ("", state.identity)
    if is_free or now - state.seen_at >= max(record.duration_s, 1.0):
        return state, (Write(transitions=record.transitions + 1, is_new=False, acquires=True),)
    return state, ()


def _leader_read(state: State, record: Record | None) -> tuple[State, tuple[Command, ...]]:
    """Renew, unless the Lease is somebody else's or was deleted under us: then step down before anything else."""
    if record is None or record.holder != state.identity or record.transitions != state.term:
        return replace(state, role=Role.STANDBY, seen=record), (StepDown(),)
    return replace(state, seen=record), (Write(transitions=state.term, is_new=False, acquires=False),)
