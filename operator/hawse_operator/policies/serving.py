"""What exit nodes are told about a Tunnel: serve it, close it, keep what they have, or nothing at all.

Design 0002, 10: a bad edit keeps the last good form, except when access, owner or token changed; then visitors get a
503 with a code. Nothing is ever served under a name that the Tunnel does not hold. Pure. Called by reconcile.tunnels.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any

from hawse_operator.policies.violations import Violation


class Serving(Enum):
    """What exit nodes are told."""

    ABSENT = auto()
    """The name answers 404: the Tunnel does not hold it."""
    OPEN = auto()
    CLOSED = auto()
    """The name answers 503 HAWSE-1008."""
    SUSPENDED = auto()
    """Closed because its owner wants it so."""


def decide_serving(
    *, holds_name: bool, is_suspended: bool, not_accepted: Sequence[Violation], not_resolved: Sequence[Violation]
) -> Serving:
    """What a valid Tunnel comes to. Whatever is wrong concerns access, owner or token: it closes the Tunnel.

    `not_resolved`: what no standby makes good.
    """
    if not holds_name:
        return Serving.ABSENT
    if not_accepted or not_resolved:
        return Serving.CLOSED
    return Serving.SUSPENDED if is_suspended else Serving.OPEN


Named = tuple[str, ...]
"""What a spec leads to, as far as it can be read: the port that was asked for, of each target its type and the
AgentToken, and who may come in."""


def named(spec: Mapping[str, Any]) -> Named:
    """What a spec leads to; reads also one that is not valid."""
    found = [str(spec.get("port"))]
    for target in (_at(spec, "target"), _at(_at(spec, "standby"), "target")):
        found += [str(target.get("type")), str(_at(_at(target, "agent"), "tokenRef").get("name"))]
    access = spec.get("access")  # also what is no policy: whoever wrote it meant to keep people out
    policy = _at(_at(spec, "access"), "policyRef")
    found += [str(access is not None), str(policy.get("namespace")), str(policy.get("name"))]
    return tuple(found)


def keeps_last_good(last: Named | None, now: Named) -> bool:
    """Whether a Tunnel whose spec cannot be read keeps its last good form.

    It does if it still names the same AgentTokens, AccessPolicy and port. Host and Fleet are immutable; the namespace
    cannot change. `last` None: there is no last good form.
    """
    return last is not None and last == now


def _at(value: Any, field: str) -> Mapping[str, Any]:
    found = value.get(field) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
