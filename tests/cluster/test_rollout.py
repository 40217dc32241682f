"""A rolling update of every exit node while visitors come by name: nobody fails, whether new or connected.

Visitors resolve as people's machines do: at the fleet's PowerDNS, and again only when the TTL is over.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import powerdns
from support.by_name import TTL_S, ByName, manage_dns
from support.operator import Api, exit_node, wait_for
from support.whole import HOST, installed, laptop, pods_of

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


def updated(name: str, region: str, version: int) -> dict[str, Any]:
    """The ExitNode with another pod template, and the time to stop that follows from the TTL."""
    annotations = {"metadata": {"annotations": {"example.com/version": str(version)}}}
    managed = {"podTemplatePatch": annotations}
    return exit_node(name, region, deployment={"type": "Managed", "managed": managed}, shutdown={"drainTimeout": "20s"})


def uids(api: Api) -> set[str]:
    return {pod["metadata"]["uid"] for name in REGIONS for pod in pods_of(api, name)}


def test_a_rolling_update_of_all_exit_nodes_fails_nobody(api: Api, server: powerdns.PowerDns, tmp_path: Path) -> None:
    api.apply(*(updated(name, region, 1) for name, region in REGIONS.items()))
    settle(api)
    with laptop(tmp_path, api):
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
    assert len(anew.seen) >= 3, f"visitors came to old and new pods: {json.dumps(anew.seen)}"


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
        annotated = [pod["metadata"].get("annotations", {}).get("example.com/version") for pod in pods]
        ready = [
            any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
            for pod in pods
        ]
        return generations and annotated == ["1", "1"] and all(ready)

    wait_for("the first version is everywhere", has_settled, timeout_s=180)
