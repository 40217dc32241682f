"""Values in, what the real Helm renders out; CRDs are compared with crds/. HAWSE_REGEN=1 rewrites the second."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CHART = ROOT / "charts" / "hawse"
CASES = sorted(HERE.glob("*.in.yaml"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a cold machine builds Helm first


@pytest.fixture(scope="module")
def helm() -> str:
    command = [sys.executable, str(ROOT / "scripts" / "build_tools.py"), "--print-path", "helm"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=800).stdout.strip()


def run(helm: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [helm, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def render(helm: str, *arguments: str) -> str:
    done = run(helm, "template", "hawse", str(CHART), "--namespace", "hawse-system", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_values_become_manifests(helm: str, case: Path) -> None:
    result = render(helm, "--values", str(case), "--set", "crds.enabled=false")
    golden = case.with_name(case.name.replace(".in.", ".out."))
    if os.environ.get("HAWSE_REGEN"):
        golden.write_text(result)
    assert documents(result) == documents(golden.read_text())


def test_the_charts_crds_are_those_of_the_repository_and_are_kept(helm: str) -> None:
    rendered = {crd["metadata"]["name"]: crd for crd in documents(render(helm, "--show-only", "templates/crds.yaml"))}
    own = {
        crd["metadata"]["name"]: crd for path in (ROOT / "crds").glob("*.yaml") for crd in documents(path.read_text())
    }
    for crd in rendered.values():
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert rendered == own


def test_crds_can_be_let_go(helm: str) -> None:
    rendered = documents(render(helm, "--set", "crds.keep=false", "--show-only", "templates/crds.yaml"))
    assert all("annotations" not in crd["metadata"] for crd in rendered)


def test_the_chart_passes_lint(helm: str) -> None:
    done = run(helm, "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_the_notes_name_the_next_steps(helm: str) -> None:
    done = run(
        helm, "install", "hawse", str(CHART), "--dry-run=client", "--namespace", "x", "--set", "watchNamespaces={a}"
    )
    assert done.returncode == 0, done.stderr
    assert "hawse login -" in done.stdout
    assert "served in these namespaces only: a." in done.stdout


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("replica=2", "additional properties 'replica' not allowed"),
        ("image.repo=x", "additional properties 'repo' not allowed"),
        ("replicas=two", "got string, want integer"),
        ("logLevel=info", "value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
        ("watchNamespaces={Team}", "does not match pattern"),
        ("watchNamespaces={a,a}", "are equal"),
        ("image.digest=latest", "does not match pattern"),
        ("networkPolicy.enabled=maybe", "got string, want boolean"),
    ],
)
def test_a_wrong_value_is_refused_by_the_schema(helm: str, values: str, said: str) -> None:
    done = run(helm, "template", "hawse", str(CHART), "--set", values)
    assert done.returncode != 0
    assert said in done.stderr


def test_there_is_one_version_number() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_every_value_has_a_place_in_the_schema() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)
