"""The embedded cluster loses parts: its control plane, a node, its starter. Each test has a cluster of its own."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import devcluster
from support.cluster import Kubectl, build_deployment, build_service, build_web_pod, new_cluster

pytestmark = pytest.mark.timeout(150)
ROOT = Path(devcluster.__file__).parent
STARTER = """
import sys, time, pathlib, devcluster
cluster = devcluster.Cluster(pathlib.Path(sys.argv[1]), [("eu", "eu-west")], {})
cluster.start()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[devcluster.Cluster]:
    with new_cluster(tmp_path / "cluster") as running:
        yield running


def fetch(host: str) -> str:
    with urllib.request.urlopen(f"http://{host}:8080/", timeout=5) as answer:
        return str(answer.read().decode())


def processes_of(directory: Path) -> list[int]:
    """Find every process of a cluster: by its command line, or as a container by its environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if f"{directory}/".encode() in text or f"{directory}\0".encode() in text:
            found.append(int(process.name))
    return [pid for pid in found if pid != os.getpid()]


def test_pods_serve_while_the_control_plane_is_dead_and_it_continues_where_it_was(own: devcluster.Cluster) -> None:
    kubectl = Kubectl(own, "default")
    kubectl.apply(build_deployment("web", 2, build_web_pod()), build_service("web"))
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    host = kubectl.get("service", "web")["spec"]["clusterIP"]
    devcluster.await_true("the proxy forwards to both pods", lambda: len({fetch(host) for _ in range(2)}) == 2)
    pods = {pod["metadata"]["uid"] for pod in kubectl.get("pods")["items"]}

    own.kill_control_plane()
    assert len({fetch(host) for _ in range(4)}) == 2
    own.start_control_plane()
    kubectl("scale", "deployment/web", "--replicas=3")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/web", "--timeout=30s")
    items = kubectl.get("pods")["items"]
    assert pods < {pod["metadata"]["uid"] for pod in items}
    assert all(pod["status"]["containerStatuses"][0]["restartCount"] == 0 for pod in items)
    devcluster.await_true("the proxy knows the new pod", lambda: len({fetch(host) for _ in range(3)}) == 3)


def test_pods_die_with_their_node_and_start_again_with_it(own: devcluster.Cluster) -> None:
    kubectl = Kubectl(own, "default")
    pod = build_web_pod() | {"nodeSelector": {"topology.kubernetes.io/region": "eu-west"}}
    kubectl.apply(build_deployment("web", 1, pod), build_service("web"))
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    containers = [pid for pid in processes_of(own.directory / "node-eu") if "http.server" in command_of(pid)]
    assert len(containers) == 1
    own.kill_node("eu")
    devcluster.await_true("the process is gone", lambda: not command_of(containers[0]), timeout_s=5)
    devcluster.await_true(
        "the node is not ready", lambda: "NotReady" in own.kubectl("get", "node", "eu", "--no-headers").stdout
    )
    own.start_node("eu")
    host = kubectl.get("service", "web")["spec"]["clusterIP"]
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    devcluster.await_true("the Service answers again", lambda: answers(host))
    assert kubectl.get("pods")["items"][0]["status"]["containerStatuses"][0]["restartCount"] == 1


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def answers(host: str) -> bool:
    try:
        return bool(fetch(host))
    except OSError:
        return False


def test_everything_ends_with_the_process_that_started_it_and_the_directory_is_usable_again(tmp_path: Path) -> None:
    directory = tmp_path / "cluster"
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", STARTER, str(directory)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
        own = devcluster.Cluster(directory, [], {})
        own.kubectl("create", "configmap", "kept")
        starter.send_signal(signal.SIGKILL)
    devcluster.await_true("no process is left", lambda: not processes_of(directory))
    with devcluster.Cluster(directory, [("eu", "eu-west")], {}) as again:
        assert again.kubectl("get", "configmap", "kept", "-o", "name").stdout == "configmap/kept\n"
    assert processes_of(directory) == []


@pytest.mark.parametrize("part", ["control", "proxy"])
def test_a_part_that_dies_is_started_again_and_works(own: devcluster.Cluster, part: str) -> None:
    kubectl = Kubectl(own, "default")
    kubectl.apply(build_deployment("web", 1, build_web_pod()), build_service("web"))
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    host = kubectl.get("service", "web")["spec"]["clusterIP"]
    devcluster.await_true("the Service answers", lambda: answers(host))
    dead = own.pid(part)
    os.kill(dead, signal.SIGKILL)
    devcluster.await_true("it runs again", lambda: own.pid(part) != dead)
    devcluster.await_true("the Service answers again", lambda: answers(host))
    devcluster.await_true("the API server is ready", lambda: kubectl("get", "--raw", "/readyz", check=False) == "ok")
