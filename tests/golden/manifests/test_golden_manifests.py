"""An ExitNode in, its children out. HAWSE_REGEN=1 rewrites the second; review it like code."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from hawse_api import v1alpha1
from hawse_operator.manifests import deployments, metadata, networkpolicies, scaling, services
from hawse_operator.policies import exitnodes

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*.in.yaml"))
FLEET = {"metadata": {"name": "default"}, "spec": {"domain": "tunnels.example.com"}}


class Plain(yaml.SafeDumper):
    """Without anchors: a reader sees each label where it is."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def build(case: dict[str, Any]) -> list[dict[str, Any]]:
    exit_node = v1alpha1.ExitNode.from_object(case["exitNode"])
    fleet = v1alpha1.Fleet.from_object(case.get("fleet", FLEET))
    tcp_ports = case.get("tcpPorts", ())
    found = [
        deployments.build_deployment(
            exit_node,
            namespace="hawse-system",
            image="hawse/exitnode:0.1.0",
            min_drain_s=exitnodes.min_drain_s(exit_node, fleet),
        ),
        services.build_service(exit_node, fleet, namespace="hawse-system", tcp_ports=tcp_ports),
        networkpolicies.build_network_policy(exit_node, namespace="hawse-system", tcp_ports=tcp_ports),
        scaling.build_autoscaler(exit_node, namespace="hawse-system"),
        scaling.build_disruption_budget(exit_node, namespace="hawse-system"),
    ]
    return [body for body in found if body is not None]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_an_exit_node_becomes_its_children(case: Path) -> None:
    result = build(yaml.safe_load(case.read_text()))
    golden = case.with_name(case.name.replace(".in.", ".out."))
    if os.environ.get("HAWSE_REGEN"):
        golden.write_text(yaml.dump_all(result, Dumper=Plain))
    assert result == list(yaml.safe_load_all(golden.read_text()))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_every_pod_keeps_the_restricted_standard(case: Path) -> None:
    """Pod Security Standards, profile restricted: what it asks of pod and container."""
    pod = build(yaml.safe_load(case.read_text()))[0]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    own = next(container for container in pod["containers"] if container["name"] == "exitnode")
    assert own["securityContext"]["allowPrivilegeEscalation"] is False
    assert own["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"projected", "configMap", "emptyDir"}


def test_any_change_of_a_manifest_changes_its_fingerprint() -> None:
    body = {"metadata": {"name": "a"}, "spec": {"x": 1, "y": 2}}
    marked = metadata.with_fingerprint(body)
    less = metadata.with_fingerprint({"metadata": {"name": "a"}, "spec": {"x": 1}})
    assert marked == metadata.with_fingerprint(body)
    assert marked["metadata"]["annotations"] != less["metadata"]["annotations"]
    assert "annotations" not in body["metadata"]


def test_the_replicas_that_an_autoscaler_chose_are_no_part_of_the_fingerprint() -> None:
    """And are applied over the version alone that they were read from."""
    built = metadata.with_fingerprint({"metadata": {"name": "a"}, "spec": {"x": 1}})
    live = {"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"x": 1, "replicas": 4}}
    first, later = scaling.with_replicas(built, 2, None), scaling.with_replicas(built, 4, live)
    assert (first["spec"]["replicas"], later["spec"]["replicas"]) == (2, 4)
    assert metadata.has_fingerprint_of(first, later)
    assert "resourceVersion" not in first["metadata"]
    assert later["metadata"]["resourceVersion"] == "7"
    assert "replicas" not in built["spec"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, ()),
        ({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}}, ()),
        (
            {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.8"}, {"hostname": "lb.example"}]}}},
            ("203.0.113.8", "lb.example"),
        ),
        ({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1"}}, ("10.0.0.1",)),
        ({"spec": {"type": "ClusterIP", "clusterIP": "None"}}, ()),
    ],
)
def test_a_service_is_reached_where_its_load_balancer_says(
    body: dict[str, Any] | None, expected: tuple[str, ...]
) -> None:
    assert services.addresses_of_service(body) == expected
