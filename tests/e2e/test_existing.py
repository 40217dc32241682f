"""The demo in a cluster that exists: it uses that one, and takes out what it put in."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devcluster import Cluster
from support.typed import Typed, summary_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1900)]
PROGRAMS = Path(sys.executable).parent
IMAGES = {
    "HAWSE_OPERATOR_IMAGE": "registry.example:5000/team/operator:dev",
    "HAWSE_EXITNODE_IMAGE": "registry.example:5000/team/exitnode:dev",
}


@pytest.fixture(scope="module")
def existing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    images = {
        f"registry.example:5000/team/{name}": [str(PROGRAMS / f"hawse-{name}")] for name in ("operator", "exitnode")
    }
    nodes = [("one", "eu-west"), ("two", "us-east")]
    with Cluster(tmp_path_factory.mktemp("existing"), nodes, images) as cluster:
        yield cluster


def test_it_holds_all_its_expectations_there_and_takes_out_what_it_put_in(
    typed: Callable[..., Typed], existing: Cluster
) -> None:
    before = existing.kubectl("get", "namespaces", "-o", "name").stdout
    demo = typed("make", "demo", "CHECK=1", KUBECONFIG=str(existing.kubeconfig), **IMAGES)
    assert demo.wait() == 0, demo.text
    assert summary_of(demo.last_line)[1] == 0
    assert demo.left == []
    assert existing.kubectl("get", "namespaces", "-o", "name").stdout == before
    assert existing.kubectl("get", "fleets,exitnodes,subdomainreservations", "-o", "name").stdout == ""
    assert "hawse" not in existing.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name").stdout


def test_it_does_not_take_over_what_is_there(typed: Callable[..., Typed], existing: Cluster) -> None:
    existing.kubectl("create", "namespace", "team-a")
    try:
        demo = typed("make", "demo", "CHECK=1", KUBECONFIG=str(existing.kubeconfig), **IMAGES)
        assert demo.wait() != 0
        assert "they exist: team-a" in demo.text
        assert "kubectl delete namespace team-a" in demo.text
        assert existing.kubectl("get", "namespace", "team-a", "-o", "name").stdout == "namespace/team-a\n"
    finally:
        existing.kubectl("delete", "namespace", "team-a")
