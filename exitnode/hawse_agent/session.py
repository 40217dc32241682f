"""Sessions of one agent with all its exit nodes, as a table: (State, event, Moment) -> (State, commands). Pure.

One node each:

    WAITING --retry_at--> DIALLING --Dialled--> GREETING --Welcomed--> UP --Draining--> DRAINING
       ^                      |                    |                   |                  |
       +----------------------+--------------------+-------------------+------------------+   (full-jitter back-off)

The agent as a whole: no session within `patience_s` of the start ends it (exit 4); once it had one it tries for ever.
A final refusal that concerns the login ends it; one that concerns a single node only sets that node aside. Whom to
serve is choice.py's and serving.py's; certificates are renewal.py's; runner.py feeds events and executes commands.
"""

import dataclasses
from collections.abc import Iterable

from hawse_agent import backoff, endings, notices, serving, upgrades
from hawse_agent.choice import Wanted
from hawse_agent.credentials import MAX_ADDRESSES
from hawse_agent.endings import Failure
from hawse_agent.moves import (
    AddressesChanged,
    Close,
    Command,
    Dial,
    Dialled,
    DrainStarted,
    Event,
    Finish,
    Greet,
    LearnAddresses,
    LinkLost,
    Moment,
    NotDialled,
    OfferChanged,
    RefusedByNode,
    RegistrationChanged,
    RememberAddresses,
    Serve,
    Tell,
    Tick,
    Welcomed,
)
from hawse_agent.racing import Transport
from hawse_agent.session_state import LINKED, LIVE, Node, Phase, State, Step
from hawse_api import names

GREETING_S = 10.0
"""From the link until Welcome."""
STEADY_S = 10.0
"""A session that lived this long starts its back-off from the beginning."""
ASIDE_S = 60.0
"""A node that refused for good is asked again after this: somebody may have updated it."""
RETURN_S = 60.0
"""A node that stopped in order comes back, most often within this time: it is not waited for with long pauses ..."""
RETURN_ATTEMPTS = 1
"""... but with those of so many failures, at most 1 s: visitors wait for us there (the core's AGENTS_RETURN)."""
EPOCH_AHEAD_MS = 10 * 365 * 86_400_000
"""Ten years: an exit node could else name the last number of 64 bits, after which this login had no session."""
_DRAIN_MARGIN_S = 2.0
_SUPERSEDED = names.BY_NAME["SUPERSEDED"].code
_SLOT_MOST = 64


def begin(
    wanted: Wanted, addresses: Iterable[str], now: Moment, *, slot: str, token: str, epoch: int, patience_s: float
) -> State:
    """Before the first Tick; every node is due at once."""
    nodes = tuple(Node(address, retry_at=now.at) for address in dict.fromkeys(addresses))
    return State(wanted, slot, token, patience_s, epoch, nodes, started_at=now.at)


def step(state: State, event: Event, now: Moment) -> tuple[State, list[Command]]:
    """The next state and what to do. Events of links that are gone change nothing."""
    at = Step(state, now)
    match event:
        case Tick():
            pass
        case Dialled(upgrade=True):
            _on_upgrade_dialled(at, event)
        case NotDialled(address, upgrade=True):
            if (node := _node_at(state, address)) is not None and node.upgrade is not None:
                _end_upgrade(at, node)
        case Dialled():
            _on_dialled(at, event)
        case NotDialled(address, failure):
            _on_not_dialled(at, address, failure)
        case AddressesChanged(addresses):
            _on_addresses(at, addresses)
        case _:
            if (node := _node_of(state, event.link)) is not None:
                _on_link_event(at, node, event)
            elif (node := _upgrading(state, event.link)) is not None:
                _on_upgrade_event(at, node, event)
    _on_time(at)
    return at.state, at.commands


