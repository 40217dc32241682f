"""Claim a Tunnel's name at the API server.

The claim is atomic there (create, or patch at a resourceVersion); after every 409 it is decided again from what is
there. Releasing a name is reconcile.reservations' matter. Called by reconcile.tunnels.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator import errors
from hawse_operator.k8s.resources import RESERVATIONS
from hawse_operator.policies import claims
from hawse_operator.reconcile.context import Context

logger = logging.getLogger(__name__)

CLAIM_ATTEMPTS = 4
"""Rounds of create, 409, read; a name that is still contested then goes through the queue's back-off."""


async def claim_name(
    context: Context, hostname: str, claimant: claims.Claimant, quotas: v1alpha1.Quotas, *, may_claim: bool
) -> claims.Claim | None:
    """What became of the claim; None: it was not made, and the Tunnel holds nothing.

    Raises:
        errors.Conflict: others kept writing the reservation meanwhile.
    """
    for _ in range(CLAIM_ATTEMPTS):
        reservation = context.world.reservation(hostname)
        claim = _decide(context, hostname, claimant, quotas, reservation)
        match claim:
            case claims.Held() | claims.Refused():
                return claim
            case claims.Create() | claims.Take() if not may_claim:
                return claims.holds(claimant, reservation)
            case claims.Create(spec):
                with _under_way(context, claimant, hostname):
                    await _create(context, hostname, spec)
            case claims.Take(spec):
                with _under_way(context, claimant, hostname):
                    await _take(context, reservation, spec)
    raise errors.Conflict(f"{hostname} is contested")


def _decide(
    context: Context,
    hostname: str,
    claimant: claims.Claimant,
    quotas: v1alpha1.Quotas,
    reservation: v1alpha1.SubdomainReservation | None,
) -> claims.Claim:
    if claims.holds(claimant, reservation) is not None:  # it takes no name more: nothing to count
        return claims.decide_claim(claimant, reservation, now=context.now)
    held, kept = context.world.names_of(
        claimant.namespace,
        claimant.namespace_uid,
        besides=hostname,
        under_way=context.claims_under_way.get(claimant.namespace_uid, frozenset()),
    )
    allowance = claims.Allowance(held, kept, quotas)
    return claims.decide_claim(claimant, reservation, now=context.now, allowance=allowance)


@contextlib.contextmanager
def _under_way(context: Context, claimant: claims.Claimant, hostname: str) -> Iterator[None]:
    """Count a name from the decision to claim it until the cache knows what became of it."""
    names_ = context.claims_under_way[claimant.namespace_uid]
    names_.add(hostname)
    try:
        yield
    finally:
        names_.discard(hostname)
        if not names_:
            context.claims_under_way.pop(claimant.namespace_uid, None)


async def _create(context: Context, hostname: str, spec: v1alpha1.SubdomainReservationSpec) -> None:
    body = {
        "apiVersion": RESERVATIONS.api_version,
        "kind": RESERVATIONS.kind,
        "metadata": {"name": hostname, "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY}},
        "spec": spec.dump(),
    }
    try:
        context.learn(RESERVATIONS, await context.client.create(RESERVATIONS, body))
    except errors.AlreadyExists:
        await _read(context, hostname)
    else:
        logger.info("name reserved", extra={"host": hostname, "namespace": spec.claim_ref.namespace})


async def _take(
    context: Context, reservation: v1alpha1.SubdomainReservation | None, spec: v1alpha1.SubdomainReservationSpec
) -> None:
    assert reservation is not None  # noqa: S101 - decide_claim takes only what is there
    patch: dict[str, Any] = {
        "metadata": {"resourceVersion": reservation.metadata.resource_version},
        "spec": _as_merge_patch(spec),
    }
    try:
        context.learn(RESERVATIONS, await context.client.merge(RESERVATIONS, "", reservation.name, patch))
    except (errors.Conflict, errors.NotFound):
        await _read(context, reservation.name)


def _as_merge_patch(spec: v1alpha1.SubdomainReservationSpec) -> dict[str, Any]:
    """The whole spec; what it leaves out is null, since a merge patch (RFC 7396) would keep it."""
    dumped = spec.dump()
    verification = {"missedSince": None} | dumped["verification"] if spec.verification else None
    return {"releasedAt": None, "expiresAt": None} | dumped | {"verification": verification}


async def _read(context: Context, hostname: str) -> None:
    try:
        context.learn(RESERVATIONS, await context.client.get(RESERVATIONS, "", hostname))
    except errors.NotFound:
        context.unlearn(RESERVATIONS, "", hostname)
