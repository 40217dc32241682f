"""What is written as YAML reads back as the same value."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hawse_api.yamltext import to_yaml

ALPHABET = "aeonyNY01.-+:#{}[]\"'\\,&*!|>%@`~=? \té漢😀"
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**31), 2**31), st.text(ALPHABET, max_size=12))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("abcyn019.-/ ~", max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, max_size=4))
def test_any_json_value_survives(value: dict[str, Any]) -> None:
    assert yaml.safe_load(to_yaml(value) if value else "{}") == value


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "No",
        "null",
        "~",
        "1",
        "1e3",
        "0x1F",
        "1:30",
        "a: b",
        "a #b",
        "- a",
        "",
        " a",
        "{x}",
        "2026-01-01",
        "on",
        "y",
        "=",
    ],
)
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    assert yaml.safe_load(to_yaml({"k": text})) == {"k": text}


def test_blocks_are_indented_as_people_write_them() -> None:
    value = {"a": {"b": [1, {"c": "d", "e": []}]}, "f": [[1], {}]}
    assert to_yaml(value) == "a:\n  b:\n  - 1\n  - c: d\n    e: []\nf:\n- - 1\n- {}\n"
