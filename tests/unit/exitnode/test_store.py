"""What outlives a restart, and what is ignored because it cannot be trusted."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hawse_api import spiffe
from hawse_api.ir import control_pb2, ir_pb2
from hawse_exitnode import keys
from hawse_exitnode.holdings import Held
from hawse_exitnode.store import CONFIGURATION_FILE, HEARD_FILE, IDENTITY_FILE, Kept, Store
from hawse_operator.control import ca

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def an_identity() -> keys.NodeIdentity:
    authority, fresh = ca.new_ca(NOW), keys.new_key()
    public = ca.parse_csr(fresh.csr)
    assert not isinstance(public, ca.Refused)
    leaf = ca.issue_exit_node(authority, public, spiffe.ExitNodeId("example.com", "eu-west-1", "eu-west-1-a"), NOW)
    return keys.build_identity(
        fleet="default",
        domain="example.com",
        region="eu-west",
        chain=ca.chain_of(authority, leaf),
        key=fresh.key,
        roots=ca.roots_der(authority),
    )


KEPT = Kept(
    7,
    {"fleet": Held(ir_pb2.Object(key="fleet", fleet=ir_pb2.Fleet(name="default")), "h1")},
    [control_pb2.Material(id="certificate/a", sha256="s", chain_pem=b"chain", key_pem=b"SECRET-KEY")],
)


def test_identity_and_configuration_come_back_as_they_were(tmp_path: Path) -> None:
    store, identity = Store(tmp_path / "state"), an_identity()
    store.save_identity(identity)
    store.save_configuration(KEPT)
    assert store.load_identity() == identity
    assert store.load_configuration() == KEPT


def test_files_are_for_the_owner_only_and_nothing_else_is_left(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    store.save_configuration(KEPT)
    store.save_configuration(KEPT)
    files = list((tmp_path / "state").iterdir())
    assert [file.name for file in files] == [CONFIGURATION_FILE]
    assert files[0].stat().st_mode & 0o777 == 0o600


def test_nothing_kept_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    assert (store.load_identity(), store.load_configuration()) == (None, None)
    assert caplog.records == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe rubbish", id="rubbish"),
        pytest.param(b"0" * 64 + b"\n{}", id="wrong checksum"),
    ],
)
def test_a_file_that_is_not_ours_is_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    for name in (IDENTITY_FILE, CONFIGURATION_FILE):
        (tmp_path / name).write_bytes(content)
    store = Store(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert (store.load_identity(), store.load_configuration()) == (None, None)
    assert len(caplog.records) == 2


def test_one_flipped_byte_is_noticed_and_secrets_stay_out_of_the_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    store.save_configuration(KEPT)
    path = tmp_path / CONFIGURATION_FILE
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert store.load_configuration() is None
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize(
    "body", ['{"format":99}', '{"format":1}', '{"format":1,"term":1,"objects":{"a":1},"materials":[]}', "[]"]
)
def test_a_well_formed_file_of_another_shape_is_ignored(tmp_path: Path, body: str) -> None:
    import hashlib

    payload = body.encode()
    (tmp_path / CONFIGURATION_FILE).write_bytes(hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
    assert Store(tmp_path).load_configuration() is None


def test_the_time_of_the_operators_last_word_comes_back_and_rubbish_is_no_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.load_heard() is None
    store.save_heard(1_795_521_600.25)
    assert store.load_heard() == 1_795_521_600.25
    store._write(HEARD_FILE, {"heard": "noon"})
    assert store.load_heard() is None
    (tmp_path / HEARD_FILE).write_bytes(b"torn")
    assert store.load_heard() is None


def test_forgetting_removes_everything(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save_configuration(KEPT)
    store.save_heard(1.0)
    store.forget()
    store.forget()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_an_error_of_the_caller(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Store(tmp_path / "file" / "state").save_configuration(KEPT)
