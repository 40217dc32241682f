"""Every kind reads what its schema allows, and names everything that it does not."""

import copy
from typing import Any

import pytest

from hawse_api import v1alpha1

VALID: dict[str, dict[str, Any]] = {
    "Tunnel": {
        "host": {"type": "Subdomain", "subdomain": "shop"},
        "target": {"type": "Agent", "agent": {"tokenRef": {"name": "laptop"}}},
    },
    "ExitNode": {"region": "eu-west"},
    "Fleet": {"domain": "tunnels.example.com"},
    "SubdomainReservation": {
        "claimRef": {"namespace": "team-a", "namespaceUID": "6b2c", "name": "shop"},
        "boundAt": "2026-03-01T00:00:00Z",
    },
    "AgentToken": {},
    "AgentSession": {"tokenName": "laptop", "agentID": "a1b2"},
}
KINDS = {kind.definition.kind: kind for kind in v1alpha1.KINDS}
REMOVED = object()


def spec_with(kind: str, path: str, value: Any) -> dict[str, Any]:
    """Return the valid spec of `kind` with one field changed, made or (REMOVED) taken away."""
    spec = copy.deepcopy(VALID[kind])
    *parents, last = path.split(".")
    node = spec
    for part in parents:
        node = node.setdefault(part, {})
    if value is REMOVED:
        del node[last]
    else:
        node[last] = value
    return spec


def read(kind: str, spec: dict[str, Any], name: str = "thing") -> v1alpha1.Resource:
    return KINDS[kind].from_object({"metadata": {"name": name}, "spec": spec})


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_spec_is_accepted_and_survives_a_round_trip(kind: str) -> None:
    resource = read(kind, VALID[kind])
    assert KINDS[kind].from_object(resource.to_object()) == resource


