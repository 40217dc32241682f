"""Admission and sessions of agents as a table: `(State, Event) -> (State, commands)`. Pure.

Decides who is admitted, which tunnels a link may serve, which of two sessions of the same slot stays, and what an agent
is told. Reads no clock, sends nothing, knows no core: `dispatcher` feeds it and carries its commands out. Frames that
are none (not decodable, too large) never get here: the core closes such links itself.
"""

import dataclasses
import sys
from collections.abc import Mapping
from typing import assert_never

from hawse_api import names
from hawse_api.ir import control_pb2, core_pb2, frames_pb2
from hawse_exitnode import enrol_links, refusals, takeovers
from hawse_exitnode.directory import Directory
from hawse_exitnode.session_state import (
    FENCE_KEPT_S,
    HELLO_DEADLINE_S,
    RELAY_DEADLINE_S,
    Bind,
    Close,
    Command,
    ConfigurationAged,
    DirectoryChanged,
    Draining,
    DrainStarted,
    Event,
    FrameCame,
    Link,
    LinkClosed,
    LinkOpened,
    Moment,
    NodeNamed,
    OperatorChanged,
    Phase,
    Relay,
    RelayAnswered,
    RelayFailed,
    Send,
    State,
    Step,
    Tick,
)

MAX_SLOT = 64
MAX_VERSION = 64
MAX_HOSTNAME = 253
MAX_TUNNELS = 1000
MAX_EPOCH = 1 << 62
"""Unix milliseconds, and some: nobody may take the last one of 64 bits, which could never be fenced."""
_TRANSPORTS = {core_pb2.TRANSPORT_QUIC: "quic", core_pb2.TRANSPORT_TCP: "h2"}
_UNMEASURED = core_pb2.LinkStats()


def step(state: State, event: Event, now: Moment) -> Step:
    """What follows from an event. Events about links that are not in the table change nothing."""
    match event:
        case LinkOpened():
            return _opened(state, event, now)
        case FrameCame(link_id, frame):
            link = state.links.get(link_id)
            return (state, ()) if link is None else _frame(state, link, frame, now)
        case LinkClosed(link_id):
            return _closed(state, link_id, now)
        case DirectoryChanged(directory):
            return _directory(state, directory, now)
        case OperatorChanged(synced):
            return dataclasses.replace(state, synced=synced), ()
        case ConfigurationAged(too_old):
            return _aged(state, too_old, now)
        case RelayAnswered(reply):
            return _relay_answered(state, reply, now)
        case RelayFailed(relay):
            link = _link_of_relay(state, relay)
            return (state, ()) if link is None else _operator_away(state, link, now)
        case DrainStarted(deadline_ms, reason):
            return _drain(state, Draining(deadline_ms, reason))
        case NodeNamed(node):
            return dataclasses.replace(state, node=node), ()
        case Tick(busy):
            return _tick(state, busy, now)
        case _:
            assert_never(event)


def report(state: State, measured: Mapping[int, core_pb2.LinkStats]) -> control_pb2.SessionReport:
    """All sessions, for the operator, with what the core measured of their links."""
    return control_pb2.SessionReport(
        sessions=[
            control_pb2.Session(
                token_uid=link.identity.token_uid,
                agent_id=link.identity.agent_id,
                agent_version=link.agent_version,
                transport=_TRANSPORTS.get(stats.transport, "quic"),
                rtt_ms=stats.rtt_ms,
                connected_at=link.connected_at,
                tunnel_uids=link.registered,
                hostname=link.hostname,
            )
            for link in state.links.values()
            if link.phase is Phase.ACTIVE and link.identity is not None
            for stats in (measured.get(link.id, _UNMEASURED),)
        ]
    )


def serving(state: State) -> frozenset[str]:
    """Tunnels that agents serve here."""
    return frozenset[str]().union(*(link.registered for link in state.links.values() if link.phase is Phase.ACTIVE))


def active(state: State) -> int:
    """How many sessions there are."""
    return sum(link.phase is Phase.ACTIVE for link in state.links.values())


