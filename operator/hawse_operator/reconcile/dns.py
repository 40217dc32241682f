"""Reconcile the DNS of fleets: gather, plan, have a provider carry it out, tell the objects how it went.

One key for each fleet; its kind is none of the API's. Woken by what decides (exit nodes, their pods and addresses,
placements, the Fleet), and on a timer, since the difference is taken against the zone: what somebody removed comes
back. What this operator published is taken back when the Fleet goes or changes its type while it leads. Called by the
workers.
"""

import ipaddress
import logging
from dataclasses import dataclass, replace

from pydantic import SecretStr

from hawse_api import names, v1alpha1
from hawse_operator import errors, telemetry
from hawse_operator.dns import plan as planning
from hawse_operator.dns import standing as standings
from hawse_operator.dns.ownership import Owner
from hawse_operator.dns.providers import base
from hawse_operator.dns.providers.externaldns import ExternalDns
from hawse_operator.dns.providers.powerdns import PowerDns, Server
from hawse_operator.dns.providers.rfc2136 import Rfc2136, TsigKey
from hawse_operator.dns.records import Plan
from hawse_operator.dns.standing import Standing
from hawse_operator.k8s.resources import EXIT_NODES, FLEETS, NAMESPACES, SECRETS, TUNNELS
from hawse_operator.manifests import secrets
from hawse_operator.policies import exitnodes, hosts
from hawse_operator.reconcile.balancers import LEAST_S, Balancers
from hawse_operator.reconcile.cache import Key, key_of
from hawse_operator.reconcile.context import Context
from hawse_operator.reconcile.dependents import SOON_S

logger = logging.getLogger(__name__)

Reason = names.Reason
RETRY_S = 5.0
"""A server that did not answer is asked again so soon."""
API_KEY = "api-key"
TSIG = ("name", "algorithm", "secret")
REASONS: tuple[tuple[type[errors.DnsError], names.Reason], ...] = (
    (errors.DnsUnavailable, Reason.SERVER_UNREACHABLE),
    (errors.DnsKeyRefused, Reason.KEY_REFUSED),
    (errors.DnsRefused, Reason.REFUSED_BY_SERVER),
)


class KeyMissingError(Exception):
    """The Secret with the server's key is not there or lacks an entry; the message says which."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where a fleet's records are."""

    type: v1alpha1.DnsType
    domain: str
    provider: base.Provider


