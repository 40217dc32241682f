"""TargetReady of a Tunnel with a standby: which of its two targets is there. Pure. Called by reconcile.targets."""

from collections.abc import Collection

from hawse_api import names, v1alpha1
from hawse_operator.policies.violations import listed

Condition, Reason = names.Condition, names.Reason


def judge(
    target: v1alpha1.Judgement, standby: v1alpha1.Judgement, *, turned_at: Collection[str], why: str
) -> v1alpha1.Judgement:
    """Join the judgements of both. `turned_at`: exit nodes that lead to the standby now, and `why` one of them does."""
    target_is_there, standby_is_there = (one.status is v1alpha1.ConditionStatus.TRUE for one in (target, standby))
    if not target_is_there and not standby_is_there:
        message = f"{target.message} Nor is the standby there: {standby.message}"
        return v1alpha1.judge(Condition.TARGET_READY, False, target.reason, message)
    if not standby_is_there:
        return target  # exit nodes that have turned come back to it by themselves
    if turned_at:
        cause = why if target_is_there else target.message
        message = f"Visitors are led to the standby at {listed(tuple(turned_at))}: {cause}".rstrip(": ")
        return v1alpha1.judge(Condition.TARGET_READY, True, Reason.FAILED_OVER, message)
    if not target_is_there:
        message = f"The standby takes over: {target.message}"
        return v1alpha1.judge(Condition.TARGET_READY, True, Reason.FAILED_OVER, message)
    return target
