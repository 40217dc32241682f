"""What a decision found wrong: one frozen value that becomes a condition.

A policy is a function `(Input) -> Violation | None`; a chain runs all of them and collects every violation, since a
person who mends one mistake at a time is annoyed three times. Pure. Called by the policies beside it and by
translate.status.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hawse_api import names, v1alpha1

Input = TypeVar("Input")


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be, and what to do about it."""

    reason: names.Reason
    message: str


def collect(chain: Sequence[Callable[[Input], Violation | None]], given: Input) -> tuple[Violation, ...]:
    """Every violation of a chain, in its order."""
    return tuple(violation for policy in chain if (violation := policy(given)) is not None)


def to_judgement(
    condition: names.Condition, violations: Sequence[Violation], reason: names.Reason
) -> v1alpha1.Judgement:
    """True with `reason` if there is no violation, else False with the first reason and all messages."""
    if not violations:
        return v1alpha1.judge(condition, True, reason)
    return v1alpha1.judge(
        condition, False, violations[0].reason, " ".join(violation.message for violation in violations)
    )


def listed(found: Sequence[str], *, limit: int = 8) -> str:
    """Names for a message: sorted, bounded, `none` if there are none."""
    shown = sorted(found)[:limit]
    more = len(found) - len(shown)
    return (", ".join(shown) or "none") + (f" and {more} more" if more > 0 else "")
