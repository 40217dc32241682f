"""Renewal of the agent's certificate over a live session, as a table: (State, event, now) -> (State, commands). Pure.

Asked for at half life, and earlier when an exit node went away: the answer brings the fleet's current addresses. Wall
clock, not monotonic: a laptop that slept for a day must notice. runner.py makes keys, sends, saves.
"""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hawse_agent import identity, notices, words
from hawse_agent.credentials import Credentials, pair_addresses
from hawse_agent.endings import Ending, Failure
from hawse_api import names
from hawse_api.ir import frames_pb2

ANSWER_S = 20.0
RETRY_S = 60.0
LEARN_WAIT_S = 30.0
"""Least time between two renewals for the sake of addresses; doubles while they bring nothing new."""
LEARN_MOST_S = 900.0
LEARN_SPREAD_S = 5.0
"""All agents of an exit node hear of its end in the same moment; each answer is a signature of the operator."""
_EXPIRED = names.BY_NAME["CERTIFICATE_EXPIRED"].code
_UNTRUSTED = names.BY_NAME["EXIT_NODE_UNTRUSTED"].code


@dataclass(frozen=True, slots=True)
class State:
    """Times are Unix seconds."""

    renew_at: float
    expires_at: float
    learn_at: float | None = None
    """Addresses are wanted, and asked for then."""
    learned_at: float = 0.0
    learn_wait_s: float = LEARN_WAIT_S
    asked_link: int = 0
    asked_until: float = 0.0
    asked_early: bool = False
    """For addresses only: a failure is not worth a word."""
    failing: bool = False


# --- events ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed, or sessions have changed."""


@dataclass(frozen=True, slots=True)
class AddressesWanted:
    """An exit node went away: where are the others?"""

    luck: float
    """In [0, 1)."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The new certificate is saved."""

    renew_at: float
    expires_at: float
    moved: bool
    """It brought other addresses."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No new certificate."""

    failure: Failure


Event: TypeAlias = Tick | AddressesWanted | Answered | Refused


# --- commands --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Ask:
    """Make a key and send RenewRequest on this link."""

    link: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Show it to the person."""

    notice: notices.Notice


@dataclass(frozen=True, slots=True)
class Finish:
    """The certificate is over: end the command."""

    ending: Ending


Command: TypeAlias = Ask | Tell | Finish


def begin(credentials: Credentials) -> State:
    """From what is on disk."""
    return State(renew_at=credentials.half_life.timestamp(), expires_at=credentials.expires.timestamp())


def step(state: State, event: Event, now: float, links: Sequence[int]) -> tuple[State, list[Command]]:
    """The next state and what to do; `links` are live sessions, the best first."""
    commands: list[Command] = []
    match event:
        case AddressesWanted(luck) if state.learn_at is None:
            soonest = max(now, state.learned_at + state.learn_wait_s)
            state = dataclasses.replace(state, learn_at=soonest + luck * LEARN_SPREAD_S)
        case Answered(renew_at, expires_at, moved):
            wait_s = LEARN_WAIT_S if moved else min(state.learn_wait_s * 2, LEARN_MOST_S)
            state = State(renew_at, expires_at, learned_at=now, learn_wait_s=wait_s)
        case Refused(failure):
            state, commands = _failed(state, failure, now)
        case _:
            pass
    if now >= state.expires_at:
        return state, [*commands, Finish(expired(now - state.expires_at))]
    if state.asked_link and (state.asked_link not in links or now >= state.asked_until):
        why = "the exit node gave no answer" if state.asked_link in links else "the session ended before the answer"
        state, more = _failed(state, Failure(why), now)
        commands += more
    early = state.learn_at is not None and now >= state.learn_at
    if not state.asked_link and links and (early or now >= state.renew_at):
        state = dataclasses.replace(
            state, asked_link=links[0], asked_until=now + ANSWER_S, asked_early=now < state.renew_at, learn_at=None
        )
        commands.append(Ask(links[0]))
    return state, commands


def accept(credentials: Credentials, key: identity.NewKey, response: frames_pb2.RenewResponse) -> Credentials | Failure:
    """The login with the new certificate, or why it is none."""
    if response.HasField("refused"):
        refused = response.refused
        return Failure(words.printable(refused.message) or "the operator refused", refused.code, refused.final)
    chain, roots = tuple(response.chain), tuple(response.roots) or credentials.roots
    try:
        identity.check_chain(chain, roots, public=key.public, domain=credentials.domain, agent_id=credentials.agent_id)
    except identity.ChainRefusedError as exc:
        return Failure(f"the new certificate cannot be trusted: {exc}", _UNTRUSTED)
    addresses, tcp_ports = pair_addresses(response.addresses, response.tcp_ports)
    renewed = credentials.renewed(chain, roots, addresses, tcp_ports)
    return dataclasses.replace(renewed, key=key.private)


def expired(since_s: float) -> Ending:
    """HAWSE-2014."""
    return Ending(
        _EXPIRED, f"the agent's certificate expired {words.duration(since_s)} ago. Log in again: hawse login -"
    )


def expiry_text(credentials: Credentials) -> str:
    """When the certificate ends: "2026-11-25 06:33 UTC"."""
    return credentials.expires.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _failed(state: State, failure: Failure, now: float) -> tuple[State, list[Command]]:
    """Told once in a row; tried again after a while, sooner when little time is left."""
    if state.asked_early:
        return dataclasses.replace(state, asked_link=0, learned_at=now), []
    wait_s = min(RETRY_S, max((state.expires_at - now) / 10, 1.0))
    told = Tell(notices.RenewalFailed(failure.why, failure.code, state.expires_at - now))
    commands: list[Command] = [] if state.failing else [told]
    return dataclasses.replace(state, asked_link=0, renew_at=now + wait_s, failing=True), commands
