"""The chart's operator with real exit nodes: Programmed means in force, and a new leader does not make it flap."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cluster import new_cluster
from support.operator import FLEET, SYSTEM, Api, exit_node, namespace, token, tunnel, wait_for

pytestmark = pytest.mark.timeout(900)  # a cold machine builds Helm first
ROOT = Path(__file__).parents[2]
REGIONS = {"eu-1": "eu-west", "us-1": "us-east"}


def placed(name: str, region: str) -> dict[str, Any]:
    managed = {"nodeSelector": {"topology.kubernetes.io/region": region}}
    return exit_node(name, region, deployment={"type": "Managed", "managed": managed})


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with new_cluster(tmp_path_factory.mktemp("serves")) as cluster:
        api = Api(cluster)
        api.apply(namespace(SYSTEM))
        images = "image.tag=,exitNode.image.tag="
        chart = str(ROOT / "charts" / "hawse")
        cluster.helm("install", "hawse", chart, "-n", SYSTEM, "--set", f"replicas=2,{images}", "--timeout", "90s")
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/hawse-operator", "--timeout=90s", timeout_s=100)
        api.apply(FLEET, *(placed(name, region) for name, region in REGIONS.items()))
        api.apply(namespace("team-a"), token("laptop", "team-a"), tunnel("shop", "team-a"))
        for name in REGIONS:
            wait_for(f"{name} is ready", lambda name=name: is_ready(api, name), timeout_s=90.0)
        yield api


def is_ready(api: Api, exit_node_name: str) -> bool:
    return api.condition("exitnode", exit_node_name, "Ready").get("status") == "True"


def leader(api: Api) -> str:
    """The pod that has the label by which exit nodes find the operator."""
    pods = api.list("pods", "-n", SYSTEM, "-l", "hawse.dev/leader=true")
    return str(pods[0]["metadata"]["name"]) if len(pods) == 1 else ""


def conditions(api: Api) -> list[Any]:
    found = api.get("tunnel", "shop", "team-a")
    assert found is not None
    result: list[Any] = found["status"]["conditions"]
    return result


def test_a_tunnel_is_programmed_on_every_region(api: Api) -> None:
    programmed = api.wait_reason("tunnel", "shop", "Programmed", "Programmed", "team-a")
    assert programmed["message"] == "In force in eu-west, us-east."
    assert api.condition("tunnel", "shop", "Ready", "team-a")["status"] == "True"
    found = api.get("tunnel", "shop", "team-a")
    assert found is not None
    regions = found["status"]["regions"]
    told = [(region["name"], region["ready"], region["weight"], region["effectiveWeight"]) for region in regions]
    assert told == [("eu-west", True, 100, 100), ("us-east", True, 100, 100)]
    assert all(len(region["addresses"]) == 1 for region in regions)
    events = [event for event in api.list("events", "-n", "team-a") if event["involvedObject"]["name"] == "shop"]
    assert "Ready" in {event["reason"] for event in events}
    assert len(events) <= 3, json.dumps(events)


def test_an_edit_reaches_the_exit_nodes(api: Api) -> None:
    api.apply(tunnel("shop", "team-a", traffic={"timeouts": {"request": "5s"}}))

    def is_in_force() -> bool:
        item = api.condition("tunnel", "shop", "Programmed", "team-a")
        return (item["observedGeneration"], item["status"]) == (2, "True")

    wait_for("generation 2 is in force", is_in_force)


def test_a_new_leader_serves_and_no_condition_flaps(api: Api) -> None:
    api.wait_reason("tunnel", "shop", "Ready", "Ready", "team-a")
    before, old = conditions(api), wait_for("a leader", lambda: leader(api))
    api.delete("pod", old, SYSTEM)
    wait_for("another leader", lambda: leader(api) not in {"", old}, timeout_s=30.0)
    api.apply(tunnel("second", "team-a"))
    api.wait_reason("tunnel", "second", "Programmed", "Programmed", "team-a")
    assert conditions(api) == before


def test_an_exit_node_pod_that_is_replaced_serves_again(api: Api) -> None:
    def pods() -> list[dict[str, Any]]:
        return api.list("pods", "-n", SYSTEM, "-l", "hawse.dev/exit-node=eu-1")

    (old,) = pods()
    api.delete("pod", old["metadata"]["name"], SYSTEM)

    def is_replaced() -> bool:
        names = {pod["metadata"]["name"] for pod in pods()}
        addresses = (api.get("exitnode", "eu-1") or {})["status"].get("addresses")
        return old["metadata"]["name"] not in names and bool(addresses) and is_ready(api, "eu-1")

    wait_for("the new pod is ready", is_replaced, timeout_s=60.0)
    api.wait_reason("tunnel", "shop", "Programmed", "Programmed", "team-a")