REFUSED = [
    # (kind, field, value, where, what is said)
    ("Tunnel", "colour", "red", "spec.colour", "unknown field"),
    ("Tunnel", "fleet_name", "default", "spec.fleet_name", "unknown field"),
    ("Tunnel", "protocol", "TCP", "spec.protocol", "must be one of 'HTTP'"),
    ("Tunnel", "fleetName", "Default", "spec.fleetName", "must match"),
    ("Tunnel", "fleetName", "x" * 41, "spec.fleetName", "at most 40 characters"),
    ("Tunnel", "host", REMOVED, "spec.host", "is required"),
    ("Tunnel", "host.subdomain", REMOVED, "spec.host", "subdomain belongs to type Subdomain"),
    ("Tunnel", "host.subdomain", "Shop", "spec.host.subdomain", "must match"),
    ("Tunnel", "host.subdomain", "shop.eu", "spec.host.subdomain", "must match"),
    ("Tunnel", "host.subdomain", "-shop", "spec.host.subdomain", "must match"),
    ("Tunnel", "host.subdomain", "shop\n", "spec.host.subdomain", "must match"),
    ("Tunnel", "host.subdomain", "", "spec.host.subdomain", "at least 1 character"),
    ("Tunnel", "host.subdomain", "s" * 64, "spec.host.subdomain", "at most 63 characters"),
    ("Tunnel", "host.subdomain", "xn--pypal-4ve", "spec.host.subdomain", "internationalised names"),
    ("Tunnel", "host.type", "Hostname", "spec.host.type", "must be one of 'Subdomain'"),
    ("Tunnel", "target.agent", REMOVED, "spec.target", "agent belongs to type Agent"),
    ("Tunnel", "target.agent.tokenRef.key", "token", "spec.target.agent.tokenRef.key", "unknown field"),
    ("Tunnel", "target.appProtocol", "HTTPS", "spec.target.appProtocol", "must be one of 'HTTP1' or 'H2C'"),
    ("Tunnel", "target.type", "URL", "spec.target.type", "must be one of 'Agent'"),
    ("Tunnel", "traffic.timeouts.request", "60", "spec.traffic.timeouts.request", "must match"),
    ("Tunnel", "traffic.timeouts.request", "99ms", "spec.traffic.timeouts.request", "between 100ms and 1h"),
    ("Tunnel", "traffic.timeouts.request", "1h1ms", "spec.traffic.timeouts.request", "between 100ms and 1h"),
    ("Tunnel", "traffic.timeouts.idle", "25h", "spec.traffic.timeouts.idle", "between 1s and 24h"),
    ("Tunnel", "reclaimPolicy", "Keep", "spec.reclaimPolicy", "must be one of 'Retain' or 'Delete'"),
    ("Tunnel", "suspend", "true", "spec.suspend", "valid boolean"),
    ("Tunnel", "suspend", 1, "spec.suspend", "valid boolean"),
    ("ExitNode", "region", REMOVED, "spec.region", "is required"),
    ("ExitNode", "region", "eu west", "spec.region", "must match"),
    ("ExitNode", "replicas", -1, "spec.replicas", "greater than or equal to 0"),
    ("ExitNode", "replicas", 101, "spec.replicas", "less than or equal to 100"),
    ("ExitNode", "replicas", "2", "spec.replicas", "valid integer"),
    ("ExitNode", "weight", 100, "spec.weight", "unknown field"),
    ("ExitNode", "deployment", {"type": "Managed"}, "spec.deployment", "managed belongs to type Managed"),
    ("ExitNode", "deployment", {"type": "External"}, "spec.deployment.type", "must be one of 'Managed'"),
    ("ExitNode", "address", {"type": "Service"}, "spec.address", "service belongs to type Service"),
    ("ExitNode", "address", {"type": "PodIPs", "service": {}}, "spec.address", "service belongs to type Service"),
    ("ExitNode", "address", {"type": "PodIPs", "static": {"ips": ["::1"]}}, "spec.address", "static belongs to"),
    ("ExitNode", "address", {"type": "Static", "static": {"ips": []}}, "spec.address.static.ips", "at least 1 item"),
    ("ExitNode", "address", {"type": "Static", "static": {"ips": ["1.2.3"]}}, "spec.address.static.ips[0]", "IPv4 or"),
    ("ExitNode", "address", {"type": "Static", "static": {"ips": ["fe80::1%eth0"]}}, "static.ips[0]", "IPv4 or IPv6"),
    ("ExitNode", "address", {"type": "Service", "service": {"type": "ExternalName"}}, "address.service.type", "one of"),
    ("ExitNode", "shutdown.drainTimeout", "0s", "spec.shutdown.drainTimeout", "between 1s and 1h"),
    ("Fleet", "domain", "localhost", "spec.domain", "must match"),
    ("Fleet", "domain", "Tunnels.example.com", "spec.domain", "must match"),
    ("Fleet", "domain", "tunnels.example.com.", "spec.domain", "must match"),
    ("Fleet", "domain", f"{'a' * 64}.com", "spec.domain", "must match"),
    ("Fleet", "domain", ".".join(["a" * 62] * 4), "spec.domain", "at most 189 characters"),
    ("Fleet", "listeners.https", 0, "spec.listeners.https", "greater than or equal to 1"),
    ("Fleet", "listeners.agents", 65536, "spec.listeners.agents", "less than or equal to 65535"),
    ("Fleet", "certificate", {"type": "Secret"}, "spec.certificate", "secret belongs to type Secret"),
    ("Fleet", "certificate", {"type": "SelfSigned", "secret": {"name": "x"}}, "spec.certificate", "secret belongs to"),
    ("Fleet", "certificate", {"type": "Issuer"}, "spec.certificate.type", "must be one of"),
    ("Fleet", "allowedNamespaces", {"from": "Selector"}, "spec.allowedNamespaces", "selector belongs to from Selector"),
    ("Fleet", "allowedNamespaces", {"from": "All", "selector": {}}, "spec.allowedNamespaces", "selector belongs to"),
    ("Fleet", "allowedNamespaces", {"from": "Same"}, "spec.allowedNamespaces.from", "must be one of"),
    (
        "Fleet",
        "allowedNamespaces",
        {"from": "Selector", "selector": {"matchExpressions": [{"key": "team", "operator": "In"}]}},
        "spec.allowedNamespaces.selector.matchExpressions[0]",
        "values belong to the operators In and NotIn",
    ),
    ("Fleet", "reservedNames", ["under_score"], "spec.reservedNames[0]", "must match"),
    ("Fleet", "tombstoneFor", "forever", "spec.tombstoneFor", "must match"),
    ("SubdomainReservation", "claimRef", REMOVED, "spec.claimRef", "is required"),
    ("SubdomainReservation", "claimRef.namespaceUID", REMOVED, "spec.claimRef.namespaceUID", "is required"),
    ("SubdomainReservation", "holderGeneration", 0, "spec.holderGeneration", "greater than or equal to 1"),
    ("SubdomainReservation", "boundAt", "yesterday", "spec.boundAt", "valid datetime"),
    ("SubdomainReservation", "boundAt", "2026-03-01T00:00:00", "spec.boundAt", "timezone"),
    ("SubdomainReservation", "expiresAt", "2026-03-01T00:00:00Z", "spec", "expiresAt belongs to a released name"),
    ("AgentToken", "expiry", {"type": "TTL"}, "spec.expiry", "ttl belongs to type TTL"),
    ("AgentToken", "expiry", {"type": "Never", "ttl": "1h"}, "spec.expiry", "ttl belongs to type TTL"),
    ("AgentToken", "expiry", {"type": "Time", "ttl": "1h"}, "spec.expiry", "time belongs to type Time"),
    ("AgentToken", "expiry", {"type": "TTL", "ttl": "59s"}, "spec.expiry.ttl", "between 1m and 87600h"),
    ("AgentToken", "uses", "Twice", "spec.uses", "must be one of 'Once' or 'Unlimited'"),
    ("AgentToken", "maxAgents", 0, "spec.maxAgents", "greater than or equal to 1"),
    ("AgentToken", "maxAgents", 101, "spec.maxAgents", "less than or equal to 100"),
    ("AgentSession", "agentID", "../x", "spec.agentID", "must match"),
    ("AgentSession", "tokenName", REMOVED, "spec.tokenName", "is required"),
]


