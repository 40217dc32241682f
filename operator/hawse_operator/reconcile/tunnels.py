"""Reconcile Tunnels: gather what they refer to, claim the name, publish IR, write the status.

The claim is atomic at the API server (create, or patch at a resourceVersion); after every 409 it is decided again
from what is there. Releasing a name is reconcile.reservations' matter: a Tunnel needs no finalizer, so an absent
operator never blocks a namespace's deletion, and no release is lost, because reservations are compared with Tunnels.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hawse_api import names, v1alpha1
from hawse_api.ir import ir_pb2
from hawse_operator import errors
from hawse_operator.k8s.resources import AGENT_TOKENS, RESERVATIONS, TUNNELS
from hawse_operator.policies import claims, readiness, serving, tunnels, violations
from hawse_operator.policies.serving import Serving
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import fleets as translate_fleets
from hawse_operator.translate import statuses
from hawse_operator.translate import tunnels as translate

logger = logging.getLogger(__name__)

Condition, Reason = names.Condition, names.Reason
CLAIM_ATTEMPTS = 4
"""Rounds of create, 409, read; a name that is still contested then goes through the queue's back-off."""
SUMMED = (
    Condition.ACCEPTED,
    Condition.RESOLVED_REFS,
    Condition.RESERVED,
    Condition.PROGRAMMED,
    Condition.CERTIFICATE_READY,
)


@dataclass(frozen=True, slots=True)
class Published:
    """What exit nodes hold of a Tunnel."""

    fleet: str
    uid: str
    obj: ir_pb2.Object
    token: str | None
    """AgentToken that its last good form names; None: it has none."""


