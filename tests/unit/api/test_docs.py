"""docs/conditions.md names every condition and every reason, and no other."""

import re
from pathlib import Path

from hawse_api import names

PAGE = (Path(__file__).parents[3] / "docs" / "conditions.md").read_text()
TYPES, REASONS = PAGE.split("## Reasons")


def first_column(text: str) -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


def test_every_condition_is_described() -> None:
    assert first_column(TYPES) == set(names.Condition)


def test_every_reason_is_described() -> None:
    assert first_column(REASONS) == set(names.Reason)
