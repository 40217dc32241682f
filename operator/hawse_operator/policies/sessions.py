"""When an AgentSession object is written: coarsely, so that round trips and reconnects do not become writes to etcd.

Pure. Called by reconcile.agent_sessions with what the exit nodes report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hawse_api import names, v1alpha1

KEPT_FOR = timedelta(minutes=5)
"""How long the object of an agent that is gone stays."""
RTT_EVERY = timedelta(seconds=60)
RTT_CHANGE = 0.25
"""A round trip is written again after a minute if it differs by more than this share."""


@dataclass(frozen=True, slots=True)
class Live:
    """An agent as the exit nodes report it now; without connections: it is gone."""

    hostname: str
    version: str
    connections: tuple[v1alpha1.Connection, ...]
    tunnels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """Write this status."""

    status: v1alpha1.AgentSessionStatus


@dataclass(frozen=True, slots=True)
class Delete:
    """The agent is gone for long enough."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing to write; look again after `again_in`, if set."""

    again_in: timedelta | None = None


def decide_session(
    status: v1alpha1.AgentSessionStatus | None, live: Live | None, *, settling: bool, now: datetime
) -> Write | Delete | Keep:
    """What happens to the object.

    `status` None: there is no object yet. `settling`: exit nodes may not have reported yet.
    """
    if live is None or not live.connections:
        return _of_gone(status, settling=settling, now=now)
    wanted = v1alpha1.AgentSessionStatus(
        observed_generation=status.observed_generation if status else None,
        conditions=status.conditions if status else (),
        hostname=live.hostname[:253] or None,
        version=live.version[:64] or None,
        exit_nodes=live.connections,
        tunnels=live.tunnels,
        renew_time=now,
    )
    if status is None or _without_rtt(status) != _without_rtt(wanted):
        return Write(wanted)
    if not _rtt_differs(status.exit_nodes, wanted.exit_nodes):
        return Keep()
    age = now - status.renew_time if status.renew_time else RTT_EVERY
    return Write(wanted) if age >= RTT_EVERY else Keep(RTT_EVERY - age)


def _of_gone(status: v1alpha1.AgentSessionStatus | None, *, settling: bool, now: datetime) -> Write | Delete | Keep:
    if status is None or settling:
        return Keep()
    if status.exit_nodes or status.renew_time is None:
        return Write(status.model_copy(update={"exit_nodes": (), "tunnels": (), "renew_time": now}))
    age = now - status.renew_time
    return Delete() if age >= KEPT_FOR else Keep(KEPT_FOR - age)


def judge_session(status: v1alpha1.AgentSessionStatus) -> v1alpha1.Judgement:
    """Ready: the agent is connected somewhere."""
    if status.exit_nodes:
        return v1alpha1.judge(names.Condition.READY, True, names.Reason.AGENT_CONNECTED)
    message = "The agent is not connected; this object is removed five minutes after it left."
    return v1alpha1.judge(names.Condition.READY, False, names.Reason.NO_AGENT, message)


def _without_rtt(status: v1alpha1.AgentSessionStatus) -> tuple[object, ...]:
    nodes = {(node.name, node.region, node.pod, node.transport, node.since) for node in status.exit_nodes}
    return status.hostname, status.version, nodes, set(status.tunnels)


def _rtt_differs(old: Sequence[v1alpha1.Connection], new: Sequence[v1alpha1.Connection]) -> bool:
    before = {(node.name, node.pod): node.rtt_milliseconds or 0 for node in old}
    return any(
        abs((node.rtt_milliseconds or 0) - before.get((node.name, node.pod), 0))
        > RTT_CHANGE * max(before.get((node.name, node.pod), 0), 4)
        for node in new
    )
