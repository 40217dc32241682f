"""What a Tunnel's targets name: gathered, and handed to translation once it is known to be there; and which answers.

A Service is read by its name and polled like a Secret: the operator neither lists nor watches Services of tenants.
Called by reconcile.tunnels.
"""

from collections.abc import Sequence

from hawse_api import names, v1alpha1
from hawse_operator import errors
from hawse_operator.control.hub import TargetView
from hawse_operator.k8s import events
from hawse_operator.k8s.resources import SERVICES
from hawse_operator.policies import facts, readiness, standbys, targets, tunnels, violations
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import statuses
from hawse_operator.translate import targets as translate

Condition = names.Condition
SERVICE_POLL_S = 30.0
"""A Service whose ClusterIP or port has changed is followed within this time."""
MISSING_POLL_S = 5.0
"""One that is not there, or lacks the port, is most likely on its way."""


async def gather(context: Context, namespace: str, target: v1alpha1.Target) -> targets.Destination:
    """The target and the object that it names."""
    token = context.world.token(namespace, target.agent.token_ref.name) if target.agent else None
    service = await _read_service(context, namespace, target.service.name) if target.service else None
    return targets.Destination(target, token, service)


async def _read_service(context: Context, namespace: str, name: str) -> facts.Service | None:
    try:
        return facts.read_service(await context.client.get(SERVICES, namespace, name))
    except errors.NotFound:
        return None


def look_again_s(namespace: str, destinations: Sequence[targets.Destination]) -> float | None:
    """Seconds until they have to be gathered again without an event; None: events tell all."""
    services = [to for to in destinations if to.target.service is not None]
    if not services:
        return None
    are_there = all(targets.service_exists(namespace, to) is None for to in services)
    return SERVICE_POLL_S if are_there else MISSING_POLL_S


def translated(namespace: str, to: targets.Destination, *, is_tcp: bool = False) -> translate.Target | None:
    """The target for exit nodes; None: what it names is not there."""
    if to.target.url is not None:
        return translate.url_target(to.target.url)
    if to.target.service is not None:
        port = targets.port_of(to.service, to.target.service.port) if to.service else None
        if to.service is None or port is None or not to.service.cluster_ips:
            return None
        addresses = to.service.cluster_ips
        return translate.service_target(to.service.name, namespace, addresses=addresses, port=port, is_tcp=is_tcp)
    return translate.agent_target(to.token.uid) if to.token is not None else None


def for_exit_nodes(given: tunnels.TunnelInput) -> tuple[translate.Target, translate.Target | None] | None:
    """Target and standby as exit nodes are told of them; None: neither leads anywhere."""
    namespace, is_tcp, standby = given.tunnel.namespace, given.tunnel.spec.is_tcp, None
    primary = None if tunnels.violations_of_refs(given) else translated(namespace, given.primary, is_tcp=is_tcp)
    if given.standby is not None and not tunnels.violations_of_standby(given):
        standby = translated(namespace, given.standby, is_tcp=is_tcp)
    if primary is None:
        return None if standby is None else (translate.nobody(), standby)
    return primary, standby


def judge(context: Context, given: tunnels.TunnelInput) -> v1alpha1.Judgement:
    """TargetReady of a Tunnel."""
    tunnel = given.tunnel
    primary = _judge_one(context, given, given.primary, tunnel.uid, tunnels.violations_of_refs(given))
    judgement = primary
    if given.standby is not None and primary is not None:
        uid, wrong = translate.standby_uid(tunnel.uid), tunnels.violations_of_standby(given)
        standby = _judge_one(context, given, given.standby, uid, wrong)
        views = context.hub.standbys(tunnel.spec.fleet_name, tunnel.uid)
        judgement = standby and standbys.judge(
            primary, standby, turned_at={view.exit_node for view in views}, why=views[0].reason if views else ""
        )
    return statuses.kept_or_unknown(
        tunnel.status, Condition.TARGET_READY, judgement, reason=names.Reason.PENDING, message="Not known yet."
    )


def _judge_one(
    context: Context,
    given: tunnels.TunnelInput,
    to: targets.Destination,
    uid: str,
    wrong: Sequence[violations.Violation],
) -> v1alpha1.Judgement | None:
    """Whether one of its targets is there; None: agents may not be back yet."""
    if wrong:
        return violations.to_judgement(Condition.TARGET_READY, wrong, names.Reason.DIALLED)
    if to.target.agent is None:
        return readiness.judge_dialled(to.target)
    was_judged = given.tunnel.status.condition(Condition.TARGET_READY) is not None
    return readiness.judge_target(
        context.world.exit_nodes_serving(uid),
        token=to.target.agent.token_ref.name,
        settling=context.settling_s > 0 and was_judged,
        is_tcp=given.tunnel.spec.is_tcp,
    )


def active_target(
    context: Context, tunnel: v1alpha1.Tunnel, views: Sequence[TargetView]
) -> v1alpha1.ActiveTarget | None:
    """What answers; None: there is no standby. A new leader believes in the target once exit nodes had their time."""
    if tunnel.spec.standby is None:
        return None
    if views:
        return v1alpha1.ActiveTarget.STANDBY
    return (tunnel.status.active_target if context.settling_s else None) or v1alpha1.ActiveTarget.PRIMARY


def record_turn(
    context: Context, tunnel: v1alpha1.Tunnel, active: v1alpha1.ActiveTarget | None, views: Sequence[TargetView]
) -> None:
    """An event when the Tunnel has turned."""
    before = tunnel.status.active_target
    to_standby = active is v1alpha1.ActiveTarget.STANDBY
    if active is before or active is None or (before is None and not to_standby):
        return
    where = violations.listed(tuple({view.exit_node for view in views}))
    why = views[0].reason if views else ""
    text = f"The standby answers at {where}: {why}" if to_standby else "The target answers again."
    reason = names.Reason.FAILED_OVER if to_standby else names.Reason.FAILED_BACK
    note = events.Note(
        events.regarding(tunnel), is_warning=to_standby, reason=reason, action=Condition.TARGET_READY, text=text
    )
    context.recorder.record(note)