class DnsReconciler:
    """Remembers where it published in this term, to take it back."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._published: dict[str, Published] = {}
        self._balancers: dict[str, Balancers] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One fleet; returns seconds until the zone is compared again."""
        context = self._context
        fleet = context.world.fleets().get(key.name)
        if fleet is None or fleet.is_deleting or fleet.spec.dns.type is v1alpha1.DnsType.NONE:
            await self._withdraw_unless(key.name, None)
            self._tell(key.name, None)
            return None
        await self._withdraw_unless(key.name, (fleet.spec.dns.type, fleet.spec.domain))
        owner = self._owner(fleet)
        if owner is None:
            return RETRY_S  # the namespaces are not listed yet
        balancers = await self._resolve(fleet)
        if context.settling_s and balancers.problems():
            return LEAST_S  # a new leader takes no exit node out for a name server that is slow
        plan = planning.build_plan(self._gather(fleet))
        standing = await self._carry_out(fleet, plan, owner)
        self._tell(key.name, replace(standing, weights=standings.judge_weights(fleet.spec.dns)))
        unreachable = standing.reason is Reason.SERVER_UNREACHABLE
        again_s = RETRY_S if unreachable else context.settings.dns_poll_s
        return min(again_s, max(LEAST_S, due_s)) if (due_s := balancers.again_s()) is not None else again_s

    async def _carry_out(self, fleet: v1alpha1.Fleet, plan: Plan, owner: Owner) -> Standing:
        try:
            provider = await self._provider(fleet)
            outcome = await provider.sync(plan, owner)
        except KeyMissingError as exc:
            return Standing(False, Reason.KEY_NOT_FOUND, str(exc))
        except errors.DnsError as exc:
            reason = next(reason for type_, reason in REASONS if isinstance(exc, type_))
            return Standing(False, reason, str(exc)[:1_000])
        self._published[fleet.name] = Published(fleet.spec.dns.type, plan.domain, provider)
        telemetry.DNS_WRITES.labels(fleet.name).inc(outcome.writes)
        if outcome.writes:
            logger.info("DNS written", extra={"fleet": fleet.name, "record_sets": outcome.writes})
        return Standing(
            True,
            Reason.PUBLISHED,
            " ".join(outcome.hints),
            foreign=outcome.foreign,
            published=frozenset(record.name for record in plan.records),
            unknown=frozenset(record.name for record in plan.records if not record.pool.tiers),
            ds_records=outcome.ds_records,
        )

    async def _withdraw_unless(self, fleet: str, wanted: tuple[v1alpha1.DnsType, str] | None) -> None:
        """Take records back where they are no longer wanted; a server that is away keeps them, which is logged."""
        published = self._published.get(fleet)
        if published is None or (published.type, published.domain) == wanted:
            return
        owner = Owner(self._cluster_uid(), fleet)
        try:
            removed = await published.provider.withdraw(published.domain, owner)
        except errors.DnsError as exc:
            logger.warning("DNS records stay; remove them by hand", extra={"fleet": fleet, "error": str(exc)})
        else:
            logger.info("DNS withdrawn", extra={"fleet": fleet, "record_sets": removed})
        del self._published[fleet]

    # --- gather ------------------------------------------------------------------------------------------------------
    async def _resolve(self, fleet: v1alpha1.Fleet) -> Balancers:
        """Load balancers that report a name: where it leads now. One below the fleet's domain would lead to itself."""
        context = self._context
        balancers = self._balancers.setdefault(fleet.name, Balancers(context.resolver, lambda: context.now))
        addresses = (context.world.addresses(one) for one in context.world.exit_nodes(fleet.name))
        found = {name for some in addresses for name in exitnodes.names_among(some)}
        before = balancers.problems()
        await balancers.refresh([name for name in found if not hosts.is_within(name, fleet.spec.domain)])
        if (problems := balancers.problems()) and problems != before:
            extra = {"fleet": fleet.name, "problems": problems}
            logger.warning("no address is known of a load balancer that reports a name", extra=extra)
        if context.world.put_resolved(fleet.name, balancers.addresses()):
            for resource, index in ((EXIT_NODES, "fleet"), (TUNNELS, "placed")):
                for body in context.world.cache[resource].select(index, fleet.name):
                    context.queue.add(key_of(resource, body), delay_s=SOON_S)
        return balancers

    def _gather(self, fleet: v1alpha1.Fleet) -> planning.PlanInput:
        dns = fleet.spec.dns
        return planning.PlanInput(
            domain=fleet.spec.domain,
            ttl_s=max(1, round(v1alpha1.duration_s(dns.ttl))),
            nodes=self._context.world.dns_nodes(fleet),
            near=tuple(
                planning.Near(near.region, tuple(ipaddress.ip_network(cidr) for cidr in near.cidrs))
                for near in dns.client_networks
            ),
            placed=self._placed(fleet),
            sticky=dns.sticky,
        )

    def _placed(self, fleet: v1alpha1.Fleet) -> tuple[planning.Placed, ...]:
        """Tunnels with a placement, under the names that they hold."""
        world = self._context.world
        result = []
        for tunnel in world.placed_tunnels(fleet.name):
            placement, held = tunnel.spec.placement, world.reservation(tunnel.status.reservation_name or "")
            if placement is None or held is None or held.spec.is_released or held.spec.claim_ref.uid != tunnel.uid:
                continue
            name = hosts.dns_name_of(held.name, held.spec.claim_ref.namespace_uid, fleet.spec.domain)
            regions = tuple((region.name, region.weight) for region in placement.regions)
            result.append(planning.Placed(tunnel.uid, name, placement.policy, regions, placement.sticky))
        return tuple(result)

    def _owner(self, fleet: v1alpha1.Fleet) -> Owner | None:
        uid = self._cluster_uid()
        return Owner(uid, fleet.name) if uid else None

    def _cluster_uid(self) -> str:
        """UID of kube-system: what is commonly taken for the cluster's own."""
        body = self._context.world.cache[NAMESPACES].get(Key(NAMESPACES.plural, "", "kube-system"))
        return str(body["metadata"]["uid"]) if body is not None else ""

    # --- providers ---------------------------------------------------------------------------------------------------
    async def _provider(self, fleet: v1alpha1.Fleet) -> base.Provider:
        dns = fleet.spec.dns
        if dns.power_dns is not None:
            secret = await self._secret(dns.power_dns.api_key_ref.name, (API_KEY,))
            return PowerDns(
                [Server(server.name, server.url) for server in dns.power_dns.servers],
                nameservers=dns.power_dns.nameservers,
                key=secret[API_KEY],
                known_ds=fleet.status.ds_records,
            )
        if dns.rfc2136 is not None:
            secret = await self._secret(dns.rfc2136.tsig_key_ref.name, TSIG)
            name, algorithm = (secret[entry].get_secret_value() for entry in TSIG[:2])
            return Rfc2136(dns.rfc2136.server, dns.rfc2136.port, TsigKey(name, algorithm.lower(), secret[TSIG[2]]))
        handoff = dns.external_dns or v1alpha1.ExternalDns()
        return ExternalDns(
            self._context.client,
            self._context.settings.pod_namespace,
            provider=handoff.provider,
            labels=handoff.labels or {},
        )

    async def _secret(self, name: str, entries: tuple[str, ...]) -> dict[str, SecretStr]:
        namespace = self._context.settings.pod_namespace
        wanted = " and ".join(f'"{entry}"' for entry in entries)
        try:
            body = await self._context.client.get(SECRETS, namespace, name)
        except errors.NotFound as exc:
            raise KeyMissingError(
                f'Secret "{name}" does not exist in namespace {namespace}. Create it with {wanted}.'
            ) from exc
        found = {
            entry: SecretStr(secrets.read_data(body, entry).decode("utf-8", "replace").strip()) for entry in entries
        }
        missing = [entry for entry, value in found.items() if not value.get_secret_value()]
        if missing:
            raise KeyMissingError(f'Secret "{name}" in namespace {namespace} lacks {", ".join(missing)}.')
        return found

    # --- tell --------------------------------------------------------------------------------------------------------
    def _tell(self, fleet: str, standing: Standing | None) -> None:
        """Have the statuses written again if they have to say something else now."""
        context = self._context
        before = context.dns.get(fleet)
        if before == standing:
            return
        if standing is None:
            context.dns.pop(fleet, None)
            telemetry.forget(telemetry.DNS_READY, fleet)
        else:
            context.dns[fleet] = standing
            telemetry.DNS_READY.labels(fleet).set(1 if standing.holds else 0)
            logger.info("DNS stands", extra={"fleet": fleet, "reason": standing.reason, "why": standing.message})
        context.queue.add(Key(FLEETS.plural, "", fleet), delay_s=0.0)
        tunnels = "fleet" if standings.differ_for_all(before, standing) else "placed"
        for resource, index in ((EXIT_NODES, "fleet"), (TUNNELS, tunnels)):
            for body in context.world.cache[resource].select(index, fleet):
                context.queue.add(key_of(resource, body), delay_s=SOON_S)