def next_wake(state: State) -> float | None:
    """When the next Tick is due, on the monotonic clock."""
    times = [node.retry_at for node in state.nodes if node.phase is Phase.WAITING]
    times += [node.deadline for node in state.nodes if node.phase in (Phase.GREETING, Phase.DRAINING)]
    times += [node.upgrade_at for node in state.nodes if _may_upgrade(node)]
    times += [node.upgrade.deadline for node in state.nodes if node.upgrade is not None and node.upgrade.link]
    if not state.connected:
        times.append(state.started_at + state.patience_s)
    return min(times, default=None)


def live_links(state: State) -> tuple[int, ...]:
    """Links of sessions, those that stay first."""
    return tuple(node.link for phase in LIVE for node in state.nodes if node.phase is phase)


# --- transitions -----------------------------------------------------------------------------------------------------
def _on_dialled(at: Step, event: Dialled) -> None:
    address, link = event.address, event.link
    node = _node_at(at.state, address)
    if node is None or node.phase is not Phase.DIALLING:
        at.do(Close(link, "", "not needed any more"))
        return
    epoch = _next_epoch(at)
    at.put(node, phase=Phase.GREETING, link=link, deadline=at.now.at + GREETING_S, transport=event.transport)
    at.do(Greet(link, _slot(address, at.state.slot), epoch))


def _on_not_dialled(at: Step, address: str, failure: Failure) -> None:
    node = _node_at(at.state, address)
    if node is None or node.phase is not Phase.DIALLING:
        return
    retry_s = _retry(at, node, failure)
    if at.state.connected:
        at.do(LearnAddresses())  # the exit node may have moved; renewal.py keeps this rare
        if node.attempts == 0:
            at.do(Tell(notices.DialFailed(address, failure.why, failure.code, retry_s)))


def _on_link_event(at: Step, node: Node, event: Event) -> None:
    match event:
        case Welcomed(_, exit_node, region, version) if node.phase is Phase.GREETING:
            at.change(connected=True)
            named = {"exit_node": exit_node, "region": region, "node_version": version}
            upgrade_at = at.now.at + upgrades.pause_s(node.upgrades_failed, at.now.luck)
            since = at.now.at
            at.put(node, phase=Phase.UP, since=since, failure=None, offered=None, upgrade_at=upgrade_at, **named)
            at.do(Tell(notices.Connected(exit_node, region, node.address, version, node.transport.value)))
        case OfferChanged(_, offered, addresses, tcp_ports):
            at.put(node, offered=offered)
            serving.serve(at)
            _meet(at, addresses, tcp_ports)
        case RegistrationChanged(_, uids):
            at.put(node, registered=uids)
            serving.tell_served(at)
        case DrainStarted(_, deadline_s, reason) if node.phase is Phase.UP:
            deadline = at.now.at + deadline_s + _DRAIN_MARGIN_S
            at.put(node, phase=Phase.DRAINING, deadline=deadline, returns_by=deadline + RETURN_S)
            _end_upgrade(at, _node_at(at.state, node.address) or node)
            at.do(Tell(notices.Draining(node.exit_node, reason, deadline_s)), LearnAddresses())
        case RefusedByNode(link, failure, epoch):
            failure = _unless_ours(at.state, failure, epoch)
            _learn_epoch(at, epoch)
            if node.upgrade is not None and node.upgrade.link and epoch == node.upgrade.epoch:
                _promote(at, node, node.upgrade)
            else:
                _end_session(at, node, failure)
            at.do(Close(link, "", "refused"))
        case LinkLost() if node.upgrade is not None and node.upgrade.link:
            _promote(at, node, node.upgrade)
        case LinkLost(_, failure):
            _end_session(at, node, failure)
        case _:
            pass  # a second Welcome or Drain: harmless


def _on_addresses(at: Step, addresses: tuple[str, ...]) -> None:
    kept = []
    for node in at.state.nodes:
        leaving = node.address not in addresses
        if not leaving or node.phase is not Phase.WAITING:
            kept.append(dataclasses.replace(node, leaving=leaving))
    known = {node.address for node in kept}
    new = [Node(address, retry_at=at.now.at) for address in dict.fromkeys(addresses) if address not in known]
    at.change(nodes=(*kept, *new))


