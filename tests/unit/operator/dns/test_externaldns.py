"""The DNSEndpoint that external-dns gets."""

from ipaddress import ip_address

import pytest

from hawse_api import v1alpha1
from hawse_operator.dns.providers.externaldns import build_endpoint
from hawse_operator.dns.records import Endpoint, Plan, Pool, Record

ROUTE53, OTHER = v1alpha1.ExternalDnsProvider.ROUTE53, v1alpha1.ExternalDnsProvider.OTHER
NAME = "*.t.example.com"


def endpoint(last: int, weight: int) -> Endpoint:
    return Endpoint(ip_address(f"192.0.2.{last}"), 443, weight, f"node-{last}")


def build(provider: v1alpha1.ExternalDnsProvider, pool: Pool) -> list[dict[str, object]]:
    plan = Plan("t.example.com", 20, (Record(NAME, pool),))
    body = build_endpoint(plan, "default", "hawse-system", provider=provider, labels={"team": "dns"})
    assert body["metadata"] == {
        "name": "hawse-default",
        "namespace": "hawse-system",
        "labels": {"team": "dns", "app.kubernetes.io/managed-by": "hawse-operator", "hawse.dev/fleet": "default"},
    }
    found: list[dict[str, object]] = body["spec"]["endpoints"]
    return found


def test_route53_gets_a_weighted_record_for_each_address() -> None:
    assert build(ROUTE53, Pool(((endpoint(1, 6), endpoint(2, 3)),)))[0] == {
        "dnsName": NAME,
        "recordType": "A",
        "recordTTL": 20,
        "setIdentifier": "node-1-192.0.2.1",
        "targets": ["192.0.2.1"],
        "providerSpecific": [{"name": "aws/weight", "value": "6"}],
    }


@pytest.mark.parametrize(
    ("weights", "expected"), [((255, 1), ["255", "1"]), ((1_000, 1), ["255", "1"]), ((510, 170), ["255", "85"])]
)
def test_weights_fit_into_route53s_range_and_nobody_is_lost(weights: tuple[int, int], expected: list[str]) -> None:
    entries = build(ROUTE53, Pool(((endpoint(1, weights[0]), endpoint(2, weights[1])),)))
    assert [entry["providerSpecific"][0]["value"] for entry in entries] == expected  # type: ignore[index]  # JSON


def test_others_get_one_record_with_all_addresses() -> None:
    (entry,) = build(OTHER, Pool(((endpoint(1, 6), endpoint(2, 3)), (endpoint(3, 1),))))
    assert entry == {"dnsName": NAME, "recordType": "A", "recordTTL": 20, "targets": ["192.0.2.1", "192.0.2.2"]}


def test_nobody_to_answer_is_no_entry() -> None:
    assert build(OTHER, Pool(())) == []