# --- links -----------------------------------------------------------------------------------------------------------
def _opened(state: State, event: LinkOpened, now: Moment) -> Step:
    if len(state.links) >= state.limits.links:
        overloaded = names.BY_NAME["OVERLOADED"]
        return state, (Close(event.link, overloaded.number, overloaded.code),)
    if event.alpn == names.ALPN_ENROL:
        return enrol_links.opened(state, event, now)
    link = Link(
        event.link,
        Phase.AWAIT_HELLO,
        event.remote,
        now.at + HELLO_DEADLINE_S,
        identity=event.identity,
        certificate=event.certificate,
        transport=event.transport,
    )
    if event.identity is None or event.identity.domain != state.node.domain:
        why = "The certificate is not one of an agent of this fleet. Log in with a token of this fleet."
        return refusals.refuse(state, link, refusals.refused("CERTIFICATE_REFUSED", why, final=True), now)
    return state.with_link(link), ()


def _frame(state: State, link: Link, frame: frames_pb2.Frame, now: Moment) -> Step:
    if link.phase in (Phase.CLOSING, Phase.YIELDING):
        return state, ()  # it was told why, or will be; what it still says does not matter
    limits = state.limits
    left = min(limits.frames_burst, link.budget + (now.at - link.budget_at) * limits.frames_per_s)
    if link.budget_at == 0.0:
        left = float(limits.frames_burst)
    if left < 1:
        return refusals.refuse(state, link, refusals.bad_frame("frames faster than it takes them"), now)
    link = dataclasses.replace(link, budget=left - 1, budget_at=now.at)
    state = state.with_link(link)
    if link.phase in enrol_links.ENROLLING:
        return enrol_links.frame(state, link, frame, now)
    match link.phase, frame.WhichOneof("frame"):
        case Phase.AWAIT_HELLO, "hello":
            return _hello(state, link, frame.hello, now)
        case Phase.ACTIVE, "register":
            return _register(state, link, frame.register, now)
        case Phase.ACTIVE, "renew":
            return _renew(state, link, frame.renew, now)
        case _, kind:
            return refusals.refuse(state, link, refusals.bad_frame(f"an unexpected frame ({kind})"), now)


def _closed(state: State, link_id: int, now: Moment) -> Step:
    link = state.links.get(link_id)
    if link is None:
        return state, ()
    return takeovers.lost(state.without_link(link_id), link, now), ()


# --- admission -------------------------------------------------------------------------------------------------------
def _hello(state: State, link: Link, hello: frames_pb2.Hello, now: Moment) -> Step:
    why = _barred(state, link, hello)
    if why is not None:
        return refusals.refuse(state, link, why, now)
    admitted = dataclasses.replace(
        link,
        phase=Phase.ACTIVE,
        deadline=None,
        slot=hello.slot,
        epoch=hello.epoch,
        agent_version=sys.intern(hello.agent_version),
        hostname=sys.intern(_printable(hello.hostname)),
        connected_at=int(now.unix),
    )
    state, superseded = takeovers.begin(state, admitted, now)
    node = state.node
    welcome = frames_pb2.Welcome(
        version=min(hello.max_version, names.PROTOCOL_MAX),
        node_version=node.version,
        exit_node=node.exit_node,
        region=node.region,
        pod=node.pod,
    )
    state, offered = _offer(state, state.links[link.id])
    commands: list[Command] = [*superseded, Send(link.id, frames_pb2.Frame(welcome=welcome)), *offered]
    return state, tuple(commands)


def _barred(state: State, link: Link, hello: frames_pb2.Hello) -> frames_pb2.Refused | None:
    """Why this agent is not admitted, in the order in which it helps the person most."""
    who = link.identity
    if min(hello.max_version, names.PROTOCOL_MAX) < max(hello.min_version, names.PROTOCOL_MIN):
        return refusals.version_mismatch(hello.min_version, hello.max_version)
    if not 1 <= len(hello.slot) <= MAX_SLOT or len(hello.agent_version) > MAX_VERSION or who is None:
        return refusals.bad_frame("a hello without a slot, or with a field that is too long")
    if hello.epoch > MAX_EPOCH:
        return refusals.bad_frame("an epoch after which there is none")
    if state.draining is not None:
        return refusals.draining(state.draining.reason)
    if state.too_old:
        return refusals.too_old(state.too_old)
    if who.token_uid not in state.directory.tokens:
        return refusals.no_token(state.directory, who, synced=state.synced)
    fence = state.fences.get((who.token_uid, who.agent_id, hello.slot))
    if fence is not None and (hello.epoch < fence.epoch or (hello.epoch == fence.epoch and fence.link)):
        message = "A newer session of this agent is known here."
        return refusals.refused("SUPERSEDED", message, final=False, epoch=fence.epoch)
    sessions = [other for other in state.links.values() if other.phase is Phase.ACTIVE]
    if fence is not None and any(other.id == fence.link for other in sessions):
        return None  # it takes a place that is counted already; one that is being closed is not
    if len(sessions) >= state.limits.sessions:
        return refusals.overloaded("as many sessions as it admits")
    same = sum(other.identity is not None and other.identity.token_uid == who.token_uid for other in sessions)
    if same >= state.limits.sessions_per_token:
        return refusals.overloaded(f"{same} sessions of this token")
    return None


