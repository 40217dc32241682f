"""A region that is added to a running fleet: agents that are connected hear of it and are there within seconds."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


def test_hawse_fleet_tells_the_platform_team(api: Api) -> None:
    kubectl = Path(sys.prefix) / "bin"
    command = [str(kubectl / "hawse"), "fleet", "default", "--kubeconfig", str(api.cluster.kubeconfig), "--json"]
    environment = {**os.environ, "PATH": f"{kubectl}:{os.environ['PATH']}"}

    def asked() -> list[tuple[str, str, int]]:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        (fleet,) = json.loads(done.stdout)
        return [(one["region"], one["state"], one["agents"]) for one in fleet["exit_nodes"]]

    wait_for("both regions and their agent", lambda: asked() == [("eu-west", "serving", 1), ("us-east", "serving", 1)])
    wrong = subprocess.run(
        [*command[:2], "other", *command[3:]], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (wrong.returncode, "Existing: default." in wrong.stderr) == (2, True)


def test_the_login_remembers_it(at_home: Laptop) -> None:
    assert (at_home.config / "credentials.json").read_text().count(":7443") == 2
