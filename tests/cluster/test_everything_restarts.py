"""Power failure: both operators, the exit nodes and the API server end at once by kill -9, and start again.

Names, tokens and statuses are what they were; the tunnel serves again without anybody's help; nothing is written that
did not have to be.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from hawse_api.names import PORT_ADMIN
from support import whole
from support.operator import SYSTEM, Api, tunnel, wait_for

pytestmark = [pytest.mark.timeout(420), pytest.mark.slow]
REGIONS = {"eu-1": "eu-west", "us-1": "us-east"}
TUNNELS = 50
BACK_S = 150.0
SETTLING_S = 40.0
"""A new leader believes statuses about exit nodes for 30 s; whatever would flap has flapped then."""
MAX_WRITES = 6 * (TUNNELS + 10)
"""Statuses tell, with an event each, that exit nodes and agents went and came; a storm would be thousands."""
UNTOUCHED = ("subdomainreservations", "fleets", "secrets", "configmaps", "services")
"""Nothing about these changed: who writes them has lost something."""


def kill_everything(api: Api) -> None:
    pids = whole.processes_of(api, "hawse-operator", "hawse-exitnode")
    assert len(pids) >= 2 + len(REGIONS), "two operators and an exit node in each region"
    api.cluster.kill_control_plane()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def versions(api: Api, kind: str) -> dict[str, int]:
    bodies = [body for body in api.list(kind, "-A") if "hawse" in str(body)]
    return {body["metadata"]["uid"]: int(body["metadata"]["resourceVersion"]) for body in bodies}


def conditions(api: Api) -> dict[str, Any]:
    """Of all Tunnels: with the times at which they turned."""
    return {body["metadata"]["name"]: body["status"]["conditions"] for body in api.list("tunnel", "-n", whole.TEAM)}


def is_back(api: Api) -> bool:
    serving = all(
        whole.is_true(api, "exitnode", name, "Ready")
        and whole.visit(whole.pods_of(api, name)[0]["status"]["podIP"]) == whole.WORKS
        for name in REGIONS
    )
    return serving and whole.is_true(api, "tunnel", whole.TUNNEL, "TargetReady", whole.TEAM)


def test_after_a_power_failure_everything_is_as_it_was(tmp_path: Path) -> None:
    with (
        whole.installed(tmp_path / "cluster", regions=REGIONS, replicas=2) as api,
        whole.laptop(tmp_path, api) as laptop,
    ):
        api.apply(*(tunnel(f"t{number}", whole.TEAM) for number in range(TUNNELS)))
        wait_for("it serves", lambda: is_back(api), timeout_s=BACK_S)
        wait_for("all Tunnels are in force", lambda: all_in_force(api), timeout_s=BACK_S)
        text, names = whole.text_of_token(api), held(api)
        before = wait_for("stillness", lambda: still(api), timeout_s=BACK_S)
        old = conditions(api)

        kill_everything(api)
        time.sleep(2)
        api.cluster.start_control_plane()
        wait_for("everything is back", lambda: answers(api) and is_back(api) and all_in_force(api), timeout_s=BACK_S)
        time.sleep(SETTLING_S)

        assert laptop.is_running(), laptop.log.read_text()
        assert whole.text_of_token(api) == text
        assert held(api) == names
        assert len(names) == TUNNELS + 1
        assert {kind: versions(api, kind) for kind in UNTOUCHED} == before
        assert writes_since_the_start(api) <= MAX_WRITES
        turned = {name for name, found in conditions(api).items() if lasting(found) != lasting(old[name])}
        assert turned == set(), "names and configuration were in force all the time"
        wait_for("stillness", lambda: still(api), timeout_s=BACK_S)


def writes_since_the_start(api: Api) -> int:
    """Of both operators, without the Lease."""
    total = 0.0
    for pod in api.list("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=operator"):
        url = f"http://{pod['status']['podIP']}:{PORT_ADMIN}/metrics"
        lines = httpx.get(url, timeout=10.0, trust_env=False).text.splitlines()
        writes = [line for line in lines if line.startswith("hawse_operator_writes_total{") and '"leases"' not in line]
        total += sum(float(line.rsplit(" ", 1)[1]) for line in writes)
    assert total > 0, "a leader writes something"
    return int(total)


def answers(api: Api) -> bool:
    return api.cluster.kubectl("get", "--raw", "/readyz", check=False).returncode == 0


def held(api: Api) -> dict[str, Any]:
    return {body["metadata"]["name"]: body["spec"] for body in api.list("sdr")}


def all_in_force(api: Api) -> bool:
    found = [body["status"]["conditions"] for body in api.list("tunnel", "-n", whole.TEAM) if "status" in body]
    wanted = {"Reserved", "Programmed", "Ready"}
    return len(found) == TUNNELS + 1 and all(
        wanted <= {item["type"] for item in each if item["status"] == "True"} for each in found
    )


def lasting(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Conditions that have nothing to do with who is connected."""
    return [item for item in found if item["type"] in {"Accepted", "ResolvedRefs", "Reserved", "CertificateReady"}]


def still(api: Api) -> dict[str, dict[str, int]] | None:
    """Versions of everything, if nothing was written for some seconds."""
    kinds = (*UNTOUCHED, "tunnels", "exitnodes", "agentsessions")
    first = {kind: versions(api, kind) for kind in kinds}
    time.sleep(4)
    second = {kind: versions(api, kind) for kind in kinds}
    return {kind: second[kind] for kind in UNTOUCHED} if first == second else None
