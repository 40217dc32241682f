"""What is said over one link with a peer: hello and welcome, announcements both ways, refusals. Pure.

Called by the table of peers (`peers`), which decides about links as a whole.
"""

import dataclasses
import itertools
import sys
from collections.abc import Iterator

from hawse_api import names
from hawse_api.ir import frames_pb2
from hawse_exitnode import refusals
from hawse_exitnode.peer_state import (
    CLOSING_DEADLINE_S,
    MAX_ANNOUNCED,
    MAX_IN_FRAME,
    MAX_UID,
    Admit,
    Close,
    Command,
    Link,
    Note,
    Phase,
    Reach,
    Send,
    State,
    Step,
)

_SUPERSEDED = names.BY_NAME["SUPERSEDED"]


# --- frames ----------------------------------------------------------------------------------------------------------
def take_frame(state: State, link: Link, frame: frames_pb2.Frame, at: float) -> Step:
    """One frame, in order."""
    if link.phase is Phase.CLOSING:
        return state, ()
    limits = state.limits
    passed_s = 0.0 if link.budget_at is None else at - link.budget_at
    had = limits.frames_burst if link.budget_at is None else link.budget
    left = min(limits.frames_burst, had + passed_s * limits.frames_per_s)
    if left < 1:
        return refuse(state, link, bad_frame("frames faster than it takes them"), at)
    link = dataclasses.replace(link, budget=left - 1, budget_at=at)
    match link.phase, frame.WhichOneof("frame"):
        case Phase.AWAIT_HELLO, "peer_hello":
            return _hello(state, link, frame.peer_hello, at)
        case Phase.AWAIT_WELCOME, "peer_welcome":
            return _welcome(state, link, frame.peer_welcome, at)
        case Phase.REACHED, "announce":
            return _heard(state, link, frame.announce, at)
        case Phase.AWAIT_WELCOME | Phase.REACHED, "refused":
            why = f"refused: {frame.refused.message[:200]} ({frame.refused.code[:20]})"
            return state.with_link(closing(link, at, why)), _forget(state, link)
        case _, kind:
            return refuse(state, link, bad_frame(f"an unexpected frame ({kind})"), at)


def hello(state: State, link: Link) -> Command:
    """The first word of the side that dialled."""
    said = frames_pb2.PeerHello(
        min_version=names.PEER_PROTOCOL_MIN, max_version=names.PEER_PROTOCOL_MAX, node_version=state.node.version
    )
    return Send(link.id, frames_pb2.Frame(peer_hello=said))


def _hello(state: State, link: Link, hello: frames_pb2.PeerHello, at: float) -> Step:
    version = min(hello.max_version, names.PEER_PROTOCOL_MAX)
    if version < max(hello.min_version, names.PEER_PROTOCOL_MIN):
        return refuse(state, link, version_mismatch(hello), at)
    node = state.node
    welcome = frames_pb2.PeerWelcome(version=version, node_version=node.version, region=node.region, pod=node.pod)
    state, superseded = supersede(state, link.peer.spiffe_id, Phase.SERVING, at)
    state = state.with_link(dataclasses.replace(link, phase=Phase.SERVING, deadline=None))
    dial = state.dials.get(link.peer.spiffe_id)
    if dial is not None and dial.due is not None:  # it is there, evidently: started again, or back on the network
        state = state.with_dial(dataclasses.replace(dial, due=at))
    announced = _announcements(state.announced, frozenset(), reset=True)
    said = (frames_pb2.Frame(peer_welcome=welcome), *announced)
    return state, (*superseded, Admit(link.id), *(Send(link.id, frame) for frame in said))


def _welcome(state: State, link: Link, welcome: frames_pb2.PeerWelcome, at: float) -> Step:
    if not names.PEER_PROTOCOL_MIN <= welcome.version <= names.PEER_PROTOCOL_MAX:
        return refuse(state, link, bad_frame(f"version {welcome.version}, which was not offered"), at)
    state = state.with_link(dataclasses.replace(link, phase=Phase.REACHED, deadline=None, reached_at=at))
    extra = {"peer": link.peer.pod, "region": link.peer.region, "version": welcome.node_version[:64]}
    return state, (Note("peer reached", extra),)


# --- announcements ---------------------------------------------------------------------------------------------------
def announce(state: State, tunnel_uids: frozenset[str]) -> Step:
    """Tell everybody what has changed since the last time."""
    serves = _bounded(state.announced, tunnel_uids)
    add, remove = serves - state.announced, state.announced - serves
    frames = tuple(_announcements(add, remove, reset=False))
    serving = [link for link in state.links.values() if link.phase is Phase.SERVING]
    commands = tuple(Send(link.id, frame) for link in serving for frame in frames)
    return dataclasses.replace(state, announced=serves), commands