def _meet(at: Step, addresses: tuple[str, ...], tcp_ports: tuple[int, ...]) -> None:
    """Exit nodes that were not known are dialled. Nobody is left for it: this node's list may be old."""
    known = {node.address for node in at.state.nodes}
    room = max(0, MAX_ADDRESSES - len(known))
    ports = {address: port for address, port in zip(addresses, tcp_ports, strict=True) if address not in known}
    if new := tuple(ports)[:room]:
        at.change(nodes=(*at.state.nodes, *(Node(address, retry_at=at.now.at) for address in new)))
        at.do(RememberAddresses(new, tuple(ports[address] for address in new)))


def _on_time(at: Step) -> None:
    for node in at.state.nodes:
        match node.phase:
            case Phase.WAITING if at.now.at >= node.retry_at:
                at.put(node, phase=Phase.DIALLING)
                at.do(Dial(node.address))
            case Phase.GREETING if at.now.at >= node.deadline:
                at.do(Close(node.link, "", "no Welcome"))
                _end_session(at, node, Failure(f"it connected and said nothing for {GREETING_S:g} s"))
            case Phase.DRAINING if at.now.at >= node.deadline:
                at.do(Close(node.link, "", "drained"))
                _end_session(at, node, Failure("it has stopped"))
            case Phase.UP if _may_upgrade(node) and at.now.at >= node.upgrade_at:
                at.put(node, upgrade=upgrades.Upgrade())
                at.do(Dial(node.address, upgrade=True))
            case Phase.UP if node.upgrade is not None and node.upgrade.link and at.now.at >= node.upgrade.deadline:
                _end_upgrade(at, node)
            case _:
                pass
    failures = {node.address: node.failure for node in at.state.nodes}
    patience = at.state.started_at + at.state.patience_s - at.now.at
    if ending := endings.decide(failures, connected=at.state.connected, patience_left_s=patience):
        at.do(Finish(ending))


def _end_session(at: Step, node: Node, failure: Failure) -> None:
    """Back to WAITING; tells it if there was a session, and ends the agent if the reason concerns the login."""
    was_live = node.phase in LIVE
    if was_live and at.now.at - node.since >= STEADY_S:
        node = at.put(node, attempts=0)
    retry_s = _retry(at, node, failure)
    if endings.concerns_login(failure):
        return  # decide() ends the agent in this step
    if was_live:
        others = len(live_links(at.state))
        at.do(Tell(notices.Lost(node.exit_node or node.address, failure.why, failure.code, retry_s, others)))
        serving.tell_served(at)


# --- from TCP to QUIC (upgrades.py) ----------------------------------------------------------------------------------
def _may_upgrade(node: Node) -> bool:
    return node.phase is Phase.UP and node.transport is Transport.TCP and node.upgrade is None and not node.leaving


def _on_upgrade_dialled(at: Step, event: Dialled) -> None:
    node = _node_at(at.state, event.address)
    if node is None or node.upgrade is None or node.upgrade.link:
        at.do(Close(event.link, "", "not needed any more"))
        return
    epoch, deadline = _next_epoch(at), at.now.at + upgrades.GREETING_S
    at.put(node, upgrade=upgrades.Upgrade(event.link, epoch, deadline))
    at.do(Greet(event.link, _slot(node.address, at.state.slot), epoch))


def _on_upgrade_event(at: Step, node: Node, event: Event) -> None:
    trial = node.upgrade
    assert trial is not None  # noqa: S101 - by _upgrading
    match event:
        case Welcomed():
            at.put(node, upgrade=dataclasses.replace(trial, welcomed=True))
        case OfferChanged(link, offered):
            at.put(node, upgrade=dataclasses.replace(trial, offered=offered))
            at.do(Serve(link, serving.routes_of(at.state, offered)))
        case RegistrationChanged(_, uids):
            _promote(at, node, trial, registered=uids)
            at.do(Tell(notices.Moved(node.exit_node)))
        case RefusedByNode(_, failure, epoch):
            failure = _unless_ours(at.state, failure, epoch)
            _learn_epoch(at, epoch)
            _end_upgrade(at, node)
            if endings.concerns_login(failure):
                _end_session(at, _node_at(at.state, node.address) or node, failure)
        case LinkLost():
            _end_upgrade(at, node)
        case _:
            pass