@pytest.mark.parametrize(
    ("kind", "path", "value", "where", "what"), REFUSED, ids=[f"{c[0]}-{c[1]}-{c[2]!s:.24}" for c in REFUSED]
)
def test_a_wrong_field_is_refused_with_its_path(kind: str, path: str, value: Any, where: str, what: str) -> None:
    with pytest.raises(v1alpha1.ObjectInvalid) as refusal:
        read(kind, spec_with(kind, path, value))
    said = [problem for problem in refusal.value.problems if problem.path.endswith(where)]
    assert said, refusal.value.problems
    assert any(what in problem.message for problem in said), said


ACCEPTED = [
    ("Tunnel", "host.subdomain", "0-shop-9"),
    ("Tunnel", "host.subdomain", "s" * 63),
    ("Tunnel", "target.appProtocol", "H2C"),
    ("Tunnel", "traffic", {}),
    ("Tunnel", "traffic.timeouts.request", "1h"),
    ("Tunnel", "suspend", True),
    ("ExitNode", "replicas", 0),
    ("ExitNode", "replicas", 3),
    ("ExitNode", "deployment", {"type": "Managed", "managed": {"podTemplatePatch": {"spec": {"anything": [1]}}}}),
    ("ExitNode", "deployment", {"type": "Managed", "managed": {"resources": {"limits": {"memory": "1Gi", "cpu": 2}}}}),
    ("ExitNode", "address", {"type": "Service", "service": {}}),
    ("ExitNode", "address", {"type": "Static", "static": {"ips": ["203.0.113.7", "2001:db8::7"]}}),
    ("Fleet", "certificate", {"type": "Secret", "secret": {"name": "wildcard-tls"}}),
    ("Fleet", "allowedNamespaces", {"from": "Selector", "selector": {}}),
    ("Fleet", "reservedNames", []),
    ("Fleet", "tombstoneFor", "0s"),
    ("SubdomainReservation", "releasedAt", "2026-03-01T00:00:00+02:00"),
    ("AgentToken", "expiry", {"type": "Never"}),
    ("AgentToken", "expiry", {"type": "Time", "time": "2027-01-01T00:00:00Z"}),
    ("AgentToken", "maxAgents", 100),
]


@pytest.mark.parametrize(("kind", "path", "value"), ACCEPTED, ids=[f"{c[0]}-{c[1]}-{c[2]!s:.24}" for c in ACCEPTED])
def test_a_value_at_the_edge_of_what_is_allowed_is_accepted(kind: str, path: str, value: Any) -> None:
    read(kind, spec_with(kind, path, value))


@pytest.mark.parametrize(
    ("kind", "name", "accepted"),
    [
        ("Fleet", "f" * 40, True),
        ("Fleet", "f" * 41, False),
        ("Fleet", "1st", False),
        ("ExitNode", "eu-west-1", True),
        ("ExitNode", "eu.west", False),
        ("ExitNode", "eu-", False),
        ("AgentToken", "t" * 63, True),
        ("AgentToken", "t" * 64, False),
        ("SubdomainReservation", "shop.tunnels.example.com", True),
    ],
)
def test_the_name_of_an_object_is_bounded_where_children_carry_it(kind: str, name: str, accepted: bool) -> None:
    if accepted:
        assert read(kind, VALID[kind], name).name == name
        return
    with pytest.raises(v1alpha1.ObjectInvalid, match=r"metadata\.name must have at most"):
        read(kind, VALID[kind], name)


def test_all_errors_of_an_object_are_named_at_once() -> None:
    spec = {"host": {"type": "Subdomain"}, "target": {"type": "Nowhere"}, "colour": "red", "suspend": 3}
    with pytest.raises(v1alpha1.ObjectInvalid) as refusal:
        read("Tunnel", spec)
    assert {problem.path for problem in refusal.value.problems} == {
        "spec.host",
        "spec.target.type",
        "spec.colour",
        "spec.suspend",
    }


