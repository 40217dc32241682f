"""Reconcile Tunnels: gather what they refer to, claim the name or port, publish IR, write the status.

Releasing a name is reconcile.reservations' matter: a Tunnel needs no finalizer, so an absent operator never blocks a
namespace's deletion, and no release is lost, because reservations are compared with Tunnels.
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hawse_api import names, v1alpha1
from hawse_api.ir import ir_pb2
from hawse_operator.dns import regions as dns_regions
from hawse_operator.dns import standing as standings
from hawse_operator.k8s.resources import AGENT_TOKENS, TUNNELS
from hawse_operator.policies import claims, hosts, readiness, serving, tunnels, violations
from hawse_operator.policies.serving import Serving
from hawse_operator.reconcile import (
    access_policies,
    claiming,
    hostnames,
    ports,
    session_keys,
    targets,
    tunnel_certificates,
)
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.certificates import Certificate
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import fleets as translate_fleets
from hawse_operator.translate import statuses
from hawse_operator.translate import tunnels as translate

logger = logging.getLogger(__name__)

Condition, Reason = names.Condition, names.Reason
ROOM_RETRY_S = 10.0
"""A namespace that has too many names may have fewer soon, and a port may be free; no event of the Tunnel's own says
so."""
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
    leads_to: serving.Named | None
    """What its last good form leads to; None: it has none."""
    defaults: v1alpha1.AccessDefaults | None
    """Those of the Fleet, which the form keeps to."""


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
            context.look_ups.forget(key)
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
        return await self._reconcile_valid(key, tunnel)

    async def _reconcile_valid(self, key: Key, tunnel: v1alpha1.Tunnel) -> float | None:
        context = self._context
        given = await self._gather(key, tunnel)
        not_accepted, not_resolved = tunnels.violations_of_tunnel(given), tunnels.violations_of_refs(given)
        given, claim = await self._claim(given, may_claim=not not_accepted)
        decided = serving.decide_serving(
            holds_name=isinstance(claim, claims.Held),
            is_suspended=tunnel.spec.suspend,
            not_accepted=not_accepted,
            not_resolved=tunnels.violations_that_close(given),
        )
        certificate = await tunnel_certificates.read(context, tunnel, given.hostname)
        self._publish(key, given, claim, decided, certificate)
        not_placed = (
            *tunnels.violations_of_standby(given),
            *tunnels.violations_of_placement(given),
            *tunnels.violations_of_enforcing(given),
        )
        judgements = self._judge(given, claim, decided, not_accepted, (*not_resolved, *not_placed), certificate)
        await self._write(given, claim, judgements)
        due = [context.settling_s] if context.settling_s else []
        due += [context.settings.secret_poll_s] if certificate else []
        due += [again] if (again := targets.look_again_s(tunnel.namespace, given.destinations)) else []
        due += [ROOM_RETRY_S] if claims.is_for_want_of_room(claim) else []
        due += [given.proof.again_after.total_seconds()] if given.proof else []
        return min(due, default=None)

    async def _gather(self, key: Key, tunnel: v1alpha1.Tunnel) -> tunnels.TunnelInput:
        world = self._context.world
        primary = await targets.gather(self._context, tunnel.namespace, tunnel.spec.target)
        standby = tunnel.spec.standby
        is_there = primary.token is not None and not primary.token.is_deleting and standby is None
        others = () if is_there else world.cache[AGENT_TOKENS].select("namespace", tunnel.namespace)
        fleet, namespace = world.fleets().get(tunnel.spec.fleet_name), world.namespace(tunnel.namespace)
        hostname = proof = None
        if fleet is not None and namespace is not None and tunnel.spec.host is None:
            hostname = ports.own_hostname(world, tunnel, fleet, namespace.uid)
        elif fleet is not None and namespace is not None:
            kept = world.names_kept_for(tunnel.namespace, namespace.uid, tunnel.name)
            hostname = hosts.hostname_of(tunnel, fleet.spec.domain, kept)
            if is_of_own_domain(tunnel):
                proof = await hostnames.prove(self._context, key, tunnel, fleet, namespace.uid)
        return tunnels.TunnelInput(
            tunnel=tunnel,
            fleet=fleet,
            fleet_names=world.fleet_names(),
            namespace=namespace,
            primary=primary,
            standby=await targets.gather(self._context, tunnel.namespace, standby.target) if standby else None,
            token_names=tuple(body["metadata"]["name"] for body in others),
            hostname=hostname,
            domains=tuple(other.spec.domain for other in world.fleets().values()),
            proof=proof,
            policies=access_policies.named_by(world, tunnel, fleet),
            regions=world.regions(tunnel.spec.fleet_name) if tunnel.spec.placement else (),
        )

    # --- the name ----------------------------------------------------------------------------------------------------
    async def _claim(
        self, given: tunnels.TunnelInput, *, may_claim: bool
    ) -> tuple[tunnels.TunnelInput, claims.Claim | None]:
        """What became of the claim, and the Tunnel with the port that it was assigned.

        None: it was not made, and the Tunnel holds nothing.
        """
        if given.fleet is None or given.namespace is None or (given.hostname is None and not may_claim):
            return given, None
        tunnel = given.tunnel
        claimant = claims.Claimant(
            tunnel.namespace,
            given.namespace.uid,
            tunnel.name,
            tunnel.uid,
            tunnel.spec.reclaim_policy,
            given.proof.verification if given.proof else None,
        )
        if given.hostname is None:
            hostname, claim = await ports.claim_any(self._context, given.fleet, claimant)
            return dataclasses.replace(given, hostname=hostname), claim
        quotas = given.fleet.spec.quotas
        return given, await claiming.claim_name(self._context, given.hostname, claimant, quotas, may_claim=may_claim)

    # --- what exit nodes hold ----------------------------------------------------------------------------------------
    def _publish(
        self,
        key: Key,
        given: tunnels.TunnelInput,
        claim: claims.Claim | None,
        decided: Serving,
        certificate: Certificate | None,
    ) -> None:
        hostname = given.hostname
        if decided is Serving.ABSENT or given.fleet is None or hostname is None or not isinstance(claim, claims.Held):
            self._retract(key)
            return
        tunnel = given.tunnel
        tunnel_certificates.publish(self._context, given.fleet.name, tunnel.uid, certificate)
        session_keys.publish(self._context, given, generation=claim.generation)
        leads_to: serving.Named | None = None
        if decided is Serving.OPEN and (found := targets.for_exit_nodes(given)) is not None:
            target, standby = found
            obj = translate.translate_tunnel(
                tunnel,
                hostname=hostname,
                target=target,
                standby=standby,
                generation=claim.generation,
                access=[named.policy.uid for named in given.policies if named.policy is not None],
            )
            leads_to = serving.named(tunnel.spec.dump())
        else:
            obj = translate.translate_closed_tunnel(
                tunnel,
                hostname=hostname,
                generation=claim.generation,
                is_suspended=decided is Serving.SUSPENDED,
                lacks_policy=bool(tunnels.violations_of_access(given)),
            )
        self._published[key] = Published(given.fleet.name, tunnel.uid, obj, leads_to, given.fleet.spec.access_defaults)
        self._context.hub.publish(given.fleet.name, obj)
        self._context.first_round.done(key)

    def _retract(self, key: Key) -> None:
        published = self._published.pop(key, None)
        if published is not None:
            self._context.hub.retract(published.fleet, published.obj.key)
            tunnel_certificates.publish(self._context, published.fleet, published.uid, None)
            session_keys.retract(self._context, published.fleet, published.uid)
        self._context.first_round.done(key)

    def _keep_or_close(self, key: Key, body: dict[str, Any]) -> None:
        published = self._published.get(key)
        if published is None:
            self._context.first_round.done(key)
            return
        fleet = self._context.world.fleets().get(published.fleet)
        are_same = fleet is not None and fleet.spec.access_defaults == published.defaults
        if are_same and serving.keeps_last_good(published.leads_to, serving.named(body.get("spec") or {})):
            return
        obj = translate.close(published.obj)
        self._published[key] = Published(published.fleet, published.uid, obj, None, published.defaults)
        self._context.hub.publish(published.fleet, obj)

    # --- the status --------------------------------------------------------------------------------------------------
    def _judge(
        self,
        given: tunnels.TunnelInput,
        claim: claims.Claim | None,
        decided: Serving,
        not_accepted: Sequence[violations.Violation],
        not_resolved: Sequence[violations.Violation],
        certificate: Certificate | None,
    ) -> list[v1alpha1.Judgement]:
        judgements = [
            violations.to_judgement(Condition.ACCEPTED, not_accepted, Reason.ACCEPTED),
            violations.to_judgement(Condition.RESOLVED_REFS, not_resolved, Reason.RESOLVED),
            claims.judge_reserved(claim),
            self._judge_programmed(given, decided),
            self._judge_certificate(given, certificate),
        ]
        ready = readiness.judge_ready(judgements, SUMMED)
        return [*judgements, targets.judge(self._context, given), *self._judge_dns(given, claim), ready]

    def _judge_dns(self, given: tunnels.TunnelInput, claim: claims.Claim | None) -> list[v1alpha1.Judgement]:
        tunnel, fleet = given.tunnel, given.fleet
        standing = self._context.dns.get(tunnel.spec.fleet_name)
        if standing is None or fleet is None or not isinstance(claim, claims.Held):
            return standings.judge_unmanaged(tunnel.status, fleet)
        if given.hostname is None or given.namespace is None:
            return []
        name = hosts.dns_name_of(given.hostname, given.namespace.uid, fleet.spec.domain)
        has_placement = tunnel.spec.placement is not None
        return [standings.judge_tunnel(standing, name, fleet.spec.domain, has_placement=has_placement)]

    def _judge_programmed(self, given: tunnels.TunnelInput, decided: Serving) -> v1alpha1.Judgement:
        if decided is Serving.SUSPENDED:
            message = "spec.suspend is true: the name is held, visitors get 503 HAWSE-1008. Set it to false to serve."
            return v1alpha1.judge(Condition.PROGRAMMED, False, Reason.SUSPENDED, message)
        context, fleet = self._context, given.tunnel.spec.fleet_name
        keys = [translate.tunnel_key(given.tunnel.uid), *access_policies.keys_of(given.policies)]
        judgement = readiness.judge_programmed(
            [ack for key in keys for ack in context.world.acks(fleet, key)],
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

    def _judge_certificate(self, given: tunnels.TunnelInput, certificate: Certificate | None) -> v1alpha1.Judgement:
        fleet = given.tunnel.spec.fleet_name
        if certificate is not None:
            return tunnel_certificates.judge(certificate)
        if given.tunnel.spec.is_tcp:
            message = "Bytes of a TCP tunnel pass as they are: Hawse adds no TLS."
            return v1alpha1.judge(Condition.CERTIFICATE_READY, True, Reason.NOT_NEEDED, message)
        if is_of_own_domain(given.tunnel):
            return tunnel_certificates.judge_missing(given.hostname or "")
        judgement: v1alpha1.Judgement | None = None
        if self._context.hub.hash_of(fleet, f"material/{translate_fleets.certificate_id(fleet)}") is not None:
            judgement = v1alpha1.judge(Condition.CERTIFICATE_READY, True, Reason.ISSUED)
        elif not self._context.settling_s:
            message = f"Fleet {fleet} has no certificate yet: kubectl describe fleet {fleet} shows why."
            judgement = v1alpha1.judge(Condition.CERTIFICATE_READY, False, Reason.CERTIFICATE_NOT_FOUND, message)
        return statuses.kept_or_unknown(
            given.tunnel.status, Condition.CERTIFICATE_READY, judgement, reason=Reason.PENDING, message="Not known yet."
        )

    async def _write(
        self, given: tunnels.TunnelInput, claim: claims.Claim | None, judgements: Sequence[v1alpha1.Judgement]
    ) -> None:
        tunnel, fleet = given.tunnel, given.fleet
        hostname = given.hostname
        acks = self._context.world.acks(fleet.name, translate.tunnel_key(tunnel.uid)) if fleet else ()
        holds = isinstance(claim, claims.Held)
        port = names.tcp_port_of(hostname) if hostname and holds and tunnel.spec.is_tcp else None
        regions = readiness.regions_of(acks) if holds else ()
        if fleet is not None and holds:
            regions = dns_regions.with_weights(regions, tunnel, self._context.world.dns_nodes(fleet))
        if self._context.settling_s and (not acks or (was_in_force(tunnel) and readiness.is_waiting(acks))):
            regions = tunnel.status.regions
        standbys = self._context.hub.standbys(tunnel.spec.fleet_name, tunnel.uid)
        active = targets.active_target(self._context, tunnel, standbys)
        fields = {
            "active_target": active,
            "hostname": hostname,
            "host_verification": verification_of(given),
            "port": port,
            "url": translate.url_of(hostname, fleet, port) if fleet and hostname and holds else None,
            "reservation_name": hostname if holds else None,
            "regions": regions,
        }
        new = statuses.build_status(
            tunnel.status, judgements, fields, generation=tunnel.generation, now=self._context.now
        )
        if await self._context.write_status(TUNNELS, tunnel, tunnel.status, new):
            targets.record_turn(self._context, tunnel, active, standbys)


def verification_of(given: tunnels.TunnelInput) -> v1alpha1.HostVerification | None:
    """What the owner of a domain of its own publishes."""
    if given.proof is None or given.fleet is None or given.namespace is None or given.hostname is None:
        return None
    challenge = hosts.challenge_of(given.hostname, given.namespace.uid, given.fleet.spec.domain)
    return v1alpha1.HostVerification(record=challenge.record, value=challenge.value, target=challenge.target)


def is_of_own_domain(tunnel: v1alpha1.Tunnel) -> bool:
    """Whether its name lies outside the Fleets' domains."""
    return tunnel.spec.host is not None and tunnel.spec.host.type is v1alpha1.HostType.HOSTNAME


def was_in_force(tunnel: v1alpha1.Tunnel) -> bool:
    """Whether the status says Programmed of the spec as it is now."""
    found = tunnel.status.condition(Condition.PROGRAMMED)
    return (
        found is not None
        and found.status is v1alpha1.ConditionStatus.TRUE
        and found.observed_generation == tunnel.generation
    )
