"""Pydantic's JSON schema in, structural schema out: one pair of files a rule. HAWSE_REGEN=1 rewrites the second."""

import os
from pathlib import Path

import pytest
import yaml

from hawse_api.crdgen import NotStructural, structural
from hawse_api.yamltext import to_yaml

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*.in.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_a_schema_becomes_structural(case: Path) -> None:
    try:
        result = to_yaml(structural(yaml.safe_load(case.read_text())))
    except NotStructural as error:
        result = to_yaml({"refused": str(error)})
    golden = case.with_name(case.name.replace(".in.", ".out."))
    if os.environ.get("HAWSE_REGEN"):
        golden.write_text(result)
    assert result == golden.read_text()
