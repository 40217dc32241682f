"""The API server misbehaves: the operator converges each time, does not storm it, and exit nodes stay served.

Each fault lasts a few seconds and is made by a proxy between operator and API server; behind it is the real one. A
Tunnel is made while the fault lasts and another is deleted: after it the name of one is held, of the other released.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

import devcluster
from support import api_proxy
from support.api_proxy import NOTHING, ApiProxy, Call, Fault
from support.operator import (
    FLEET,
    Api,
    Operator,
    cluster_with_crds,
    exit_node,
    namespace,
    token,
    tunnel,
    wait_for,
)

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]
FAULT_S = 3.0
MAX_REQUESTS = 60
"""In a second of a fault: watches of fourteen kinds and lists come again, each with a back-off (35 measured; 90 to 200
when they stormed)."""
CONVERGE_S = 45.0


@dataclass(frozen=True)
class Rig:
    cluster: devcluster.Cluster
    api: Api
    proxy: ApiProxy
    operator: Operator


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One operator behind a proxy, with a long Lease: it is not what these tests are about."""
    with cluster_with_crds(tmp_path_factory.mktemp("faults")) as cluster, contextlib.ExitStack() as stack:
        api = Api(cluster)
        api.apply(FLEET, exit_node("eu-1", "eu-west"), namespace("team-a"), token("laptop", "team-a"))
        proxy = stack.enter_context(api_proxy.proxied(cluster, "operator-a"))
        settings = {"HAWSE_LEASE_SECONDS": "30", "HAWSE_RESYNC_SECONDS": "10"}
        operator = Operator(cluster, "operator-a", KUBECONFIG=str(proxy.kubeconfig), **settings)
        stack.callback(operator.end)
        wait_for("it leads", lambda: operator.find("serving exit nodes"), timeout_s=45.0)
        yield Rig(cluster, api, proxy, operator)


def every(number: int, fault: Fault) -> Callable[[Call], Fault]:
    """A fault of one request in `number`, by a fixed seed."""
    dice = random.Random(number)  # noqa: S311 - not a secret
    return lambda _: fault if dice.randrange(number) == 0 else NOTHING


def of_watches(fault: Fault) -> Callable[[Call], Fault]:
    return lambda call: fault if call.is_watch else NOTHING


