"""Reconcile SubdomainReservations: release names whose Tunnel has gone, delete expired tombstones, write the status.

A release is decided from the cache and confirmed by the API server, since it is the one step that gives a name away:
an event that was not seen yet must not count as an absence. Claiming is reconcile.tunnels' matter.
"""

import logging
from datetime import timedelta

from hawse_api import names, v1alpha1
from hawse_operator import errors
from hawse_operator.k8s.resources import NAMESPACES, RESERVATIONS, TUNNELS, Resource
from hawse_operator.policies import claims, fleets
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import statuses

logger = logging.getLogger(__name__)

Condition, Reason = names.Condition, names.Reason
DEFAULT_TOMBSTONE = timedelta(hours=2160)
"""Of a name whose Fleet is gone: the schema's default of Fleet.spec.tombstoneFor."""


class ReservationReconciler:
    """Stateless."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> float | None:
        """One reservation; returns seconds until its tombstone expires."""
        context = self._context
        body = context.world.cache[RESERVATIONS].get(key)
        if body is None:
            context.world.forget(key)
            return None
        try:
            reservation = context.world.parse(v1alpha1.SubdomainReservation, key, body)
        except v1alpha1.ObjectInvalid as problem:
            await context.write_invalid(RESERVATIONS, v1alpha1.SubdomainReservation, body, problem)
            return None
        if claims.is_expired(reservation, now=context.now):
            await self._delete(reservation)
            return None
        watched = context.settings.watch_namespaces
        if watched and reservation.spec.claim_ref.namespace not in watched:
            return None  # its Tunnel is out of sight, which is not the same as gone
        if not reservation.spec.is_released and not await self._holder_exists(reservation):
            await self._release(reservation)
            return 0.0
        await self._write(reservation)
        expires_at = reservation.spec.expires_at
        return max(1.0, (expires_at - context.now).total_seconds()) if expires_at else None

    async def _holder_exists(self, reservation: v1alpha1.SubdomainReservation) -> bool:
        if self._is_held(reservation):
            return True
        claim = reservation.spec.claim_ref
        await self._refresh(NAMESPACES, "", claim.namespace)
        await self._refresh(TUNNELS, claim.namespace, claim.name)
        return self._is_held(reservation)

    def _is_held(self, reservation: v1alpha1.SubdomainReservation) -> bool:
        world, claim = self._context.world, reservation.spec.claim_ref
        namespace, named = world.namespace(claim.namespace), world.named(claim.namespace, claim.name)
        fleet = world.fleets().get(named.fleet) if named else None
        return claims.is_holder(
            reservation,
            namespace_uid=namespace.uid if namespace else None,
            named=named,
            domain=fleet.spec.domain if fleet else None,
        )

    async def _refresh(self, resource: Resource, namespace: str, name: str) -> None:
        try:
            self._context.learn(resource, await self._context.client.get(resource, namespace, name))
        except errors.NotFound:
            self._context.unlearn(resource, namespace, name)

    async def _release(self, reservation: v1alpha1.SubdomainReservation) -> None:
        context = self._context
        fleet = fleets.fleet_of_host(reservation.name, context.world.fleets().values())
        kept = timedelta(seconds=v1alpha1.duration_s(fleet.spec.tombstone_for)) if fleet else DEFAULT_TOMBSTONE
        released = claims.decide_release(reservation, holder_exists=False, tombstone_for=kept, now=context.now)
        if released is None:
            return
        if released.expires_at == released.released_at:
            await self._delete(reservation)
            return
        patch = {"metadata": {"resourceVersion": reservation.metadata.resource_version}, "spec": released.dump()}
        context.learn(RESERVATIONS, await context.client.merge(RESERVATIONS, "", reservation.name, patch))
        logger.info("name released", extra={"host": reservation.name, "until": str(released.expires_at)})

    async def _delete(self, reservation: v1alpha1.SubdomainReservation) -> None:
        await self._context.client.delete(
            RESERVATIONS,
            "",
            reservation.name,
            uid=reservation.uid,
            resource_version=reservation.metadata.resource_version,
        )
        self._context.unlearn(RESERVATIONS, "", reservation.name)
        logger.info("name is free", extra={"host": reservation.name})

    async def _write(self, reservation: v1alpha1.SubdomainReservation) -> None:
        bound = claims.judge_bound(reservation)
        ready = v1alpha1.Judgement(Condition.READY, bound.status, bound.reason, bound.message)
        accepted = v1alpha1.judge(Condition.ACCEPTED, True, Reason.ACCEPTED)
        new = statuses.build_status(
            reservation.status, (accepted, bound, ready), {}, generation=reservation.generation, now=self._context.now
        )
        await self._context.write_status(RESERVATIONS, reservation, reservation.status, new)
