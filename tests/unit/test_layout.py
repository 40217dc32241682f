"""Rules of the tree that break quietly: the operator trap, one version number, a page for every error code."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from hawse_api import names

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_operator_folder_is_not_a_package():
    assert not (ROOT / "operator/__init__.py").exists()
    assert "hawse" not in sys.modules["operator"].__file__


def test_no_test_lives_below_operator():
    found = [p for p in (ROOT / "operator").rglob("*.py") if p.name == "conftest.py" or p.name.startswith("test_")]
    assert found == []


@pytest.mark.parametrize("error", names.ERRORS, ids=lambda error: error.code)
def test_every_error_code_has_a_page_that_carries_its_title(error):
    page = (ROOT / f"docs/errors/{error.code}.md").read_text()
    assert page.startswith(f"# {error.code} {error.title}\n")
    assert "## What to do" in page
    assert f"[{error.code}]({error.code}.md)" in (ROOT / "docs/errors/README.md").read_text()


def test_error_codes_and_names_are_unique():
    assert len({e.code for e in names.ERRORS}) == len({e.name for e in names.ERRORS}) == len(names.ERRORS)


def test_there_is_one_version_number():
    version = PYPROJECT["project"]["version"]
    cargo = tomllib.loads((ROOT / "exitnode/core/Cargo.toml").read_text())
    assert cargo["workspace"]["package"]["version"] == version
    assert cargo["package"]["version"] in (version, {"workspace": True})
    chart = yaml.safe_load((ROOT / "charts/hawse/Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version


def test_no_tracked_file_names_a_folder_of_the_machine_it_was_written_on():
    command = ["git", "ls-files", "-z"]
    tracked = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=30).stdout
    folder = re.compile("/" + "work/(main|shared)")
    files = [ROOT / name for name in tracked.split("\0") if name]
    assert [f for f in files if f.is_file() and folder.search(f.read_text(errors="ignore"))] == []


@pytest.mark.parametrize("document", ["README.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))])
def test_links_between_documents_lead_somewhere(document):
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)", path.read_text())
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing == []
