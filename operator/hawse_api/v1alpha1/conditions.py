"""How conditions change: a new judgement goes in, the list with honest transition times comes out.

Pure. Called by the operator's translators. Writes nothing and compares nothing with the API server.
"""

from dataclasses import dataclass
from datetime import datetime

from hawse_api.v1alpha1.meta import Condition, ConditionStatus


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a reconcile found about one condition, without a time."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


def judge(type_: str, holds: bool | None, reason: str, message: str = "") -> Judgement:
    """Return a judgement; None means that it is not known yet."""
    status = {True: ConditionStatus.TRUE, False: ConditionStatus.FALSE, None: ConditionStatus.UNKNOWN}[holds]
    return Judgement(type_, status, reason, message)


def with_judgements(
    conditions: tuple[Condition, ...], judgements: tuple[Judgement, ...], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Return `conditions` brought up to date, in their old order, new types at the end.

    lastTransitionTime moves only when the status does. Types that nobody judged stay as they are.
    """
    merged = {condition.type: condition for condition in conditions}
    for judgement in judgements:
        merged[judgement.type] = _condition(merged.get(judgement.type), judgement, generation, now)
    return tuple(merged.values())


def _condition(old: Condition | None, new: Judgement, generation: int, now: datetime) -> Condition:
    unchanged = old is not None and old.status is new.status
    return Condition(
        type=new.type,
        status=new.status,
        observed_generation=generation,
        last_transition_time=old.last_transition_time if old and unchanged else now,
        reason=new.reason,
        message=new.message,
    )
