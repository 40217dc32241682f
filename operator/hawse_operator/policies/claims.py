"""Who gets a name: the rules of SubdomainReservations.

The reservation decides, never the age of a Tunnel. A released name is a tombstone: only the same namespace (same UID)
takes it back before it expires; a name of somebody's own domain also who proved it since. A new holder gets a higher
holderGeneration, hence new cookie keys. One namespace may have so many names and no more. Pure; the atomic
part (create, or update at a resourceVersion) is done by reconcile.tunnels, which decides again after every 409.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hawse_api import names, v1alpha1
from hawse_operator.policies.hosts import Named
from hawse_operator.policies.violations import Violation


@dataclass(frozen=True, slots=True)
class Claimant:
    """A Tunnel that wants a name."""

    namespace: str
    namespace_uid: str
    name: str
    uid: str
    reclaim_policy: v1alpha1.ReclaimPolicy
    verification: v1alpha1.Verification | None = None
    """Of a name outside the Fleets' domains: its proof."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many names a namespace has, the claimed one not counted, and how many it may have."""

    held: int
    kept: int
    """Held, and released ones that are kept for it."""
    quotas: v1alpha1.Quotas


UNLIMITED = Allowance(0, 0, v1alpha1.Quotas())
"""For a claim that takes nothing new."""


@dataclass(frozen=True, slots=True)
class Held:
    """The claimant holds the name and the reservation says so."""

    generation: int


@dataclass(frozen=True, slots=True)
class Create:
    """Nobody ever held the name, or nobody does any more: create the reservation."""

    spec: v1alpha1.SubdomainReservationSpec


@dataclass(frozen=True, slots=True)
class Take:
    """Write this over the reservation as it was read."""

    spec: v1alpha1.SubdomainReservationSpec


@dataclass(frozen=True, slots=True)
class Refused:
    """The claimant does not get the name now."""

    violation: Violation


Claim = Held | Create | Take | Refused


def decide_claim(
    claimant: Claimant,
    reservation: v1alpha1.SubdomainReservation | None,
    *,
    now: datetime,
    allowance: Allowance = UNLIMITED,
) -> Claim:
    """What a claim on a name comes to."""
    claim = _decide(claimant, reservation, now)
    takes_more = isinstance(claim, Create | Take) and holds(claimant, reservation) is None
    if takes_more and (exceeded := _exceeded(claimant, allowance)) is not None:
        return Refused(exceeded)
    return claim


def _decide(claimant: Claimant, reservation: v1alpha1.SubdomainReservation | None, now: datetime) -> Claim:
    if reservation is None:
        return Create(_spec(claimant, 1, now))
    spec = reservation.spec
    same_holder = spec.claim_ref.namespace_uid == claimant.namespace_uid
    if not spec.is_released:
        if same_holder and spec.claim_ref.name == claimant.name:
            return _held(claimant, spec, now)
        if spec.claim_ref.namespace == claimant.namespace and not same_holder:
            return _of_earlier_namespace(claimant, reservation, now)
        return Refused(_taken(reservation))
    if same_holder:
        return Take(_spec(claimant, spec.holder_generation, now))
    if spec.expires_at is not None and spec.expires_at <= now:
        return Take(_spec(claimant, spec.holder_generation + 1, now))
    if claimant.verification is not None:
        return Take(_spec(claimant, spec.holder_generation + 1, now))  # whose domain it is now was proved
    if spec.claim_ref.namespace == claimant.namespace:
        return _of_earlier_namespace(claimant, reservation, now)
    return Refused(_tombstone(reservation))


def _exceeded(claimant: Claimant, allowance: Allowance) -> Violation | None:
    quotas = allowance.quotas
    if allowance.held >= quotas.tunnels_per_namespace:
        return Violation(
            names.Reason.QUOTA_EXCEEDED,
            f"Namespace {claimant.namespace} holds {allowance.held} names, and quotas.tunnelsPerNamespace of the Fleet "
            f"is {quotas.tunnels_per_namespace}. Delete a Tunnel, or ask the platform team for more.",
        )
    if allowance.kept >= quotas.reservations_per_namespace:
        return Violation(
            names.Reason.QUOTA_EXCEEDED,
            f"Namespace {claimant.namespace} has {allowance.kept} names, with those that were released and are kept "
            f"for it, and quotas.reservationsPerNamespace of the Fleet is {quotas.reservations_per_namespace}. Take "
            "one of them back, or ask the platform team to delete some: kubectl get subdomainreservations.",
        )
    return None


def holds(claimant: Claimant, reservation: v1alpha1.SubdomainReservation | None) -> Held | None:
    """What the claimant has without claiming anew: a Tunnel that is no longer accepted keeps its name."""
    if reservation is None or not is_claim_of(reservation, claimant.namespace_uid, claimant.name):
        return None
    return Held(reservation.spec.holder_generation)


def is_claim_of(reservation: v1alpha1.SubdomainReservation, namespace_uid: str, tunnel: str) -> bool:
    """Whether a Tunnel of a namespace holds this name now."""
    claim = reservation.spec.claim_ref
    return not reservation.spec.is_released and (claim.namespace_uid, claim.name) == (namespace_uid, tunnel)


def decide_release(
    reservation: v1alpha1.SubdomainReservation, *, holder_exists: bool, tombstone_for: timedelta, now: datetime
) -> v1alpha1.SubdomainReservationSpec | None:
    """The spec of a reservation whose holder has gone; None: there is nothing to release.

    A Delete policy expires at once, so that one rule removes both: `is_expired`.
    """
    spec = reservation.spec
    if spec.is_released or holder_exists:
        return None
    kept = timedelta(0) if spec.reclaim_policy is v1alpha1.ReclaimPolicy.DELETE else tombstone_for
    return spec.model_copy(update={"released_at": now, "expires_at": now + kept})


