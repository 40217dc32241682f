"""Backhaul as a table: `(State, Event) -> (State, commands)`. Pure.

Decides whom to dial and when again, who is let in, and what is told and believed of tunnels; docs/backhaul.md has the
why. Each link has one role: the side that dials has visitors, the side that accepts has agents. Reads no clock, sends
nothing, knows no core: `backhaul` feeds it and carries its commands out.
"""

import dataclasses
from collections.abc import Mapping
from typing import assert_never

from hawse_api import names
from hawse_exitnode import backoff, peer_links
from hawse_exitnode.peer_state import (
    HELLO_DEADLINE_S,
    Close,
    Command,
    Dial,
    DialFailed,
    DialPeer,
    Event,
    FrameCame,
    Link,
    LinkAccepted,
    LinkClosed,
    LinkDialled,
    Note,
    Peer,
    PeersListed,
    Phase,
    SelfNamed,
    ServingChanged,
    State,
    Step,
    Tick,
)

TOLD_AFTER = 4
"""Failures in a row until a peer is said to be out of reach: a pod that ends is off the list sooner."""
STEADY_S = 10.0
"""Links that last for less are failures in a row too: pauses grow."""
_UNTRUSTED = names.BY_NAME["EXIT_NODE_UNTRUSTED"]


def step(state: State, event: Event, *, at: float, luck: float) -> Step:
    """What follows from an event at the monotonic second `at`; `luck` in [0, 1) spreads what is tried again.

    Events about links and dials that are not in the table change nothing, but for a link that is not wanted.
    """
    match event:
        case PeersListed(listed) if listed == state.listed:
            return state, ()
        case PeersListed(listed):
            return _configure(dataclasses.replace(state, listed=listed), at)
        case SelfNamed(node):
            return _configure(dataclasses.replace(state, node=node), at)
        case LinkAccepted():
            return _accepted(state, event, at)
        case LinkDialled():
            return _dialled(state, event, at, luck)
        case DialFailed(attempt, why):
            dial = _dial_of_attempt(state, attempt)
            return (state, ()) if dial is None else _failed(state, dial, why, at, luck)
        case FrameCame(link_id, frame):
            link = state.links.get(link_id)
            return (state, ()) if link is None else peer_links.take_frame(state, link, frame, at)
        case LinkClosed(link_id, why):
            return _closed(state, link_id, why, at, luck)
        case ServingChanged(tunnel_uids):
            return peer_links.announce(state, tunnel_uids)
        case Tick():
            return _tick(state, at)
        case _:
            assert_never(event)


def reached(state: State) -> Mapping[str, tuple[int, int]]:
    """Region -> (peers that are reached, peers that are listed)."""
    found: dict[str, tuple[int, int]] = {}
    for spiffe_id, peer in state.peers.items():
        up, listed = found.get(peer.region, (0, 0))
        dial = state.dials.get(spiffe_id)
        link = None if dial is None else state.links.get(dial.link)
        found[peer.region] = up + (link is not None and link.phase is Phase.REACHED), listed + 1
    return found


# --- the list --------------------------------------------------------------------------------------------------------
def _configure(state: State, at: float) -> Step:
    """Bring links and dials in line with the list and with who we are."""
    own_id = state.own_id
    peers = {peer.spiffe_id: peer for peer in state.listed if own_id and peer.spiffe_id not in ("", own_id)}
    chosen = sorted(peers.values(), key=lambda peer: (peer.region != state.node.region, peer.uid))
    dials = {
        peer.spiffe_id: known if known is not None and known.peer == peer else Dial(peer, due=at)
        for peer in chosen[: state.limits.dials]
        for known in (state.dials.get(peer.spiffe_id),)
    }
    state = dataclasses.replace(state, peers=peers, dials=dials)
    commands: list[Command] = []
    for link in list(state.links.values()):
        if not _is_wanted(state, link):
            state, more = peer_links.refuse(state, link, peer_links.not_listed(), at)
            commands += more
    state, more = _dial_due(state, at)
    return state, (*commands, *more)


def _is_wanted(state: State, link: Link) -> bool:
    if link.phase is Phase.CLOSING:
        return True
    if not link.is_dialled:
        return link.peer.spiffe_id in state.peers
    dial = state.dials.get(link.peer.spiffe_id)
    return dial is not None and dial.link == link.id