FAULTS = [
    pytest.param(lambda call: Fault(delay_s=0.0 if call.is_watch else 5.0), id="answers take 5 s"),
    pytest.param(lambda _: Fault(status=429, retry_after="1"), id="429 with Retry-After"),
    pytest.param(lambda _: Fault(status=500), id="500"),
    pytest.param(every(2, Fault(status=503)), id="503 every second time"),
    pytest.param(lambda _: Fault(reset=True), id="connections reset"),
    pytest.param(
        lambda call: Fault(lose_answer=True) if call.is_write else NOTHING, id="writes are done, answers are lost"
    ),
    pytest.param(every(2, Fault(truncate=True)), id="answers end in the middle"),
    pytest.param(of_watches(Fault(expire_watch=True)), id="410 Gone for every watch"),
    pytest.param(of_watches(Fault(reset=True)), id="no watch gets through"),
    pytest.param(of_watches(Fault(truncate=True)), id="watches end within an event"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_it_converges_after_a_fault_and_does_not_storm(rig: Rig, fault: Callable[[Call], Fault]) -> None:
    name = f"f{[param.values[0] for param in FAULTS].index(fault)}"
    rig.api.apply(tunnel(f"{name}-old", "team-a"))
    rig.api.wait_reason("tunnel", f"{name}-old", "Reserved", "Reserved", "team-a")
    begun, began, term = len(rig.proxy.calls), time.monotonic(), rig.operator.term()
    rig.proxy.fault = fault
    rig.proxy.cut()
    try:
        rig.api.apply(tunnel(f"{name}-new", "team-a"))
        rig.api.delete("tunnel", f"{name}-old", "team-a")
        time.sleep(FAULT_S)
    finally:
        rig.proxy.fault = lambda _: NOTHING
    requests, lasted_s = len(rig.proxy.calls) - begun, time.monotonic() - began
    assert requests < MAX_REQUESTS * lasted_s, rig.proxy.counted().most_common(12)
    wait_for("the new one is held", lambda: is_held(rig.api, f"{name}-new"), timeout_s=CONVERGE_S)
    wait_for("the old one is released", lambda: is_released(rig.api, f"{name}-old"), timeout_s=CONVERGE_S)
    assert rig.operator.process.poll() is None
    leads_in = rig.operator.term() if rig.operator.metric("hawse_operator_leader") == 1 else 0
    assert leads_in == term, "exit nodes lost their stream"


def is_held(api: Api, name: str) -> bool:
    reserved = api.condition("tunnel", name, "Reserved", "team-a").get("status") == "True"
    return reserved and "releasedAt" not in (api.get("sdr", f"{name}.tunnels.example.com") or {"spec": {}})["spec"]


def is_released(api: Api, name: str) -> bool:
    return "releasedAt" in (api.get("sdr", f"{name}.tunnels.example.com") or {"spec": {}})["spec"]


def test_the_api_server_is_killed_and_comes_back(rig: Rig) -> None:
    rig.cluster.kill_control_plane()
    time.sleep(4)
    rig.cluster.start_control_plane()
    rig.api.apply(tunnel("after-death", "team-a"))
    wait_for("the new one is held", lambda: is_held(rig.api, "after-death"), timeout_s=CONVERGE_S)
    assert rig.operator.process.poll() is None


def test_nobody_is_to_be_blamed(rig: Rig) -> None:
    """No fault made a traceback, and after all of them nothing is written any more."""
    assert [line for line in rig.operator.lines() if "traceback" in line] == []
    wait_for("stillness", lambda: writes_in(rig.proxy, 12.0) == 0, timeout_s=90.0)


def writes_in(proxy: ApiProxy, seconds: float) -> int:
    """Writes within a time that is longer than a resync."""
    before = len(proxy.writes(events=True))
    time.sleep(seconds)
    return len(proxy.writes(events=True)) - before


def test_a_leader_cut_off_from_the_api_stops_before_the_other_begins_and_returns_as_standby(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with cluster_with_crds(tmp_path_factory.mktemp("partition")) as cluster, contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(api_proxy.proxied(cluster, name)) for name in ("left", "right")]
        api = Api(cluster)
        api.apply(FLEET, namespace("team-a"), token("laptop", "team-a"))
        left = Operator(cluster, "left", KUBECONFIG=str(proxies[0].kubeconfig), HAWSE_LEASE_SECONDS="6")
        stack.callback(left.end)
        wait_for("left leads", lambda: left.find("serving exit nodes"), timeout_s=45.0)
        right = Operator(cluster, "right", KUBECONFIG=str(proxies[1].kubeconfig), HAWSE_LEASE_SECONDS="6")
        stack.callback(right.end)
        wait_for("right is warm", lambda: right.find("started") and right.ask("/readyz").status_code == 200)
        proxies[0].fault = lambda _: Fault(delay_s=60.0)  # packets vanish: no answer, no reset
        wait_for("left steps down", lambda: left.metric("hawse_operator_leader") == 0, timeout_s=30.0)
        assert right.term() == 0, "two led at once"
        wait_for("right leads", lambda: right.term() > left.term(), timeout_s=30.0)
        api.apply(tunnel("during", "team-a"))
        wait_for("the new one is held", lambda: is_held(api, "during"))
        proxies[0].fault = lambda _: NOTHING
        proxies[0].cut()
        writes = len(proxies[0].writes())
        right.end()
        wait_for("left leads again", lambda: left.term() > right.term(), timeout_s=60.0)
        assert len(proxies[0].writes()[writes:]) < 20
        api.apply(tunnel("again", "team-a"))
        wait_for("the new one is held", lambda: is_held(api, "again"), timeout_s=CONVERGE_S)
