"""The operator away, restarted, two of them: nothing is lost, one writes, nobody sees a traceback."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

import devcluster
from support.operator import (
    FLEET,
    SYSTEM,
    Api,
    Operator,
    cluster_with_crds,
    namespace,
    running,
    token,
    tunnel,
    wait_for,
)

pytestmark = pytest.mark.timeout(180)
HOST = "away.tunnels.example.com"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devcluster.Cluster]:
    with cluster_with_crds(tmp_path_factory.mktemp("restarts")) as cluster:
        Api(cluster).apply(FLEET, namespace("team-a"), token("laptop", "team-a"))
        yield cluster


def holder(api: Api) -> str:
    lease = api.get("lease", "hawse-operator", SYSTEM)
    return str(lease["spec"]["holderIdentity"]) if lease else ""


def test_a_release_is_not_lost_while_the_operator_is_away(cluster: devcluster.Cluster) -> None:
    api = Api(cluster)
    with running(cluster):
        api.apply(tunnel("away", "team-a"))
        api.wait_reason("tunnel", "away", "Reserved", "Reserved", "team-a")
    api.delete("tunnel", "away", "team-a")
    with running(cluster):
        wait_for("the name is released", lambda: "releasedAt" in (api.get("sdr", HOST) or {}).get("spec", {}))


def test_a_leader_that_is_killed_is_replaced_in_a_higher_term(cluster: devcluster.Cluster) -> None:
    api = Api(cluster)
    with running(cluster, "first") as first:
        second = Operator(cluster, "second")
        try:
            wait_for("the second is warm", lambda: second.find("started") and second.ask("/readyz").status_code == 200)
            time.sleep(2)
            assert (holder(api), second.term()) == ("first", 0)
            before = first.term()
            first.end(signal.SIGKILL)
            wait_for("the second leads", lambda: second.term() > before, timeout_s=15.0)
            assert holder(api) == "second"
            assert second.metric("hawse_operator_leader") == 1
            api.apply(tunnel("after", "team-a"))
            api.wait_reason("tunnel", "after", "Reserved", "Reserved", "team-a")
        finally:
            second.end()


def test_a_leader_that_is_told_to_stop_hands_over_at_once(cluster: devcluster.Cluster) -> None:
    api = Api(cluster)
    with running(cluster, "third", HAWSE_LEASE_SECONDS="30") as third:
        fourth = Operator(cluster, "fourth", HAWSE_LEASE_SECONDS="30")
        try:
            wait_for("the fourth is warm", lambda: fourth.find("started") and fourth.ask("/readyz").status_code == 200)
            began = time.monotonic()
            assert third.end() == 0
            assert time.monotonic() - began < 10, "clean shutdown"
            assert third.find("Lease released")
            wait_for("the fourth leads", lambda: fourth.term() > 0, timeout_s=12.0)
            assert holder(api) == "fourth"
        finally:
            fourth.end()


def test_a_leader_that_was_frozen_stops_writing_when_it_wakes(cluster: devcluster.Cluster) -> None:
    with running(cluster, "frozen") as frozen:
        other = Operator(cluster, "other")
        try:
            wait_for("the other is warm", lambda: other.find("started") and other.ask("/readyz").status_code == 200)
            frozen.process.send_signal(signal.SIGSTOP)
            wait_for("the other leads", lambda: other.term() > frozen.term(), timeout_s=20.0)
            frozen.process.send_signal(signal.SIGCONT)
            wait_for("the frozen one steps down", lambda: frozen.find("no longer leading"))
            assert frozen.metric("hawse_operator_leader") == 0
        finally:
            frozen.process.send_signal(signal.SIGCONT)
            other.end()


BAD_SETTINGS = [
    pytest.param({}, 2, "POD_NAME is not set", id="nothing is set"),
    pytest.param(
        {"POD_NAME": "p", "POD_NAMESPACE": "ns", "POD_IP": "here"}, 2, "POD_IP is 'here'", id="an address that is none"
    ),
    pytest.param(
        {"POD_NAME": "p", "POD_NAMESPACE": "ns", "POD_IP": "127.0.0.1", "KUBECONFIG": "/nowhere"},
        2,
        "There is no way to the API server",
        id="a kubeconfig that is not there",
    ),
    pytest.param(
        {"POD_NAME": "p", "POD_NAMESPACE": "ns", "POD_IP": "192.0.2.1"},
        2,
        "cannot listen on 192.0.2.1",
        id="not our address",
    ),
]


@pytest.mark.parametrize(("environment", "code", "text"), BAD_SETTINGS)
def test_bad_settings_are_explained_without_a_traceback(
    cluster: devcluster.Cluster, environment: dict[str, str], code: int, text: str
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POD_", "HAWSE_", "KUBE"))}
    done = subprocess.run(
        [sys.executable, "-m", "hawse_operator"],
        env={**kept, "KUBECONFIG": str(cluster.kubeconfig), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
