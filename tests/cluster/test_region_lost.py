"""A region lost its power, or its way to the operator: what visitors who come by name see of it.

Real exit nodes, a real agent, a real PowerDNS. Times are printed, not asserted.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hawse_api import names
from support import powerdns
from support.by_name import TTL_S, ByName, manage_dns
from support.operator import SYSTEM, Api, exit_node, tunnel, wait_for
from support.tcp_path import TcpPath
from support.whole import HOST, TEAM, TUNNEL, WORKS, installed, laptop, links, pods_of, visit, without_operator

pytestmark = pytest.mark.timeout(600)  # a cold machine builds Helm first
REGIONS = {"eu-1": "eu-west", "us-1": "us-east"}
NODES = {"eu-1": "eu", "us-1": "us"}
BACK_S = 90.0
VISITORS = 6


def placed(name: str, region: str, **patch: Any) -> dict[str, Any]:
    """An ExitNode on the node of its region."""
    managed = {"nodeSelector": {"topology.kubernetes.io/region": region}, **patch}
    return exit_node(name, region, deployment={"type": "Managed", "managed": managed})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[powerdns.PowerDns]:
    with powerdns.running(tmp_path_factory.mktemp("dns")) as server:
        yield server


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, server: powerdns.PowerDns) -> Iterator[Api]:
    with installed(tmp_path_factory.mktemp("lost"), regions=REGIONS) as api:
        manage_dns(api, server)
        api.apply(*(placed(name, region) for name, region in REGIONS.items()))
        wait_for("each where it belongs", lambda: are_placed(api), timeout_s=BACK_S)
        with laptop(tmp_path_factory.mktemp("laptop"), api):
            wait_for("the agent is in both regions", lambda: len(links(api)) == 2, timeout_s=30.0)
            yield api


def are_placed(api: Api) -> bool:
    """One pod for each exit node, on its own node, and ready."""
    for name in REGIONS:
        found = pods_of(api, name)
        if len(found) != 1 or found[0]["spec"].get("nodeName") != NODES[name]:
            return False
    return all(api.condition("exitnode", name, "Ready").get("status") == "True" for name in REGIONS)


def address_of(api: Api, name: str) -> str:
    (pod,) = pods_of(api, name)
    return str(pod["status"]["podIP"])


def test_a_region_without_power_is_left_by_look_ups_while_the_operator_is_dead(
    api: Api, server: powerdns.PowerDns
) -> None:
    lost, other = address_of(api, "eu-1"), address_of(api, "us-1")
    wait_for("both answer look-ups", lambda: {server.addresses(HOST)[0] for _ in range(20)} == {lost, other})
    visitors = [ByName(server, keeps_connection=False) for _ in range(VISITORS)]
    with without_operator(api), contextlib.ExitStack() as visiting:
        for visitor in visitors:
            visiting.enter_context(visitor)
        wait_for("visitors in both regions", lambda: {lost, other} == {a for one in visitors for a in one.seen})
        api.cluster.kill_node("eu")
        killed = time.monotonic()
        wait_for("look-ups avoid it", lambda: all(server.addresses(HOST) == [other] for _ in range(20)))
        avoided_s = time.monotonic() - killed
        wait_for("nobody fails any more", lambda: time.monotonic() - last_failure(visitors, killed) > TTL_S + 2)
        last_s = last_failure(visitors, killed) - killed
        visits = sum(sum(one.seen.values()) for one in visitors)
        failures = [failure for one in visitors for failure in one.failures]
        api.cluster.start_node("eu")
        wait_for("look-ups lead there again", lambda: is_back(server, other), timeout_s=BACK_S)
    print(
        f"\nregion killed, no operator: look-ups avoid it after {avoided_s:.1f} s; {len(failures)} of {visits} visits "
        f"failed, the last one {last_s:.1f} s after the kill (TTL {TTL_S} s)"
    )
    assert failures, "some had looked the name up just before"
    assert all(failure.startswith(lost) for failure in failures), "the other region's visitors notice nothing"
    wait_for("the operator sees both", lambda: are_placed(api), timeout_s=BACK_S)


def last_failure(visitors: list[ByName], killed: float) -> float:
    return max([killed, *(at for one in visitors for at in one.failed_at)])


def is_back(server: powerdns.PowerDns, other: str) -> bool:
    """Somebody else than the region that stayed is answered."""
    return any(server.addresses(HOST) != [other] for _ in range(20))


def test_a_region_cut_off_from_the_operator_serves_what_it_has_and_catches_up(api: Api) -> None:
    service = api.get("service", names.OPERATOR_SERVICE, SYSTEM)
    assert service is not None
    operator = service["spec"]["clusterIP"]
    with TcpPath((operator, names.PORT_CONTROL)) as control:
        environment = [
            {"name": "HAWSE_OPERATOR_SERVICE_HOST", "value": control.host},
            {"name": "HAWSE_OPERATOR_SERVICE_PORT_CONTROL", "value": str(control.port)},
        ]
        patch = {"podTemplatePatch": {"spec": {"containers": [{"name": "exitnode", "env": environment}]}}}
        before = {pod["metadata"]["uid"] for pod in pods_of(api, "us-1")}
        with TcpPath((operator, names.PORT_ENROL), at=(control.host, names.PORT_ENROL)):
            api.apply(placed("us-1", "us-east", **patch))

            def moved() -> bool:
                return are_placed(api) and not before & {pod["metadata"]["uid"] for pod in pods_of(api, "us-1")}

            wait_for("it reaches the operator by the path", moved, timeout_s=BACK_S)
        wait_for("the agent is there", lambda: len(links(api)) == 2, timeout_s=30.0)
        address = address_of(api, "us-1")
        control.cut()
        api.apply(tunnel(TUNNEL, TEAM, traffic={"maxConcurrent": 100}))

        def is_waited_for_alone() -> bool:
            message = api.condition("tunnel", TUNNEL, "Programmed", TEAM).get("message")
            return message == "Waiting for exit nodes in us-east."

        wait_for("the region that is cut off is waited for, and no other", is_waited_for_alone)
        api.apply(tunnel(TUNNEL, TEAM, suspend=True))
        wait_for("the other region has it", lambda: "503" in visit(address_of(api, "eu-1")))
        assert visit(address) == WORKS, "it serves what it has"
        control.mend()
        wait_for("it catches up", lambda: "503" in visit(address), timeout_s=BACK_S)
        api.apply(tunnel(TUNNEL, TEAM))
        wait_for("both serve again", lambda: all(visit(address_of(api, n)) == WORKS for n in REGIONS), timeout_s=30.0)
        wait_for("the agent is seen in both", lambda: len(links(api)) == 2, timeout_s=30.0)