def _register(state: State, link: Link, register: frames_pb2.Register, now: Moment) -> Step:
    wanted = tuple(dict.fromkeys(register.tunnel_uids))
    if len(wanted) > MAX_TUNNELS:
        return refusals.refuse(state, link, refusals.bad_frame(f"a register of {len(wanted)} tunnels"), now)
    known = {uid: uid for uid in (*link.withdrawn, *(tunnel.uid for tunnel in link.offered))}
    if not known.keys() >= set(wanted):
        message = "This token may not serve that tunnel: no Tunnel of that UID names it."
        return refusals.refuse(state, link, refusals.refused("NOT_ALLOWED", message, final=True), now)
    wanted = tuple(known[uid] for uid in wanted)  # the directory's own strings: thousands of links keep no copies
    state, bound = _bind(state, dataclasses.replace(link, wanted=wanted), always=True)
    state, taken = takeovers.complete(state, state.links[link.id], now)  # after: visitors find a link at any moment
    return state, (*bound, *taken)


def _bind(state: State, link: Link, *, always: bool) -> Step:
    """Bring what the link serves in line with what it wants and may."""
    serves = link.serves()
    if serves == link.registered and not always:
        return state.with_link(link), ()
    link = dataclasses.replace(link, registered=serves)
    frame = frames_pb2.Frame(registered=frames_pb2.Registered(tunnel_uids=serves))
    return state.with_link(link), (Bind(link.id, serves), Send(link.id, frame))


def _offer(state: State, link: Link) -> Step:
    """Say what the token may serve now; drop what it may not any more."""
    assert link.identity is not None  # noqa: S101 - ACTIVE links have one
    offered = state.directory.offer(link.identity.token_uid)[:MAX_TUNNELS]
    now = {tunnel.uid for tunnel in offered}
    if gone := [tunnel.uid for tunnel in link.offered if tunnel.uid not in now]:
        link = dataclasses.replace(link, withdrawn=link.withdrawn.union(gone))
    link = dataclasses.replace(link, offered=offered)
    places = state.directory.addresses
    offer = frames_pb2.Offer(
        tunnels=[tunnel.to_frame() for tunnel in offered],
        addresses=[address for address, _ in places],
        tcp_ports=[port for _, port in places],
    )
    state, bound = _bind(state, link, always=False)
    return state, (Send(link.id, frames_pb2.Frame(offer=offer)), *bound)


def _directory(state: State, directory: Directory, now: Moment) -> Step:
    """Tokens, tunnels or exit nodes came, changed or went: cut off, offer again, unbind."""
    has_moved = directory.addresses != state.directory.addresses
    state = dataclasses.replace(state, directory=directory)
    commands: list[Command] = []
    for link in list(state.links.values()):
        if link.phase not in (Phase.ACTIVE, Phase.YIELDING) or link.identity is None:
            continue
        token = link.identity.token_uid
        if token not in directory.tokens:
            why = refusals.no_token(directory, link.identity, synced=True)
            state, more = refusals.refuse(state, link, why, now)
        elif link.phase is Phase.ACTIVE and (has_moved or directory.offer(token)[:MAX_TUNNELS] != link.offered):
            state, more = _offer(state, link)
        else:
            continue
        commands += more
    return state, tuple(commands)


def _aged(state: State, too_old: str, now: Moment) -> Step:
    """Nobody may be served on a word that is too old: those that are here go."""
    state = dataclasses.replace(state, too_old=too_old)
    commands: list[Command] = []
    for link in list(state.links.values()) if too_old else []:
        if link.phase in (Phase.ACTIVE, Phase.YIELDING):
            state, more = refusals.refuse(state, link, refusals.too_old(too_old), now)
            commands += more
    return state, tuple(commands)


