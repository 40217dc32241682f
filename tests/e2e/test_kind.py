"""The demo's cases in a kind cluster that pytest-kind makes, where Docker is. In the embedded cluster: test_demo.py."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.typed import ROOT, Typed, summary_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]
NAME = "hawse-e2e"


def why_not() -> str:
    """Why kind cannot run here, or ""."""
    for tool in ("docker", "kind"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "the Docker daemon does not answer (docker info)"
    return "" if done.returncode == 0 else "the Docker daemon does not answer (docker info)"


@pytest.fixture(scope="module")
def kind_name(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := why_not():
        pytest.skip(f"kind cannot run here: {reason}")
    from pytest_kind import KindCluster

    directory = tmp_path_factory.mktemp("kind")
    kind = shutil.which("kind")
    assert kind is not None
    kubectl = Path(sys.executable).parent / "kubectl"
    cluster = KindCluster(NAME, directory / "kubeconfig", kind_path=Path(kind), kubectl_path=kubectl)
    cluster.create(ROOT / "kind" / "kind.yaml")
    yield NAME
    cluster.delete()
    shutil.rmtree(ROOT / ".pytest-kind", ignore_errors=True)


def test_the_demo_holds_all_its_expectations_in_a_kind_cluster(typed: Callable[..., Typed], kind_name: str) -> None:
    demo = typed("make", "demo", "CHECK=1", f"KIND={kind_name}")
    assert demo.wait(3000) == 0, demo.text
    assert summary_of(demo.last_line)[1] == 0
    assert demo.left == []
    assert "Traceback" not in demo.text


def test_without_docker_or_kind_the_demo_says_what_is_missing(typed: Callable[..., Typed]) -> None:
    if not why_not():
        pytest.skip("kind can run here")
    demo = typed("make", "demo", "CHECK=1", "KIND=1")
    assert demo.wait() != 0
    assert "or run `make demo` without KIND" in demo.text
    assert "Traceback" not in demo.text
