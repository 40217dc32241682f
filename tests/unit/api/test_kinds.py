"""Every kind reads what its schema allows, and names everything that it does not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hawse_api import v1alpha1
from support.api_cases import ACCEPTED, NAMES, REFUSED, VALID, ids, spec_with

EXAMPLES = Path(__file__).parents[3] / "examples"
KINDS = {kind.definition.kind: kind for kind in v1alpha1.KINDS}


def read(kind: str, spec: dict[str, Any], name: str = "thing") -> v1alpha1.Resource:
    return KINDS[kind].from_object({"metadata": {"name": name}, "spec": spec})


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_spec_is_accepted_and_survives_a_round_trip(kind: str) -> None:
    resource = read(kind, VALID[kind])
    assert KINDS[kind].from_object(resource.to_object()) == resource


@pytest.mark.parametrize(("kind", "path", "value", "where", "what"), REFUSED, ids=ids(REFUSED))
def test_a_wrong_field_is_refused_with_its_path(kind: str, path: str, value: Any, where: str, what: str) -> None:
    with pytest.raises(v1alpha1.ObjectInvalid) as refusal:
        read(kind, spec_with(kind, path, value))
    said = [problem for problem in refusal.value.problems if problem.path.endswith(where)]
    assert said, refusal.value.problems
    assert any(what in problem.message for problem in said), said


@pytest.mark.parametrize(("kind", "path", "value"), ACCEPTED, ids=ids(ACCEPTED))
def test_a_value_at_the_edge_of_what_is_allowed_is_accepted(kind: str, path: str, value: Any) -> None:
    read(kind, spec_with(kind, path, value))


@pytest.mark.parametrize(
    ("kind", "name", "accepted"),
    NAMES,
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


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_accepted(path: Path) -> None:
    ours = [document for document in yaml.safe_load_all(path.read_text()) if document["kind"] in KINDS]
    assert [KINDS[document["kind"]].from_object(document).name for document in ours]


def test_a_session_names_its_exit_nodes_once_each() -> None:
    links = [
        {"name": name, "region": "r", "pod": pod, "transport": "quic", "since": "2026-03-01T00:00:00Z"}
        for name, pod in (("us", "a"), ("eu", "b"), ("us", "c"))
    ]
    obj = {
        "metadata": {"name": "s"},
        "spec": VALID["AgentSession"],
        "status": {"exitNodes": links, "exitNodeNames": ["old"]},
    }
    status = v1alpha1.AgentSession.from_object(obj).status
    assert status.dump()["exitNodeNames"] == ["eu", "us"]