def is_expired(reservation: v1alpha1.SubdomainReservation, *, now: datetime) -> bool:
    """Whether a tombstone has done its time and is deleted."""
    spec = reservation.spec
    return spec.is_released and spec.expires_at is not None and spec.expires_at <= now


def is_holder(
    reservation: v1alpha1.SubdomainReservation, *, namespace_uid: str | None, named: Named | None, domain: str | None
) -> bool:
    """Whether the Tunnel that claimRef names still is the one that holds the name.

    `namespace_uid` None: there is no such namespace. `named` None: there is no such Tunnel. `domain` is that of
    the Tunnel's Fleet; None (the Fleet is gone) does not release a name: the Fleet may come back.
    """
    if named is None or namespace_uid != reservation.spec.claim_ref.namespace_uid:
        return False
    return named.may_hold(reservation.name, domain)


def is_for_want_of_room(claim: Claim | None) -> bool:
    """Whether a claim was refused for the number of names or ports alone: there may be room soon."""
    full = (names.Reason.QUOTA_EXCEEDED, names.Reason.NO_PORT_LEFT)
    return isinstance(claim, Refused) and claim.violation.reason in full


def judge_reserved(claim: Claim | None) -> v1alpha1.Judgement:
    """Reserved of a Tunnel. None: the claim was not made, because the Tunnel is not accepted."""
    match claim:
        case Held():
            return v1alpha1.judge(names.Condition.RESERVED, True, names.Reason.RESERVED)
        case Refused(violation):
            return v1alpha1.judge(names.Condition.RESERVED, False, violation.reason, violation.message)
        case _:
            message = "The name is not asked for before the Tunnel is accepted."
            return v1alpha1.judge(names.Condition.RESERVED, False, names.Reason.PENDING, message)


def judge_bound(reservation: v1alpha1.SubdomainReservation) -> v1alpha1.Judgement:
    """Bound of a reservation: somebody holds the name now."""
    spec = reservation.spec
    if not spec.is_released:
        return v1alpha1.judge(names.Condition.BOUND, True, names.Reason.BOUND)
    until = f"until {spec.expires_at.date().isoformat()}" if spec.expires_at else "for good"
    message = f"Released; kept for namespace {spec.claim_ref.namespace} {until}."
    return v1alpha1.judge(names.Condition.BOUND, False, names.Reason.RELEASED, message)


def _spec(claimant: Claimant, generation: int, now: datetime) -> v1alpha1.SubdomainReservationSpec:
    return v1alpha1.SubdomainReservationSpec(
        claim_ref=_claim_ref(claimant),
        holder_generation=generation,
        bound_at=now,
        verification=claimant.verification,
        reclaim_policy=claimant.reclaim_policy,
    )


def _claim_ref(claimant: Claimant) -> v1alpha1.ClaimRef:
    return v1alpha1.ClaimRef(
        namespace=claimant.namespace, namespace_uid=claimant.namespace_uid, name=claimant.name, uid=claimant.uid
    )


def _held(claimant: Claimant, spec: v1alpha1.SubdomainReservationSpec, now: datetime) -> Claim:
    """Held; or the reservation's words follow the Tunnel (made again, other policy, proved again): no new holder."""
    update = {
        "claim_ref": _claim_ref(claimant),
        "reclaim_policy": claimant.reclaim_policy,
        "verification": claimant.verification,
    }
    if all(getattr(spec, name) == value for name, value in update.items()):
        return Held(spec.holder_generation)
    bound_at = spec.bound_at if spec.claim_ref.uid == claimant.uid else now
    return Take(spec.model_copy(update={**update, "bound_at": bound_at}))


def _of_earlier_namespace(claimant: Claimant, reservation: v1alpha1.SubdomainReservation, now: datetime) -> Claim:
    if reservation.metadata.annotations.get(names.ANNOTATION_ALLOW_RECREATED) == claimant.namespace_uid:
        return Take(_spec(claimant, reservation.spec.holder_generation + 1, now))
    host, namespace = reservation.name, claimant.namespace
    return Refused(
        Violation(
            names.Reason.NAMESPACE_RECREATED,
            f"{host} belonged to an earlier namespace {namespace}; this one was created anew and counts as "
            f"somebody else. An administrator hands it over with: kubectl annotate subdomainreservation {host} "
            f"{names.ANNOTATION_ALLOW_RECREATED}={claimant.namespace_uid}",
        )
    )


def _taken(reservation: v1alpha1.SubdomainReservation) -> Violation:
    held = reservation.spec.claim_ref
    since = reservation.spec.bound_at.date().isoformat()
    return Violation(
        names.Reason.NAME_TAKEN,
        f"{reservation.name} is held by {held.namespace}/{held.name} since {since}. {_another(reservation)}, or ask "
        f"{held.namespace} to release it (kubectl delete tunnel {held.name} -n {held.namespace}).",
    )


def _tombstone(reservation: v1alpha1.SubdomainReservation) -> Violation:
    spec = reservation.spec
    released = spec.released_at.date().isoformat() if spec.released_at else "?"
    until = f"until {spec.expires_at.date().isoformat()}" if spec.expires_at else "for good"
    return Violation(
        names.Reason.TOMBSTONE,
        f"{reservation.name} was released by {spec.claim_ref.namespace} on {released} and is kept for them {until}. "
        f"{_another(reservation)}.",
    )


def _another(reservation: v1alpha1.SubdomainReservation) -> str:
    is_port = names.tcp_port_of(reservation.name) is not None
    return "Choose another port (or leave spec.port out)" if is_port else "Choose another subdomain"
