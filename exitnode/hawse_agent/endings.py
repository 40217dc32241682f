"""When and with which words an agent gives up. Pure: failures of all nodes in, an ending or None out.

An ending of the login (revoked, superseded, certificate over) counts from one node. Anything else only when no node is
left that could do better. Called by session.py and renewal.py; cli/ prints the message and exits with the code.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hawse_agent import words
from hawse_agent.choice import NoSuch, Offered, OtherKind, Several
from hawse_agent.errors import AgentError, error_of
from hawse_api import names

_LOGIN = frozenset(names.BY_NAME[name].code for name in ("REVOKED", "SUPERSEDED", "CERTIFICATE_EXPIRED"))
_NO_EXIT_NODE = names.BY_NAME["NO_EXIT_NODE"].code
_UNTRUSTED = names.BY_NAME["EXIT_NODE_UNTRUSTED"].code
_ADVICE = {
    names.BY_NAME["REVOKED"].code: "Log in with a token that still exists: hawse login -",
    names.BY_NAME["SUPERSEDED"].code: "hawse runs twice with this login. Stop the other one, or log in with a config "
    "directory of its own (HAWSE_CONFIG_DIR).",
    names.BY_NAME["CERTIFICATE_EXPIRED"].code: "Log in again: hawse login -",
    names.BY_NAME["CERTIFICATE_REFUSED"].code: "Log in again: hawse login -",
    _UNTRUSTED: "Log in with a fresh token: hawse login -. If it happens again, something between here and the exit "
    "node answers in its place.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no session with a node."""

    why: str
    code: str = ""
    final: bool = False
    """True: asking this node again does not help until somebody acts."""
    back: bool = False
    """True: the node is there again, and takes sessions."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the command ends."""

    code: str
    message: str

    @property
    def error(self) -> AgentError:
        """To raise: has the exit code."""
        return error_of(self.code, self.message)


def concerns_login(failure: Failure) -> bool:
    """Does this end the whole agent, whichever node said it?"""
    return failure.final and failure.code in _LOGIN


def decide(failures: Mapping[str, Failure | None], *, connected: bool, patience_left_s: float) -> Ending | None:
    """Give up? `failures` has every node's address; None: no failure (yet). `connected`: there has been a session."""
    known = {address: failure for address, failure in failures.items() if failure is not None}
    for failure in known.values():
        if concerns_login(failure):
            return of_failure(failure)
    everywhere = bool(known) and len(known) == len(failures)
    if everywhere and all(_lasts(failure, connected) for failure in known.values()):
        return of_failure(next(iter(known.values())))
    if connected or patience_left_s > 0:
        return None
    reasons = [f"{address}: {failure.why if failure else 'no answer'}" for address, failure in failures.items()]
    return Ending(
        _NO_EXIT_NODE,
        "no exit node could be reached. Check the network, and that UDP or TCP to them is let through.\n"
        + words.listing(reasons),
    )


def of_failure(failure: Failure) -> Ending:
    """The failure with what to do about it."""
    why = failure.why if failure.why.endswith((".", "?", "!")) else f"{failure.why}."
    advice = _ADVICE.get(failure.code, "")
    return Ending(failure.code, f"{why} {advice}".strip() if advice not in failure.why else why)


def of_choice(chosen: Several | NoSuch | OtherKind, token: str) -> Ending:
    """Nobody can know which tunnel is meant."""
    offered = words.listing([one.name for one in chosen.offered])
    if isinstance(chosen, OtherKind):
        kind, verb = ("TCP", "hawse tcp PORT") if chosen.offered[0].is_tcp else ("HTTP", "hawse http PORT")
        return Ending(
            names.BY_NAME["NO_TUNNEL"].code,
            f"{offered}: served as {kind} (the Tunnel's spec.protocol). Run {verb} --tunnel {chosen.offered[0].name}.",
        )
    if isinstance(chosen, NoSuch):
        return Ending(
            names.BY_NAME["NO_TUNNEL"].code,
            f'no Tunnel "{words.printable(chosen.name, 63)}" names the token {token}. Those that do: {offered}.',
        )
    return Ending(
        names.BY_NAME["SEVERAL_TUNNELS"].code,
        f"several Tunnels name the token {token}. Say which: --tunnel {_example(chosen.offered)}. They are: {offered}.",
    )


def _example(offered: tuple[Offered, ...]) -> str:
    return offered[0].name if offered else "NAME"


def _lasts(failure: Failure, connected: bool) -> bool:
    """After a first session an untrusted answer may be a captive portal: worth trying again."""
    return failure.final and not (connected and failure.code == _UNTRUSTED)
