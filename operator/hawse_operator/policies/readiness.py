"""Whether exit nodes serve what they were told, and whether an agent is there: judgements from acks and sessions.

Pure. Called by reconcile.tunnels and reconcile.exitnodes. `None` in place of a judgement means "not known yet": the
caller keeps what the status said before, so that a change of leader does not turn every Tunnel to Pending and back.
"""

from collections.abc import Collection, Sequence

from hawse_api import names, v1alpha1
from hawse_operator.policies.facts import AckState, Pod, PodAck
from hawse_operator.policies.violations import listed

Condition, Reason = names.Condition, names.Reason


def judge_programmed(
    acks: Sequence[PodAck], *, is_desired: bool, fleet: str, settling: bool, was_in_force: bool = False
) -> v1alpha1.Judgement | None:
    """Programmed of a Tunnel: in force on every ready pod of every region.

    `acks` has one entry for each ready pod of the fleet. `settling`: the leader is new and exit nodes may not be back
    yet. `was_in_force`: the status says Programmed of the same generation; exit nodes kept it meanwhile.
    """
    if not is_desired:
        return v1alpha1.judge(
            Condition.PROGRAMMED, False, Reason.PENDING, "Nothing is served before the other conditions hold."
        )
    refused = [ack for ack in acks if ack.state is AckState.REFUSED]
    if refused:
        first = refused[0]
        return v1alpha1.judge(
            Condition.PROGRAMMED,
            False,
            Reason.REFUSED_BY_EXIT_NODE,
            f"Exit node pod {first.pod} in {first.region} refuses it: {first.error}",
        )
    if settling and (not acks or any(ack.state is AckState.AWAY for ack in acks)):
        return None
    counted = [ack for ack in acks if ack.state is not AckState.AWAY]
    if not counted:
        return v1alpha1.judge(
            Condition.PROGRAMMED,
            False,
            Reason.NO_EXIT_NODE,
            f"Fleet {fleet} has no ready exit node that is connected to the operator: kubectl get exitnodes shows why.",
        )
    pending = {ack.region for ack in counted if ack.state is AckState.PENDING}
    if pending and settling and was_in_force:
        return None
    if pending:
        message = f"Waiting for exit nodes in {listed(tuple(pending))}."
        return v1alpha1.judge(Condition.PROGRAMMED, False, Reason.PENDING, message)
    return v1alpha1.judge(
        Condition.PROGRAMMED, True, Reason.PROGRAMMED, f"In force in {listed(tuple({ack.region for ack in counted}))}."
    )


def is_waiting(acks: Sequence[PodAck]) -> bool:
    """Whether a pod has not said anything about the newest form: it is not back yet, or its answer is on the way."""
    return any(ack.state in (AckState.PENDING, AckState.AWAY) for ack in acks)


def regions_of(acks: Sequence[PodAck]) -> tuple[v1alpha1.RegionStatus, ...]:
    """Where a Tunnel is served: ready when every pod of the region that is connected has it in force."""
    regions: dict[str, bool] = {}
    for ack in acks:
        if ack.state is not AckState.AWAY:
            regions[ack.region] = regions.get(ack.region, True) and ack.state is AckState.IN_FORCE
    return tuple(v1alpha1.RegionStatus(name=name, ready=ready) for name, ready in sorted(regions.items()))


def judge_target(
    exit_nodes: Collection[str], *, token: str, settling: bool, is_tcp: bool = False
) -> v1alpha1.Judgement | None:
    """TargetReady of a Tunnel: an agent serves it, through these exit nodes."""
    if exit_nodes:
        message = f"An agent is connected through {listed(tuple(exit_nodes))}."
        return v1alpha1.judge(Condition.TARGET_READY, True, Reason.AGENT_CONNECTED, message)
    if settling:
        return None
    return v1alpha1.judge(
        Condition.TARGET_READY,
        False,
        Reason.NO_AGENT,
        f'No agent is connected. On the laptop: hawse login with the token of AgentToken "{token}", '
        f"then hawse {'tcp' if is_tcp else 'http'} <port>.",
    )


def judge_dialled(target: v1alpha1.Target) -> v1alpha1.Judgement:
    """TargetReady of a Tunnel that leads to a URL or a Service: nobody has to connect."""
    where = target.url or (f"Service {target.service.name}" if target.service else "it")
    message = f"Exit nodes dial {where} for each visitor."
    return v1alpha1.judge(Condition.TARGET_READY, True, Reason.DIALLED, message)


def judge_ready(judgements: Sequence[v1alpha1.Judgement], summed: Sequence[str]) -> v1alpha1.Judgement:
    """Ready: all of the summed conditions; else the first that does not hold lends its reason and message."""
    by_type = {judgement.type: judgement for judgement in judgements}
    for type_ in summed:
        found = by_type.get(type_)
        if found is None or found.status is not v1alpha1.ConditionStatus.TRUE:
            reason = found.reason if found else Reason.PENDING
            return v1alpha1.judge(
                Condition.READY, False, reason, found.message if found else f"{type_} is not known yet."
            )
    return v1alpha1.judge(Condition.READY, True, Reason.READY)


def judge_exit_node(
    pods: Sequence[Pod], connected: Collection[str], *, wanted: int, settling: bool
) -> v1alpha1.Judgement | None:
    """Programmed of an ExitNode: as many pods as wanted are ready, and each has the whole configuration.

    `connected`: pods that hold a stream to the operator and have acknowledged their snapshot.
    """
    ready = [pod for pod in pods if pod.is_ready]
    if wanted == 0:
        return v1alpha1.judge(
            Condition.PROGRAMMED, False, Reason.UNAVAILABLE, "spec.replicas is 0: nothing is served here."
        )
    if len(ready) < wanted:
        reason = Reason.PARTLY_AVAILABLE if ready else Reason.UNAVAILABLE
        message = f"{len(ready)} of {wanted} pods are ready: kubectl get pods -l hawse.dev/exit-node shows them."
        return v1alpha1.judge(Condition.PROGRAMMED, False, reason, message)
    missing = sorted(pod.name for pod in ready if pod.name not in connected)
    if missing:
        if settling:
            return None
        message = f"Not connected to the operator: {listed(missing)}. They serve what they have; their logs say why."
        return v1alpha1.judge(Condition.PROGRAMMED, False, Reason.PENDING, message)
    return v1alpha1.judge(Condition.PROGRAMMED, True, Reason.AVAILABLE)
