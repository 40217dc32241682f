"""A region that is added to a running fleet: agents that are connected hear of it and are there within seconds."""

from collections.abc import Iterator

import pytest

from support.operator import Api, exit_node, wait_for
from support.whole import WORKS, Laptop, installed, laptop, links, pods_of, visit

pytestmark = pytest.mark.timeout(600)  # a cold machine builds Helm first


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with installed(tmp_path_factory.mktemp("grows"), regions={"eu-1": "eu-west"}) as api:
        yield api


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory, api: Api) -> Iterator[Laptop]:
    with laptop(tmp_path_factory.mktemp("laptop"), api) as one:
        yield one


def test_an_agent_is_at_a_new_exit_node_without_a_renewal(api: Api, at_home: Laptop) -> None:
    before = wait_for("the agent is seen", lambda: links(api))
    assert len(before) == 1
    api.apply(exit_node("us-1", "us-east"))
    after = wait_for("it is at the new one too", lambda: now if len(now := links(api)) == 2 else None, timeout_s=60.0)
    assert before.items() <= after.items(), "its old session goes on"
    (pod,) = pods_of(api, "us-1")
    assert visit(pod["status"]["podIP"]) == WORKS
    assert at_home.is_running()


def test_the_login_remembers_it(at_home: Laptop) -> None:
    assert (at_home.config / "credentials.json").read_text().count(":7443") == 2
