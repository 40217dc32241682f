"""The static file: what is accepted, and what is said about the rest."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hawse_api import spiffe
from hawse_exitnode import static
from hawse_exitnode.errors import UsageError
from hawse_operator.control import ca

NOW = datetime.now(UTC)


def a_file() -> dict[str, Any]:
    authority, key = ca.new_ca(NOW), ca.new_key()
    leaf = ca.issue_exit_node(authority, key.public_key(), spiffe.ExitNodeId("example.com", "a", "a-0"), NOW)
    return {
        "exit_node": "a",
        "region": "eu-west",
        "bind": "127.0.0.1",
        "domain": "example.com",
        "objects": [{"key": "fleet", "fleet": {"name": "default", "domain": "example.com"}}],
        "certificates": [{"id": "certificate/a", "chain_pem": "x", "key_pem": "SECRET"}],
        "identity": {
            "chain_pem": ca.pem(leaf).decode(),
            "key_pem": ca.key_pem(key).decode(),
            "roots_pem": ca.roots_pem(authority).decode(),
        },
    }


def write(path: Path, content: object) -> Path:
    file = path / "node.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    read = static.read_file(write(tmp_path, a_file()))
    assert (read.identity.pod, read.objects[0].fleet.name, read.materials[0].key_pem) == ("a-0", "default", b"SECRET")
    assert read.file.https_port == 8443


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"htps_port": 1}, "htps_port: Extra inputs", id="unknown field"),
        pytest.param({"https_port": 0, "domain": ""}, "https_port.*domain", id="several at once"),
        pytest.param({"objects": [{"key": "fleet", "flet": {}}]}, 'objects.0: .*"flet"', id="object"),
        pytest.param(
            {"certificates": [{"id": "a", "chain_pem": "", "key_pem": ""}]}, "certificates.0.id", id="material"
        ),
        pytest.param({"domain": "other.example"}, "identity: the certificate is not one", id="identity"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        static.read_file(write(tmp_path, a_file() | change))
    assert "SECRET" not in str(caught.value)


def test_a_missing_file_and_one_that_is_not_json_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        static.read_file(tmp_path / "nothing")
    with pytest.raises(UsageError, match="is not JSON"):
        static.read_file(write(tmp_path, "{"))


# --- Whatever stands in a static file: a configuration, or one UsageError without the keys in it
GOOD = a_file()
WRITTEN = json.dumps(GOOD).encode()
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "key", "fleet", "tunnel", "x"]), inner)
    ),
    max_leaves=8,
)
# tmp_path is shared by the examples of one test: each writes the one file anew.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def configuration_or_usage_error(path: Path, content: bytes) -> None:
    file = path / "node.json"
    file.write_bytes(content)
    try:
        static.read_file(file)
    except UsageError as exc:
        told = str(exc)
    else:
        return
    assert "PRIVATE KEY" not in told
    assert "SECRET" not in told


@SHARED
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    configuration_or_usage_error(tmp_path, content)


@SHARED
@given(st.sampled_from(sorted(GOOD)), ANY)
def test_a_file_with_another_value_in_one_place(tmp_path: Path, name: str, value: object) -> None:
    configuration_or_usage_error(tmp_path, json.dumps({**GOOD, name: value}).encode())


@SHARED
@given(st.integers(0, len(WRITTEN)), st.binary(max_size=6))
def test_a_file_that_was_cut_or_damaged(tmp_path: Path, at: int, new: bytes) -> None:
    configuration_or_usage_error(tmp_path, WRITTEN[:at] + new)
    configuration_or_usage_error(tmp_path, WRITTEN[:at] + new + WRITTEN[at + len(new) :])
