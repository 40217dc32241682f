"""Judgements → the status to write, or None if nothing changes.

A status is written only when it differs from what the API server has, and lastTransitionTime moves only with a
condition's status: a second reconcile writes nothing. Pure. Called by all reconcilers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from hawse_api import v1alpha1

Status = TypeVar("Status", bound=v1alpha1.ResourceStatus)


@dataclass(frozen=True, slots=True)
class Transition:
    """A condition whose status or reason changed: worth a Kubernetes event."""

    type: str
    status: v1alpha1.ConditionStatus
    reason: str
    message: str


def build_status(
    old: Status,
    judgements: Sequence[v1alpha1.Judgement],
    fields: Mapping[str, object],
    *,
    generation: int,
    now: datetime,
) -> Status:
    """The new status: `fields` by their Python names over the old, and the judgements among the conditions."""
    conditions = v1alpha1.with_judgements(old.conditions, tuple(judgements), generation=generation, now=now)
    update = dict(fields) | {"conditions": conditions, "observed_generation": generation}
    return old.model_copy(update=update)


def to_write(old: Status, new: Status) -> dict[str, Any] | None:
    """The JSON to apply, or None if the API server has it already. Times count in whole seconds, as it stores them."""
    wanted = new.dump()
    return None if wanted == old.dump() else wanted


def transitions(old: v1alpha1.ResourceStatus, new: v1alpha1.ResourceStatus) -> tuple[Transition, ...]:
    """Conditions that changed their status or their reason."""
    return tuple(
        Transition(item.type, item.status, item.reason, item.message)
        for item in new.conditions
        if (before := old.condition(item.type)) is None or (before.status, before.reason) != (item.status, item.reason)
    )


def kept_or_unknown(
    old: v1alpha1.ResourceStatus, type_: str, judgement: v1alpha1.Judgement | None, *, reason: str, message: str
) -> v1alpha1.Judgement:
    """The judgement; while it is not known yet, what the status said before, else Unknown."""
    if judgement is not None:
        return judgement
    before = old.condition(type_)
    if before is None:
        return v1alpha1.judge(type_, None, reason, message)
    return v1alpha1.Judgement(type_, before.status, before.reason, before.message)
