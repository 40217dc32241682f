"""One slot, two sessions: the newer one takes over once it serves, and visitors lose nothing by it. Pure.

    Hello of a higher epoch --> both ACTIVE, only the older bound --Registered--> the newer bound, the older YIELDING
                                            --streams ended, or the link is silent, or YIELD_S--> refused, closed

If the newer one is lost before it registered, the older keeps the slot. An agent that was killed and started again
looks like one that moves: the core asks the older link whether it lives as soon as it serves nothing, and one that has
not answered within a second is not waited for. Called by the session table.
"""

import dataclasses

from hawse_exitnode import refusals
from hawse_exitnode.session_state import Bind, Command, Fence, FenceKey, Link, Moment, Phase, State, Step

REGISTER_DEADLINE_S = 10.0
"""From Welcome: a newer session that registers nothing by then has the slot all the same."""
YIELD_S = 10.0
"""Streams of the older session may run for so long ..."""
YIELD_LEAST_S = 0.5
"""... and it stays for so long at least: a visitor's stream may be on its way to it."""


def fence_key(link: Link) -> FenceKey:
    """The slot of a session."""
    who = link.identity
    return ("", "", "") if who is None else (who.token_uid, who.agent_id, link.slot)


def begin(state: State, link: Link, now: Moment) -> Step:
    """`link` was admitted: it has the slot. Who serves there goes on until `complete`."""
    key = fence_key(link)
    before = state.fences.get(key)
    old = None if before is None else _active(state, before.link)
    commands: tuple[Command, ...] = ()
    predecessor = 0 if old is None else old.id
    if old is not None and not old.registered:  # nobody is served by it: nothing to wait for
        predecessor = old.predecessor
        state, commands = _refuse(state, old, now, link.epoch)
    link = dataclasses.replace(link, predecessor=predecessor, register_by=now.at + REGISTER_DEADLINE_S)
    return state.with_link(link).with_fence(key, Fence(link.epoch, link.id, now.at)), commands


def complete(state: State, link: Link, now: Moment) -> Step:
    """`link` serves now: no new visitors for its predecessor, which ends with its streams."""
    old = _active(state, link.predecessor)
    state = state.with_link(dataclasses.replace(link, predecessor=0))
    if old is None:
        return state, ()
    key = fence_key(link)
    commands: list[Command] = []
    for earlier in [one for one in state.links.values() if one.phase is Phase.YIELDING and fence_key(one) == key]:
        state, more = _refuse(state, earlier, now, link.epoch)  # at most one waits for its streams
        commands += more
    leaving = {"phase": Phase.YIELDING, "deadline": now.at + YIELD_S, "wanted": (), "registered": (), "relay": None}
    old = dataclasses.replace(old, **leaving)  # type: ignore[arg-type]  # fields by name
    return state.with_link(old), (*commands, Bind(old.id, ()))


def lost(state: State, link: Link, now: Moment) -> State:
    """`link` is gone: its predecessor has the slot again, or nobody."""
    key = fence_key(link)
    fence = state.fences.get(key)
    if fence is None or fence.link != link.id:
        return state
    old = _active(state, link.predecessor)
    return state.with_fence(key, dataclasses.replace(fence, link=0 if old is None else old.id, since=now.at))


def tick(state: State, link: Link, busy: frozenset[int], now: Moment) -> Step | None:
    """What is due for this link; None: nothing. `busy`: links with open streams that are alive."""
    if link.phase is Phase.ACTIVE and link.predecessor and now.at >= link.register_by:
        return complete(state, link, now)
    if link.phase is Phase.YIELDING and link.deadline is not None:
        waited_s = now.at - (link.deadline - YIELD_S)
        if waited_s >= YIELD_S or (waited_s >= YIELD_LEAST_S and link.id not in busy):
            fence = state.fences.get(fence_key(link))
            return _refuse(state, link, now, link.epoch if fence is None else fence.epoch)
    return None


def any_yields(state: State) -> bool:
    """Whether `tick` wants to know which links are busy."""
    return any(link.phase is Phase.YIELDING for link in state.links.values())


def _active(state: State, link_id: int) -> Link | None:
    link = state.links.get(link_id)
    return link if link is not None and link.phase is Phase.ACTIVE else None


def _refuse(state: State, old: Link, now: Moment, epoch: int) -> Step:
    message = "A newer session of this agent took this one's place."
    return refusals.refuse(state, old, refusals.refused("SUPERSEDED", message, final=True, epoch=epoch), now)
