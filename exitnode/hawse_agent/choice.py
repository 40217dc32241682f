"""Which of the offered tunnels an agent serves: offers and the command line in, a decision out. Pure.

`hawse http` and `hawse tcp` serve exactly one, of their kind: the one that is named, else the only one that is offered.
`hawse start` serves a list of any kind.
A tunnel is known by its name, not its uid: applied again after a deletion it is the same to the person who typed the
command. Called by session.py whenever an offer changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hawse_agent.target import Target


@dataclass(frozen=True, slots=True)
class Offered:
    """A tunnel that the token may serve."""

    uid: str
    namespace: str
    name: str
    url: str
    is_tcp: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line or the config file asks for."""

    routes: tuple[tuple[str, Target], ...]
    """(name of the tunnel, where its app listens). The name is "" without --tunnel."""
    tcp: bool | None = None
    """Only TCP tunnels (`hawse tcp`), or none of them (`hawse http`); None: any."""
    wait: bool = False
    """True: a named tunnel that is not offered is waited for, even if others are (`hawse start`)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tunnels, "" left out."""
        return tuple(name for name, _ in self.routes if name)

    def takes(self, tunnel: Offered) -> bool:
        """It is of the kind that was asked for."""
        return self.tcp is None or tunnel.is_tcp == self.tcp


@dataclass(frozen=True, slots=True)
class Route:
    """A tunnel and where its app listens."""

    tunnel: Offered
    target: Target


@dataclass(frozen=True, slots=True)
class Serve:
    """Serve these; `missing` are wanted and not offered."""

    routes: tuple[Route, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to serve yet; `missing` are wanted by name."""

    missing: tuple[str, ...] = ()
    offered: tuple[Offered, ...] = ()


@dataclass(frozen=True, slots=True)
class Several:
    """Nobody said which of these."""

    offered: tuple[Offered, ...]


@dataclass(frozen=True, slots=True)
class NoSuch:
    """The named tunnel is not offered, others are."""

    name: str
    offered: tuple[Offered, ...]


@dataclass(frozen=True, slots=True)
class OtherKind:
    """There would be these, and they are served by the other verb."""

    offered: tuple[Offered, ...]


Choice: TypeAlias = Serve | Wait | Several | NoSuch | OtherKind


def choose(wanted: Wanted, offered: Sequence[Offered], last: str = "") -> Choice:
    """Decide. `last` is the name of the tunnel that an agent without --tunnel served before, if any."""
    by_name = {one.name: one for one in sorted(offered, key=lambda one: (one.name, one.uid))}
    whole = tuple(by_name.values())
    others = tuple(one for one in whole if not wanted.takes(one))
    if not wanted.names:
        fitting = tuple(one for one in whole if wanted.takes(one))
        if others and not fitting:
            return OtherKind(others)
        again = next((one for one in fitting if one.name == last), None)
        return _choose_only(wanted.routes[0][1], fitting, again)
    if named := tuple(one for one in others if one.name in wanted.names):
        return OtherKind(named)
    routes = tuple(Route(by_name[name], target) for name, target in wanted.routes if name in by_name)
    missing = tuple(name for name in wanted.names if name not in by_name)
    if routes:
        return Serve(routes, missing)
    if whole and not wanted.wait:
        return NoSuch(missing[0], whole)
    return Wait(missing, whole)


def _choose_only(target: Target, offered: tuple[Offered, ...], again: Offered | None) -> Choice:
    if again is not None:
        return Serve((Route(again, target),))
    match offered:
        case ():
            return Wait()
        case (only,):
            return Serve((Route(only, target),))
        case _:
            return Several(offered)