class TunnelReconciler:
    """Remembers what it published in this term; everything else comes from the world each time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._published: dict[Key, Published] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One Tunnel; returns seconds until it has to be looked at again without an event."""
        context = self._context
        body = context.world.cache[TUNNELS].get(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            self._retract(key)
            context.world.forget(key)
            return None
        published = self._published.get(key)
        if published is not None and published.uid != body["metadata"]["uid"]:
            self._retract(key)  # made anew under its old name: two of them must not claim one host name at an exit node
        try:
            tunnel = context.world.parse(v1alpha1.Tunnel, key, body)
        except v1alpha1.ObjectInvalid as problem:
            self._keep_or_close(key, body)
            await context.write_invalid(TUNNELS, v1alpha1.Tunnel, body, problem)
            return None
        await self._reconcile_valid(key, tunnel)
        return context.settling_s or None

    async def _reconcile_valid(self, key: Key, tunnel: v1alpha1.Tunnel) -> None:
        given = self._gather(tunnel)
        not_accepted, not_resolved = tunnels.violations_of_tunnel(given), tunnels.violations_of_refs(given)
        claim = await self._claim(given, may_claim=not not_accepted)
        decided = serving.decide_serving(
            holds_name=isinstance(claim, claims.Held),
            is_suspended=tunnel.spec.suspend,
            not_accepted=not_accepted,
            not_resolved=not_resolved,
        )
        self._publish(key, given, claim, decided)
        judgements = self._judge(given, claim, decided, not_accepted, not_resolved)
        await self._write(given, claim, judgements)

    def _gather(self, tunnel: v1alpha1.Tunnel) -> tunnels.TunnelInput:
        world = self._context.world
        agent = tunnel.spec.target.agent
        tokens = world.cache[AGENT_TOKENS].select("namespace", tunnel.namespace)
        return tunnels.TunnelInput(
            tunnel=tunnel,
            fleet=world.fleets().get(tunnel.spec.fleet_name),
            fleet_names=world.fleet_names(),
            namespace=world.namespace(tunnel.namespace),
            token=world.token(tunnel.namespace, agent.token_ref.name) if agent else None,
            token_names=tuple(body["metadata"]["name"] for body in tokens),
        )

    # --- the name ----------------------------------------------------------------------------------------------------
    async def _claim(self, given: tunnels.TunnelInput, *, may_claim: bool) -> claims.Claim | None:
        """What became of the claim; None: it was not made, and the Tunnel holds nothing."""
        if given.fleet is None or given.namespace is None:
            return None
        hostname = translate.hostname_of(given.tunnel, given.fleet)
        claimant = claims.Claimant(
            given.tunnel.namespace,
            given.namespace.uid,
            given.tunnel.name,
            given.tunnel.uid,
            given.tunnel.spec.reclaim_policy,
        )
        for _ in range(CLAIM_ATTEMPTS):
            reservation = self._context.world.reservation(hostname)
            claim = claims.decide_claim(claimant, reservation, now=self._context.now)
            match claim:
                case claims.Held() | claims.Refused():
                    return claim
                case claims.Create() | claims.Take() if not may_claim:
                    return claims.holds(claimant, reservation)
                case claims.Create(spec):
                    await self._create(hostname, spec)
                case claims.Take(spec):
                    await self._take(reservation, spec)
        raise errors.Conflict(f"{hostname} is contested")

    async def _create(self, hostname: str, spec: v1alpha1.SubdomainReservationSpec) -> None:
        body = {
            "apiVersion": RESERVATIONS.api_version,
            "kind": RESERVATIONS.kind,
            "metadata": {"name": hostname, "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY}},
            "spec": spec.dump(),
        }
        try:
            self._context.learn(RESERVATIONS, await self._context.client.create(RESERVATIONS, body))
        except errors.AlreadyExists:
            await self._read(hostname)
        else:
            logger.info("name reserved", extra={"host": hostname, "namespace": spec.claim_ref.namespace})

    async def _take(
        self, reservation: v1alpha1.SubdomainReservation | None, spec: v1alpha1.SubdomainReservationSpec
    ) -> None:
        assert reservation is not None  # noqa: S101 - decide_claim takes only what is there
        patch: dict[str, Any] = {
            "metadata": {"resourceVersion": reservation.metadata.resource_version},
            "spec": {"releasedAt": None, "expiresAt": None} | spec.dump(),
        }
        try:
            self._context.learn(
                RESERVATIONS, await self._context.client.merge(RESERVATIONS, "", reservation.name, patch)
            )
        except (errors.Conflict, errors.NotFound):
            await self._read(reservation.name)

    async def _read(self, hostname: str) -> None:
        try:
            self._context.learn(RESERVATIONS, await self._context.client.get(RESERVATIONS, "", hostname))
        except errors.NotFound:
            self._context.unlearn(RESERVATIONS, "", hostname)

    # --- what exit nodes hold ----------------------------------------------------------------------------------------
    def _publish(self, key: Key, given: tunnels.TunnelInput, claim: claims.Claim | None, decided: Serving) -> None:
        if decided is Serving.ABSENT or given.fleet is None or not isinstance(claim, claims.Held):
            self._retract(key)
            return
        tunnel, hostname = given.tunnel, translate.hostname_of(given.tunnel, given.fleet)
        if decided is Serving.OPEN and given.token is not None:
            obj = translate.translate_tunnel(
                tunnel, hostname=hostname, token_uid=given.token.uid, generation=claim.generation
            )
            token: str | None = given.token.name
        else:
            obj = translate.translate_closed_tunnel(
                tunnel, hostname=hostname, generation=claim.generation, is_suspended=decided is Serving.SUSPENDED
            )
            token = None
        self._published[key] = Published(given.fleet.name, tunnel.uid, obj, token)
        self._context.hub.publish(given.fleet.name, obj)
        self._context.first_round.done(key)

    def _retract(self, key: Key) -> None:
        published = self._published.pop(key, None)
        if published is not None:
            self._context.hub.retract(published.fleet, published.obj.key)
        self._context.first_round.done(key)

    def _keep_or_close(self, key: Key, body: dict[str, Any]) -> None:
        published = self._published.get(key)
        if published is None:
            self._context.first_round.done(key)
            return
        named = (((body.get("spec") or {}).get("target") or {}).get("agent") or {}).get("tokenRef") or {}
        if serving.keeps_last_good(published.token, named.get("name")):
            return
        obj = translate.close(published.obj)
        self._published[key] = Published(published.fleet, published.uid, obj, None)
        self._context.hub.publish(published.fleet, obj)

    # --- the status --------------------------------------------------------------------------------------------------
    def _judge(
        self,
        given: tunnels.TunnelInput,
        claim: claims.Claim | None,
        decided: Serving,
        not_accepted: Sequence[violations.Violation],
        not_resolved: Sequence[violations.Violation],
    ) -> list[v1alpha1.Judgement]:
        judgements = [
            violations.to_judgement(Condition.ACCEPTED, not_accepted, Reason.ACCEPTED),
            violations.to_judgement(Condition.RESOLVED_REFS, not_resolved, Reason.RESOLVED),
            claims.judge_reserved(claim),
            self._judge_programmed(given, decided),
            self._judge_certificate(given),
        ]
        ready = readiness.judge_ready(judgements, SUMMED)
        return [*judgements, self._judge_target(given), ready]

    def _judge_programmed(self, given: tunnels.TunnelInput, decided: Serving) -> v1alpha1.Judgement:
        if decided is Serving.SUSPENDED:
            message = "spec.suspend is true: the name is held, visitors get 503 HAWSE-1008. Set it to false to serve."
            return v1alpha1.judge(Condition.PROGRAMMED, False, Reason.SUSPENDED, message)
        context, fleet = self._context, given.tunnel.spec.fleet_name
        judgement = readiness.judge_programmed(
            context.world.acks(fleet, translate.tunnel_key(given.tunnel.uid)),
            is_desired=decided is Serving.OPEN,
            fleet=fleet,
            settling=context.settling_s > 0,
            was_in_force=was_in_force(given.tunnel),
        )
        return statuses.kept_or_unknown(
            given.tunnel.status,
            Condition.PROGRAMMED,
            judgement,
            reason=Reason.PENDING,
            message="Waiting for exit nodes.",
        )

    def _judge_certificate(self, given: tunnels.TunnelInput) -> v1alpha1.Judgement:
        fleet = given.tunnel.spec.fleet_name
        judgement: v1alpha1.Judgement | None = None
        if self._context.hub.hash_of(fleet, f"material/{translate_fleets.certificate_id(fleet)}") is not None:
            judgement = v1alpha1.judge(Condition.CERTIFICATE_READY, True, Reason.ISSUED)
        elif not self._context.settling_s:
            message = f"Fleet {fleet} has no certificate yet: kubectl describe fleet {fleet} shows why."
            judgement = v1alpha1.judge(Condition.CERTIFICATE_READY, False, Reason.CERTIFICATE_NOT_FOUND, message)
        return statuses.kept_or_unknown(
            given.tunnel.status, Condition.CERTIFICATE_READY, judgement, reason=Reason.PENDING, message="Not known yet."
        )

    def _judge_target(self, given: tunnels.TunnelInput) -> v1alpha1.Judgement:
        agent = given.tunnel.spec.target.agent
        judgement = readiness.judge_target(
            self._context.world.exit_nodes_serving(given.tunnel.uid),
            token=agent.token_ref.name if agent else "",
            settling=self._context.settling_s > 0 and given.tunnel.status.condition(Condition.TARGET_READY) is not None,
        )
        return statuses.kept_or_unknown(
            given.tunnel.status, Condition.TARGET_READY, judgement, reason=Reason.PENDING, message="Not known yet."
        )

    async def _write(
        self, given: tunnels.TunnelInput, claim: claims.Claim | None, judgements: Sequence[v1alpha1.Judgement]
    ) -> None:
        tunnel, fleet = given.tunnel, given.fleet
        hostname = translate.hostname_of(tunnel, fleet) if fleet else None
        acks = self._context.world.acks(fleet.name, translate.tunnel_key(tunnel.uid)) if fleet else ()
        holds = isinstance(claim, claims.Held)
        regions = readiness.regions_of(acks) if holds else ()
        if self._context.settling_s and (not acks or (was_in_force(tunnel) and readiness.is_waiting(acks))):
            regions = tunnel.status.regions
        fields = {
            "hostname": hostname,
            "url": translate.url_of(hostname, fleet) if fleet and hostname and holds else None,
            "reservation_name": hostname if holds else None,
            "regions": regions,
        }
        new = statuses.build_status(
            tunnel.status, judgements, fields, generation=tunnel.generation, now=self._context.now
        )
        await self._context.write_status(TUNNELS, tunnel, tunnel.status, new)


def was_in_force(tunnel: v1alpha1.Tunnel) -> bool:
    """Whether the status says Programmed of the spec as it is now."""
    found = tunnel.status.condition(Condition.PROGRAMMED)
    return (
        found is not None
        and found.status is v1alpha1.ConditionStatus.TRUE
        and found.observed_generation == tunnel.generation
    )
