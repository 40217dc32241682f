"""Reconcile Fleets: accept, keep the wildcard certificate, publish both to exit nodes, write the status.

The Secret of a certificate is read here at every run and polled, never watched (design 0002, 3).
"""

import logging

from hawse_api import names, v1alpha1
from hawse_operator import errors
from hawse_operator.control import ca, edge_certificate
from hawse_operator.dns import standing as standings
from hawse_operator.k8s.resources import EXIT_NODES, FLEETS, SECRETS, TUNNELS
from hawse_operator.manifests import secrets
from hawse_operator.policies import fleets, readiness, violations
from hawse_operator.reconcile.cache import Key, key_of
from hawse_operator.reconcile.certificates import Certificate, end_of, problem_of, read_named
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import fleets as translate
from hawse_operator.translate import statuses

logger = logging.getLogger(__name__)

Condition, Reason = names.Condition, names.Reason
SUMMED = (Condition.ACCEPTED, Condition.CERTIFICATE_READY)


class FleetReconciler:
    """Remembers only which Fleets it published in this term."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._published: set[str] = set()

    async def reconcile(self, key: Key) -> float | None:
        """One Fleet; returns seconds until its Secret is read again."""
        context = self._context
        body = context.world.cache[FLEETS].get(key)
        if body is None:
            self._forget(key)
            return None
        fleet = context.world.fleets().get(key.name)
        certificate = Certificate("", problem="The Fleet is not accepted.")
        if fleet is not None:
            certificate = await self._certificate(fleet)
            self._publish(fleet, certificate)
        context.first_round.done(key)
        try:
            current = context.world.parse(v1alpha1.Fleet, key, body)
        except v1alpha1.ObjectInvalid as problem:
            await context.write_invalid(FLEETS, v1alpha1.Fleet, body, problem)
        else:
            await self._write(current, certificate)
        return context.settings.secret_poll_s

    def _forget(self, key: Key) -> None:
        if key.name in self._published:
            self._published.discard(key.name)
            self._context.hub.forget_fleet(key.name)
        self._context.world.forget(key)
        self._context.first_round.done(key)

    def _publish(self, fleet: v1alpha1.Fleet, certificate: Certificate) -> None:
        hub = self._context.hub
        had_one = hub.hash_of(fleet.name, f"material/{translate.certificate_id(fleet.name)}") is not None
        if certificate.chain_pem:
            hub.put_certificate(
                fleet.name, translate.certificate_id(fleet.name), certificate.chain_pem, certificate.key_pem
            )
        hub.publish(fleet.name, translate.translate_fleet(fleet, self._context.world.agent_addresses(fleet)))
        self._published.add(fleet.name)
        if certificate.chain_pem and not had_one:
            for tunnel in self._context.world.cache[TUNNELS].select("fleet", fleet.name):
                self._context.queue.add(key_of(TUNNELS, tunnel), delay_s=0.1)

    # --- the certificate ---------------------------------------------------------------------------------------------
    async def _certificate(self, fleet: v1alpha1.Fleet) -> Certificate:
        match fleet.spec.certificate.type:
            case v1alpha1.CertificateType.SELF_SIGNED:
                return await self._self_signed(fleet)
            case v1alpha1.CertificateType.SECRET:
                named = fleet.spec.certificate.secret
                return await read_named(
                    self._context, self._context.settings.pod_namespace, named.name if named else ""
                )

    async def _self_signed(self, fleet: v1alpha1.Fleet) -> Certificate:
        context = self._context
        namespace, name = context.settings.pod_namespace, secrets.edge_certificate_name(fleet.name)
        try:
            body = await context.client.get(SECRETS, namespace, name)
        except errors.NotFound:
            made = edge_certificate.new_edge_certificate(fleet.spec.domain, context.now)
            return await self._store(fleet, made, is_new=True)
        if (body["metadata"].get("labels") or {}).get(names.LABEL_MANAGED_BY) != names.MANAGED_BY:
            problem = (
                f'Secret "{name}" exists in namespace {namespace} and is not the operator\'s. Delete or rename it.'
            )
            return Certificate(name, problem=problem)
        return await self._renewed(fleet, body)

    async def _renewed(self, fleet: v1alpha1.Fleet, body: secrets.JsonObject) -> Certificate:
        now = self._context.now
        parts = {part: secrets.read_data(body, part) for part in ("tls.crt", "tls.key", "ca.crt", "ca.key")}
        not_after = end_of(parts["tls.crt"])
        if not_after is None or problem_of(parts["tls.crt"], parts["tls.key"], now=None):
            made = edge_certificate.new_edge_certificate(fleet.spec.domain, now)
            return await self._store(fleet, made, is_new=False)
        stored = edge_certificate.EdgeCertificate(
            chain_pem=parts["tls.crt"],
            key_pem=parts["tls.key"],
            ca_pem=parts["ca.crt"],
            ca_key_pem=parts["ca.key"],
            not_after=not_after,
        )
        if not edge_certificate.should_renew(not_after, now):
            return Certificate(body["metadata"]["name"], stored.chain_pem, stored.key_pem)
        try:
            made = edge_certificate.renew_edge_certificate(stored, fleet.spec.domain, now)
        except ca.AuthorityUnreadableError:
            made = edge_certificate.new_edge_certificate(fleet.spec.domain, now)
        logger.info("edge certificate renewed", extra={"fleet": fleet.name})
        return await self._store(fleet, made, is_new=False)

    async def _store(
        self, fleet: v1alpha1.Fleet, made: edge_certificate.EdgeCertificate, *, is_new: bool
    ) -> Certificate:
        parts = {"tls.crt": made.chain_pem, "tls.key": made.key_pem, "ca.crt": made.ca_pem, "ca.key": made.ca_key_pem}
        body = secrets.build_edge_certificate(fleet, namespace=self._context.settings.pod_namespace, parts=parts)
        client = self._context.client
        # A create that finds one raises AlreadyExists: the queue's next run reads it.
        await (client.create(SECRETS, body) if is_new else client.apply(SECRETS, body))
        return Certificate(body["metadata"]["name"], made.chain_pem, made.key_pem)

    # --- the status --------------------------------------------------------------------------------------------------
    async def _write(self, fleet: v1alpha1.Fleet, certificate: Certificate) -> None:
        context = self._context
        found = fleets.violations_of_fleet(context.world.fleet_input(fleet))
        judgements = [
            violations.to_judgement(Condition.ACCEPTED, found, Reason.ACCEPTED),
            v1alpha1.judge(Condition.CERTIFICATE_READY, False, Reason.CERTIFICATE_NOT_FOUND, certificate.problem)
            if certificate.problem
            else v1alpha1.judge(Condition.CERTIFICATE_READY, True, Reason.ISSUED),
        ]
        judgements.append(readiness.judge_ready(judgements, SUMMED))
        standing = context.dns.get(fleet.name)
        if standing is None:
            judgements += standings.judge_unmanaged(fleet.status, fleet)
        else:
            judgements.append(standings.judge_fleet(standing, fleet.spec.domain))
            judgements += [standing.weights] if standing.weights else []
        ds_records = standing.ds_records if standing is not None else None
        fields = {
            "ds_records": fleet.status.ds_records if ds_records is None else ds_records,
            "certificate_secret_name": certificate.secret_name or None,
            "exit_nodes": len(context.world.cache[EXIT_NODES].select("fleet", fleet.name)),
        }
        new = statuses.build_status(fleet.status, judgements, fields, generation=fleet.generation, now=context.now)
        await context.write_status(FLEETS, fleet, fleet.status, new)