def test_an_object_of_another_kind_is_refused() -> None:
    with pytest.raises(v1alpha1.ObjectInvalid, match=r"expected hawse\.dev/v1alpha1 Tunnel"):
        v1alpha1.Tunnel.from_object({"apiVersion": "hawse.dev/v1", "kind": "Fleet", "metadata": {"name": "x"}})


def test_an_object_without_a_name_is_refused() -> None:
    with pytest.raises(v1alpha1.ObjectInvalid, match=r"metadata\.name: is required"):
        v1alpha1.AgentToken.from_object({"metadata": {}, "spec": {}})


def test_unknown_fields_of_a_status_are_passed_over() -> None:
    obj = {"metadata": {"name": "shop"}, "spec": VALID["Tunnel"], "status": {"hostname": "shop.example.com", "new": 1}}
    assert v1alpha1.Tunnel.from_object(obj).status == v1alpha1.TunnelStatus(hostname="shop.example.com")


def test_a_status_that_cannot_be_read_counts_as_empty() -> None:
    obj = {"metadata": {"name": "shop"}, "spec": VALID["Tunnel"], "status": {"hostname": 7}}
    assert v1alpha1.Tunnel.from_object(obj).status == v1alpha1.TunnelStatus()


def test_a_broken_status_does_not_hide_a_broken_name() -> None:
    obj = {"metadata": {"name": "F" * 50}, "spec": VALID["Fleet"], "status": {"exitNodes": "many"}}
    with pytest.raises(v1alpha1.ObjectInvalid, match=r"metadata\.name must have"):
        v1alpha1.Fleet.from_object(obj)


def test_models_are_frozen() -> None:
    tunnel = read("Tunnel", VALID["Tunnel"])
    with pytest.raises(ValueError, match="frozen"):
        tunnel.spec.suspend = True  # type: ignore[attr-defined]


def test_defaults_are_those_of_the_documentation() -> None:
    fleet = v1alpha1.Fleet.from_object({"metadata": {"name": "f"}, "spec": VALID["Fleet"]}).spec
    token = v1alpha1.AgentToken.from_object({"metadata": {"name": "t"}}).spec
    tunnel = v1alpha1.Tunnel.from_object({"metadata": {"name": "t"}, "spec": VALID["Tunnel"]}).spec
    node = v1alpha1.ExitNode.from_object({"metadata": {"name": "x"}, "spec": VALID["ExitNode"]}).spec
    assert (fleet.listeners.https, fleet.listeners.agents, fleet.tombstone_for) == (443, 7443, "2160h")
    assert not fleet.allowed_namespaces.allows({"any": "label"})
    assert (token.expiry.ttl, token.uses, token.max_agents) == ("24h", "Unlimited", 1)
    assert (tunnel.fleet_name, tunnel.protocol, tunnel.reclaim_policy, tunnel.suspend) == (
        "default",
        "HTTP",
        "Retain",
        False,
    )
    assert (tunnel.traffic.timeouts.request, tunnel.traffic.timeouts.idle) == ("60s", "1h")
    assert (node.replicas, node.address.type, node.shutdown.drain_timeout) == (1, "PodIPs", "60s")


@pytest.mark.parametrize(
    ("allowed", "labels", "expected"),
    [
        ({"from": "All"}, {}, True),
        ({"from": "None"}, {"a": "b"}, False),
        ({"from": "Selector", "selector": {}}, {}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}, {"a": "b", "c": "d"}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}, {"a": "x"}, False),
        ({"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}, {}, False),
    ],
)
def test_a_fleet_allows_the_namespaces_it_selects(
    allowed: dict[str, Any], labels: dict[str, str], expected: bool
) -> None:
    spec = VALID["Fleet"] | {"allowedNamespaces": allowed}
    fleet = v1alpha1.Fleet.from_object({"metadata": {"name": "f"}, "spec": spec})
    assert fleet.spec.allowed_namespaces.allows(labels) is expected


def test_a_reservation_is_released_when_it_says_since_when() -> None:
    held = v1alpha1.SubdomainReservation.from_object(
        {"metadata": {"name": "a.b"}, "spec": VALID["SubdomainReservation"]}
    )
    spec = VALID["SubdomainReservation"] | {"releasedAt": "2026-04-01T00:00:00Z"}
    let_go = v1alpha1.SubdomainReservation.from_object({"metadata": {"name": "a.b"}, "spec": spec})
    assert (held.spec.is_released, let_go.spec.is_released) == (False, True)