# --- dialling --------------------------------------------------------------------------------------------------------
def _dial_due(state: State, at: float) -> Step:
    commands: list[Command] = []
    dials, attempt = dict(state.dials), state.next_attempt
    for spiffe_id, dial in state.dials.items():
        if dial.due is not None and dial.due <= at:
            dials[spiffe_id] = dataclasses.replace(dial, due=None, attempt=attempt)
            commands.append(DialPeer(attempt, dial.peer))
            attempt += 1
    if not commands:
        return state, ()
    return dataclasses.replace(state, dials=dials, next_attempt=attempt), tuple(commands)


def _dial_of_attempt(state: State, attempt: int) -> Dial | None:
    return next((dial for dial in state.dials.values() if dial.attempt == attempt), None)


def _dialled(state: State, event: LinkDialled, at: float, luck: float) -> Step:
    dial = _dial_of_attempt(state, event.attempt)
    if dial is None:
        return state, (Close(event.link, 0, "not wanted any more"),)
    if event.who != dial.peer.spiffe_id:
        why = f"{event.who or 'somebody else'} answers at its address ({_UNTRUSTED.code})"
        state, commands = _failed(state, dial, why, at, luck)
        return state, (Close(event.link, _UNTRUSTED.number, _UNTRUSTED.code), *commands)
    link = Link(event.link, Phase.AWAIT_WELCOME, dial.peer, is_dialled=True, deadline=at + HELLO_DEADLINE_S)
    state = state.with_link(link).with_dial(dataclasses.replace(dial, attempt=0, link=link.id))
    return state, (peer_links.hello(state, link),)


def _failed(state: State, dial: Dial, why: str, at: float, luck: float) -> Step:
    """It is dialled again after a pause."""
    failures = dial.failures + 1
    due = at + backoff.delay_s(failures - 1, luck)
    state = state.with_dial(dataclasses.replace(dial, due=due, failures=failures, attempt=0, link=0))
    if failures != TOLD_AFTER:
        return state, ()
    return state, (Note("peer is out of reach", {**_named(dial.peer), "why": why}, is_warning=True),)


def _closed(state: State, link_id: int, why: str, at: float, luck: float) -> Step:
    link = state.links.get(link_id)
    if link is None:
        return state, ()
    state, why = state.without_link(link_id), link.trouble or why
    notes: tuple[Command, ...] = ()
    if link.reached_at is not None:
        notes = (Note("peer lost", {**_named(link.peer), "why": why}),)
    dial = state.dials.get(link.peer.spiffe_id)
    if dial is None or dial.link != link_id:
        return state, notes
    if link.reached_at is not None and at >= link.reached_at + STEADY_S:
        dial = dataclasses.replace(dial, failures=0)
    state, commands = _failed(state, dial, why, at, luck)
    return state, (*notes, *commands)


# --- accepting -------------------------------------------------------------------------------------------------------
def _accepted(state: State, event: LinkAccepted, at: float) -> Step:
    peer = state.peers.get(event.who)
    if peer is None:
        return _stranger(state, event, at)
    state, commands = peer_links.supersede(state, event.who, Phase.AWAIT_HELLO, at)
    link = Link(event.link, Phase.AWAIT_HELLO, peer, is_dialled=False, deadline=at + HELLO_DEADLINE_S)
    return state.with_link(link), commands


def _stranger(state: State, event: LinkAccepted, at: float) -> Step:
    """It is told, and not remembered. It may be on the list in a moment: then it comes again."""
    refused = peer_links.not_listed()
    commands = peer_links.refusal(event.link, refused)
    told_at = state.refusal_told_at
    if told_at is not None and at < told_at + state.limits.refusals_told_every_s:
        return state, commands
    note = Note("peer refused", {"peer": event.who or "no exit node", "why": refused.message})
    return dataclasses.replace(state, refusal_told_at=at), (*commands, note)


# --- time ------------------------------------------------------------------------------------------------------------
def _tick(state: State, at: float) -> Step:
    commands: list[Command] = []
    for link in list(state.links.values()):
        if link.deadline is not None and at >= link.deadline:
            state, more = peer_links.expired(state, link, at)
            commands += more
    state, more = _dial_due(state, at)
    return state, (*commands, *more)


def _named(peer: Peer) -> dict[str, str]:
    return {"peer": peer.pod, "region": peer.region, "address": peer.address}