# --- renewal and relay -----------------------------------------------------------------------------------------------
def _renew(state: State, link: Link, request: frames_pb2.RenewRequest, now: Moment) -> Step:
    if link.relay is not None:
        return refusals.refuse(state, link, refusals.bad_frame("a second renewal before the first was answered"), now)
    if len(request.csr) > enrol_links.MAX_CSR or len(request.proof) > enrol_links.MAX_TEXT or link.identity is None:
        return refusals.refuse(state, link, refusals.bad_frame("a renewal with a field that is too long"), now)
    relay = control_pb2.RelayRequest(id=state.next_relay, agent_address=link.remote)
    relay.renew.request.CopyFrom(request)
    relay.renew.token_uid = link.identity.token_uid
    relay.renew.agent_id = link.identity.agent_id
    relay.renew.certificate = link.certificate
    link = dataclasses.replace(link, relay=state.next_relay, relay_deadline=now.at + RELAY_DEADLINE_S)
    return dataclasses.replace(state.with_link(link), next_relay=state.next_relay + 1), (Relay(relay),)


def _relay_answered(state: State, reply: control_pb2.RelayReply, now: Moment) -> Step:
    link = _link_of_relay(state, reply.id)
    if link is None:
        return state, ()  # the agent is gone, or was told that the operator is away
    match link.phase, reply.WhichOneof("reply"):
        case Phase.RELAYED, "enrol":
            return enrol_links.answered(state, link, reply.enrol, now)
        case Phase.ACTIVE, "renew":
            return _renewed(state, link, reply.renew)
        case _:
            return _operator_away(state, link, now)


def _operator_away(state: State, link: Link, now: Moment) -> Step:
    if link.phase is Phase.RELAYED:
        return enrol_links.away(state, link, now)
    return _renewed(state, link, frames_pb2.RenewResponse(refused=refusals.operator_away(static=state.static)))


def _renewed(state: State, link: Link, response: frames_pb2.RenewResponse) -> Step:
    state = state.with_link(dataclasses.replace(link, relay=None))
    return state, (Send(link.id, frames_pb2.Frame(renewed=response)),)


def _link_of_relay(state: State, relay: int) -> Link | None:
    return next((link for link in state.links.values() if link.relay == relay), None)


# --- time and drain --------------------------------------------------------------------------------------------------
def _drain(state: State, draining: Draining) -> Step:
    state = dataclasses.replace(state, draining=draining)
    frame = frames_pb2.Frame(drain=frames_pb2.Drain(deadline_ms=draining.deadline_ms, reason=draining.reason))
    return state, tuple(Send(link.id, frame) for link in state.links.values() if link.phase is Phase.ACTIVE)


def _tick(state: State, busy: frozenset[int], now: Moment) -> Step:
    commands: list[Command] = []
    for link_id in list(state.links):
        link = state.links[link_id]  # as the steps before left it
        if (taken := takeovers.tick(state, link, busy, now)) is not None:
            state, more = taken
        elif link.phase is Phase.YIELDING:
            continue
        elif link.relay is not None and now.at >= (link.deadline or link.relay_deadline):
            state, more = _operator_away(state, link, now)
        elif link.deadline is not None and now.at >= link.deadline:
            state, more = _expired(state, link, now)
        else:
            continue
        commands += more
    return _prune_fences(state, now), tuple(commands)


def _expired(state: State, link: Link, now: Moment) -> Step:
    if link.phase is Phase.CLOSING:
        return state.with_link(dataclasses.replace(link, deadline=None)), (Close(link.id, 0, "closed"),)
    return refusals.refuse(state, link, refusals.bad_frame("no hello in time"), now)


def _prune_fences(state: State, now: Moment) -> State:
    """Forget epochs of slots that are gone: after ten minutes, or when too many have gathered."""
    dead = [key for key, fence in state.fences.items() if not fence.link]
    old = {key for key in dead if now.at - state.fences[key].since >= FENCE_KEPT_S}
    old.update(dead[: max(0, len(dead) - state.limits.dead_fences)])
    if not old:
        return state
    return dataclasses.replace(state, fences={key: fence for key, fence in state.fences.items() if key not in old})


def _printable(text: str) -> str:
    return "".join(char for char in text[:MAX_HOSTNAME] if char.isprintable())
