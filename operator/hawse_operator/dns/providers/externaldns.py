"""Hand-off to external-dns: one DNSEndpoint object for each fleet, in the operator's namespace.

For Route 53 each address is a record of its own with `setIdentifier` and `aws/weight`; other providers know neither
and get one record set with all addresses. external-dns keeps ownership records of its own and reports nothing back.
Called by reconcile.dns.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator import errors
from hawse_operator.dns.ownership import Owner
from hawse_operator.dns.providers.base import Outcome
from hawse_operator.dns.records import RECORD_TYPES, Plan, Record
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.resources import DNS_ENDPOINTS

JsonObject = dict[str, Any]
WEIGHT_MAX = 255
"""Largest weight of Route 53."""


class ExternalDns:
    """The DNSEndpoint of one fleet."""

    def __init__(
        self,
        client: k8s_client.Client,
        namespace: str,
        *,
        provider: v1alpha1.ExternalDnsProvider,
        labels: Mapping[str, str],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._provider = provider
        self._labels = dict(labels)

    async def sync(self, plan: Plan, owner: Owner) -> Outcome:
        """Apply the object if it differs."""
        wanted = build_endpoint(plan, owner.fleet, self._namespace, provider=self._provider, labels=self._labels)
        if not wanted["spec"]["endpoints"]:
            return Outcome(writes=0)  # nobody has an address: what is there stays
        try:
            known = await self._client.get(DNS_ENDPOINTS, self._namespace, wanted["metadata"]["name"])
        except errors.NotFound:
            known = {}
        labels = (known.get("metadata") or {}).get("labels") or {}
        if known.get("spec") == wanted["spec"] and wanted["metadata"]["labels"].items() <= labels.items():
            return Outcome(writes=0)
        try:
            await self._client.apply(DNS_ENDPOINTS, wanted)
        except errors.NotFound as exc:
            raise errors.DnsRefused(
                "The cluster has no DNSEndpoint objects: install external-dns with its CRD (crd.create, --source=crd)."
            ) from exc
        except errors.Invalid as exc:
            raise errors.DnsRefused(f"The cluster refuses the DNSEndpoint: {exc}") from exc
        except errors.Forbidden as exc:
            raise errors.DnsKeyRefused(f"The operator may not write DNSEndpoints; upgrade the chart: {exc}") from exc
        return Outcome(writes=1)

    async def withdraw(self, domain: str, owner: Owner) -> int:
        """Delete the object; external-dns then removes the records."""
        await self._client.delete(DNS_ENDPOINTS, self._namespace, object_name(owner.fleet))
        return 1


def object_name(fleet: str) -> str:
    """Name of the DNSEndpoint of a fleet."""
    return f"hawse-{fleet}"


def build_endpoint(
    plan: Plan, fleet: str, namespace: str, *, provider: v1alpha1.ExternalDnsProvider, labels: Mapping[str, str]
) -> JsonObject:
    """The object as it should be."""
    entries = _weighted if provider is v1alpha1.ExternalDnsProvider.ROUTE53 else _plain
    own = {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_FLEET: fleet}
    return {
        "apiVersion": DNS_ENDPOINTS.api_version,
        "kind": DNS_ENDPOINTS.kind,
        "metadata": {"name": object_name(fleet), "namespace": namespace, "labels": dict(labels) | own},
        "spec": {"endpoints": [entry for record in plan.records for entry in entries(record, plan.ttl_s)]},
    }


def _plain(record: Record, ttl_s: int) -> Iterator[JsonObject]:
    for version, type_ in RECORD_TYPES.items():
        targets = [str(one.address) for one in record.pool.first_choice(version)]
        if targets:
            yield {"dnsName": record.name, "recordType": type_, "recordTTL": ttl_s, "targets": targets}


def _weighted(record: Record, ttl_s: int) -> Iterator[JsonObject]:
    for version, type_ in RECORD_TYPES.items():
        endpoints = record.pool.first_choice(version)
        largest = max((one.weight for one in endpoints), default=1)
        for one in endpoints:
            weight = one.weight if largest <= WEIGHT_MAX else max(1, one.weight * WEIGHT_MAX // largest)
            yield {
                "dnsName": record.name,
                "recordType": type_,
                "recordTTL": ttl_s,
                "setIdentifier": f"{one.exit_node}-{one.address}",
                "targets": [str(one.address)],
                "providerSpecific": [{"name": "aws/weight", "value": str(weight)}],
            }
