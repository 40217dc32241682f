"""Fixtures of the cluster tests: `cluster` (shared), `namespace` (per test), `kubectl` (bound to that namespace).

Every test in this folder gets the marker `cluster`. The Go programs are built before the first test, so that a cold
build does not count against a test's timeout.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

import devcluster
from support.cluster import Kubectl, namespace_of, new_cluster

HERE = Path(__file__).parent
SERIAL = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    chosen = any(HERE in item.path.parents for item in session.items)
    if chosen and not session.config.option.collectonly:
        devcluster.tool_path("devcluster")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devcluster.Cluster]:
    with new_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def namespace(cluster: devcluster.Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    name = namespace_of(request.node.originalname, next(SERIAL))
    cluster.kubectl("create", "namespace", name)
    devcluster.await_true(
        "the default ServiceAccount exists, which pods need",
        lambda: cluster.kubectl("-n", name, "get", "serviceaccount", "default", check=False).returncode == 0,
    )
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def kubectl(cluster: devcluster.Cluster, namespace: str) -> Kubectl:
    return Kubectl(cluster, namespace)
