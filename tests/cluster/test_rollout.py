"""A rolling update of every exit node while visitors come by name: nobody fails, whether new or connected.

Visitors resolve as people's machines do: at the fleet's PowerDNS, and again only when the TTL is over.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from hawse_api import names
from support import powerdns
from support.by_name import TTL_S, ByName, manage_dns
from support.operator import SYSTEM, Api, exit_node, wait_for
from support.whole import HOST, Laptop, installed, laptop, pods_of

pytestmark = pytest.mark.timeout(600)  # a cold machine builds Helm first
REGIONS = {"eu-1": "eu-west", "us-1": "us-east"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[powerdns.PowerDns]:
    with powerdns.running(tmp_path_factory.mktemp("dns")) as server:
        yield server


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, server: powerdns.PowerDns) -> Iterator[Api]:
    with installed(tmp_path_factory.mktemp("rollout"), regions=REGIONS) as api:
        manage_dns(api, server)
        yield api


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory, api: Api) -> Iterator[Laptop]:
    """The agent, where every exit node has the first version and the time to stop that follows from the TTL."""
    api.apply(*(updated(name, region, 1) for name, region in REGIONS.items()))
    settle(api)
    with laptop(tmp_path_factory.mktemp("laptop"), api) as one:
        yield one


def updated(name: str, region: str, version: int) -> dict[str, Any]:
    """The ExitNode with another pod template, and the time to stop that follows from the TTL."""
    annotations = {"metadata": {"annotations": {"example.com/version": str(version)}}}
    managed = {"podTemplatePatch": annotations}
    return exit_node(name, region, deployment={"type": "Managed", "managed": managed}, shutdown={"drainTimeout": "20s"})


def uids(api: Api) -> set[str]:
    return {pod["metadata"]["uid"] for name in REGIONS for pod in pods_of(api, name)}


@pytest.mark.usefixtures("at_home")
def test_a_rolling_update_of_all_exit_nodes_fails_nobody(api: Api, server: powerdns.PowerDns) -> None:
    before = uids(api)
    wait_for("a name to visit", lambda: server.addresses(HOST))
    with ByName(server, keeps_connection=False) as anew, ByName(server, keeps_connection=True) as connected:
        time.sleep(2.0)
        began = time.monotonic()
        api.apply(*(updated(name, region, 2) for name, region in REGIONS.items()))
        wait_for("every pod is another one", lambda: len(now := uids(api)) == 2 and not now & before, timeout_s=180)
        took_s = time.monotonic() - began
        time.sleep(TTL_S + 2.0)
    visits = sum(anew.seen.values()) + sum(connected.seen.values())
    print(
        f"\nrolling update of {len(REGIONS)} exit nodes in {took_s:.0f} s: {visits} visits", anew.seen, connected.seen
    )
    assert anew.failures + connected.failures == []
    seen = {*anew.seen, *connected.seen}
    assert len(seen) >= 3, f"visitors came to old and new pods: {sorted(seen)}"


@pytest.mark.usefixtures("at_home")
def test_scaling_up_and_down_and_a_rollout_in_between_fail_nobody(api: Api, server: powerdns.PowerDns) -> None:
    """An ExitNode of two pods: its columns, its budget, its addresses; then one after the other goes."""
    name = "eu-1"
    with ByName(server, keeps_connection=False) as anew, ByName(server, keeps_connection=True) as connected:
        api.cluster.kubectl("scale", f"exitnode/{name}", "--replicas=2")
        wait_for("two pods serve", lambda: counted(api, name) == (2, 2, 2) and ready(api, name), timeout_s=120)
        pods = pods_of(api, name)
        status = (api.get("exitnode", name) or {})["status"]
        assert status["addresses"] == sorted(pod["status"]["podIP"] for pod in pods)
        assert status["effectiveWeight"] == 100
        assert len({pod["spec"]["nodeName"] for pod in pods}) == 2, "pods are spread over nodes"
        wait_for("the budget lets one go", lambda: evictable(api, name) == 1)
        wait_for("DNS leads to both", lambda: set(status["addresses"]) <= set(server.count([HOST] * 200)))
        time.sleep(TTL_S)

        api.apply(updated(name, REGIONS[name], 3))
        wait_for("two new pods serve", lambda: serving(api, name, "3") == 2, timeout_s=120)
        api.wait_reason("exitnode", name, "Draining", "PodsStopping")
        api.cluster.kubectl("scale", f"exitnode/{name}", "--replicas=1")
        wait_for("one pod is left", lambda: len(pods_of(api, name)) == 1, timeout_s=120)
        api.wait_reason("exitnode", name, "Draining", "NotDraining")
        assert counted(api, name) == (1, 1, 1)
        time.sleep(TTL_S + 2.0)
    print(f"\nscaled up, rolled and scaled down: {anew.seen} {connected.seen}")
    assert anew.failures + connected.failures == []


def counted(api: Api, name: str) -> tuple[int, ...]:
    """Pods that there should be, that are there, and that serve."""
    status: dict[str, Any] = (api.get("exitnode", name) or {}).get("status") or {}
    return tuple(status.get(field, 0) for field in ("desiredReplicas", "replicas", "readyReplicas"))


def ready(api: Api, name: str) -> bool:
    return bool(api.condition("exitnode", name, "Ready").get("status") == "True")


def evictable(api: Api, name: str) -> int:
    (budget,) = api.list("pdb", "-n", SYSTEM, "-l", f"{names.LABEL_EXIT_NODE}={name}")
    return int((budget.get("status") or {}).get("disruptionsAllowed", 0))


def serving(api: Api, name: str, version: str) -> int:
    """Pods of a template that are ready."""
    found = [
        pod for pod in pods_of(api, name) if version_of(pod) == version and "deletionTimestamp" not in pod["metadata"]
    ]
    return sum(is_ready(pod) for pod in found)


def version_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"].get("annotations", {}).get("example.com/version"))


def is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def settle(api: Api) -> None:
    """One pod each, of the newest template."""

    def has_settled() -> bool:
        found = [api.get("exitnode", name) or {} for name in REGIONS]
        generations = all(
            condition["observedGeneration"] == body["metadata"]["generation"]
            for body in found
            for condition in body["status"]["conditions"]
        )
        pods = [pod for name in REGIONS for pod in pods_of(api, name)]
        return generations and list(map(version_of, pods)) == ["1", "1"] and all(map(is_ready, pods))

    wait_for("the first version is everywhere", has_settled, timeout_s=180)