def _announcements(add: frozenset[str], remove: frozenset[str], *, reset: bool) -> Iterator[frames_pb2.Frame]:
    """Frames that say a difference; with `reset` at least one."""
    changes = [(uid, True) for uid in sorted(add)] + [(uid, False) for uid in sorted(remove)]
    for start in range(0, max(len(changes), int(reset)), MAX_IN_FRAME):
        batch = changes[start : start + MAX_IN_FRAME]
        said = frames_pb2.Announce(
            reset=reset and not start,
            add=[uid for uid, came in batch if came],
            remove=[uid for uid, came in batch if not came],
        )
        yield frames_pb2.Frame(announce=said)


def _heard(state: State, link: Link, said: frames_pb2.Announce, at: float) -> Step:
    if len(said.add) + len(said.remove) > MAX_IN_FRAME or any(len(uid) > MAX_UID for uid in said.add):
        return refuse(state, link, bad_frame("an announcement that is too long"), at)
    before = link.heard
    kept = frozenset[str]() if said.reset else before.difference(said.remove)
    now = _bounded(kept, kept.union(map(sys.intern, said.add)))  # peers that serve the same share the strings
    state = state.with_link(dataclasses.replace(link, heard=now))
    add, remove = now - before, before - now
    if not add and not remove:
        return state, ()
    return state, (Reach(link.id, _distance(state, link), tuple(sorted(add)), tuple(sorted(remove))),)


def _bounded(before: frozenset[str], after: frozenset[str]) -> frozenset[str]:
    """`after`, but not more than MAX_ANNOUNCED; what was there before stays."""
    if len(after) <= MAX_ANNOUNCED:
        return after
    kept = before & after
    return kept | frozenset(itertools.islice(sorted(after - kept), MAX_ANNOUNCED - len(kept)))


def _forget(state: State, link: Link) -> tuple[Command, ...]:
    """Nobody is led there any more."""
    return (Reach(link.id, _distance(state, link), (), tuple(sorted(link.heard))),) if link.heard else ()


def _distance(state: State, link: Link) -> int:
    return int(link.peer.region != state.node.region)


# --- endings ---------------------------------------------------------------------------------------------------------
def refuse(state: State, link: Link, why: frames_pb2.Refused, at: float) -> Step:
    """Close a link; the side that accepted says why. It stays in the table until it is down."""
    error = names.BY_CODE[why.code]
    state_after = state.with_link(closing(link, at, why.message))
    if not link.is_dialled:
        return state_after, refusal(link.id, why)
    return state_after, (*_forget(state, link), Close(link.id, error.number, error.code))


def refusal(link_id: int, why: frames_pb2.Refused) -> tuple[Command, ...]:
    """Say why, and close."""
    error = names.BY_CODE[why.code]
    return Send(link_id, frames_pb2.Frame(refused=why)), Close(link_id, error.number, error.code)


def supersede(state: State, spiffe_id: str, phase: Phase, at: float) -> Step:
    """A newer link of that peer takes the place of the accepted one in this phase: it has one of each at most."""
    commands: list[Command] = []
    for link in [link for link in state.links.values() if link.phase is phase and link.peer.spiffe_id == spiffe_id]:
        state = state.with_link(closing(link, at, "a newer link took its place"))
        commands.append(Close(link.id, _SUPERSEDED.number, _SUPERSEDED.code))
    return state, tuple(commands)


def closing(link: Link, at: float, why: str) -> Link:
    """The link as it waits for its end."""
    return dataclasses.replace(
        link, phase=Phase.CLOSING, deadline=at + CLOSING_DEADLINE_S, heard=frozenset(), trouble=why
    )


def expired(state: State, link: Link, at: float) -> Step:
    """Nothing has come within the link's deadline."""
    if link.phase is Phase.CLOSING:
        return state.with_link(dataclasses.replace(link, deadline=None)), (Close(link.id, 0, "closed"),)
    return refuse(state, link, bad_frame("no welcome in time" if link.is_dialled else "no hello in time"), at)


def bad_frame(what: str) -> frames_pb2.Refused:
    """Something that no exit node says."""
    return refusals.refused("BAD_FRAME", f"The other exit node sent {what}.", final=False)


def not_listed() -> frames_pb2.Refused:
    """A certificate of the CA is not enough. Not final: the list may be on its way."""
    message = "This exit node's list of the fleet's pods has nobody of that name (yet, or any more)."
    return refusals.refused("CERTIFICATE_REFUSED", message, final=False)


def version_mismatch(hello: frames_pb2.PeerHello) -> frames_pb2.Refused:
    """Not final: an update of the fleet is under way, most likely."""
    message = (
        f"This exit node speaks versions {names.PEER_PROTOCOL_MIN} to {names.PEER_PROTOCOL_MAX} of {names.ALPN_PEER}, "
        f"the other {hello.min_version} to {hello.max_version}. Update the older one."
    )
    return refusals.refused("VERSION_MISMATCH", message, final=False)