def _promote(at: Step, node: Node, trial: upgrades.Upgrade, *, registered: frozenset[str] = frozenset()) -> None:
    """The trial's link is the session's now. What the old one still says is not heard; its streams may end."""
    phase = Phase.UP if trial.welcomed else Phase.GREETING
    session = {"phase": phase, "link": trial.link, "transport": Transport.QUIC, "deadline": trial.deadline}
    asked = tuple(route.tunnel.uid for route in serving.routes_of(at.state, trial.offered or ()))
    served = {"offered": trial.offered, "asked": asked, "registered": registered}
    at.put(node, upgrade=None, upgrades_failed=0, **session, **served)
    serving.serve(at)


def _end_upgrade(at: Step, node: Node) -> Node:
    """It did not succeed: the session stays where it is, and the next pause is longer."""
    if node.upgrade is None:
        return node
    if node.upgrade.link:
        at.do(Close(node.upgrade.link, "", "the move to QUIC did not succeed"))
    failed = node.upgrades_failed + 1
    return at.put(
        node, upgrade=None, upgrades_failed=failed, upgrade_at=at.now.at + upgrades.pause_s(failed, at.now.luck)
    )


def _upgrading(state: State, link: int) -> Node | None:
    return next((node for node in state.nodes if node.upgrade is not None and node.upgrade.link == link), None)


def _learn_epoch(at: Step, epoch: int) -> None:
    """The clock went back: propose a higher one next time. One that no clock can have had is not believed."""
    if epoch <= at.now.unix_ms + EPOCH_AHEAD_MS:
        at.change(epoch=max(at.state.epoch, epoch))


def _unless_ours(state: State, failure: Failure, epoch: int) -> Failure:
    """A session that was superseded by an epoch which we have proposed ourselves: another node wanted it that high.

    Only who is superseded by an epoch above all its own ends: of two agents with one login that start at the same
    moment each may be first at one of two exit nodes, and would otherwise be ended by the other at the second one.
    """
    ours = failure.code == _SUPERSEDED and 0 < epoch <= state.epoch
    return dataclasses.replace(failure, final=False) if ours else failure


def _next_epoch(at: Step) -> int:
    epoch = max(at.state.epoch + 1, at.now.unix_ms)
    at.change(epoch=epoch)
    return epoch


def _retry(at: Step, node: Node, failure: Failure) -> float:
    node = _end_upgrade(at, node)
    if node.leaving:
        at.change(nodes=tuple(one for one in at.state.nodes if one.address != node.address))
        return 0.0
    attempts = min(node.attempts, RETURN_ATTEMPTS) if at.now.at < node.returns_by else node.attempts
    attempts = 0 if failure.back else attempts
    retry_s = ASIDE_S if failure.final else backoff.delay_s(attempts, at.now.luck)
    at.put(
        node,
        phase=Phase.WAITING,
        retry_at=at.now.at + retry_s,
        attempts=attempts + 1,
        link=0,
        failure=failure,
        offered=None,
        asked=(),
        registered=frozenset(),
    )
    return retry_s


def _slot(address: str, suffix: str) -> str:
    """At most 64 characters (hawse_exitnode.sessions.MAX_SLOT): the end of a long host name says most."""
    return f"{address}/{suffix}"[-_SLOT_MOST:] if suffix else address[-_SLOT_MOST:]


def _node_of(state: State, link: int) -> Node | None:
    return next((node for node in state.nodes if node.link == link and node.phase in LINKED), None)


def _node_at(state: State, address: str) -> Node | None:
    return next((node for node in state.nodes if node.address == address), None)
