"""The static file: what is accepted, and what is said about the rest."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

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
