"""The login on disk."""

import dataclasses
import datetime as dt
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import example, given
from hypothesis import strategies as st

from hawse_agent import credentials
from hawse_agent.errors import AgentError, AuthenticationError
from hawse_agent.trial import fleet

NOW = dt.datetime(2026, 11, 24, 7, 0, tzinfo=dt.UTC)
LOGIN = fleet.build_login(fleet.make_fleet("tunnels.example.com", NOW), {"203.0.113.7:7443": 8443}, agent_id="a1")


def test_a_login_reads_back_as_it_was_saved(tmp_path: Path) -> None:
    credentials.save(tmp_path / "hawse", LOGIN, pytest.fail)
    assert credentials.load(tmp_path / "hawse", pytest.fail) == LOGIN
    assert stat.S_IMODE((tmp_path / "hawse" / credentials.FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "hawse").stat().st_mode) == 0o700


def test_exit_nodes_join_those_that_are_known() -> None:
    joined = LOGIN.joined_by(("203.0.113.7:7443", "203.0.113.8:7443"), (1, 9443))
    assert joined.addresses == ("203.0.113.7:7443", "203.0.113.8:7443")
    assert [joined.tcp_address(one) for one in joined.addresses] == ["203.0.113.7:8443", "203.0.113.8:9443"]
    many = tuple(f"192.0.2.{number}:7443" for number in range(1, 100))
    assert len(LOGIN.joined_by(many, (0,) * len(many)).addresses) == credentials.MAX_ADDRESSES


def test_the_key_shows_in_no_repr() -> None:
    assert "key" not in repr(LOGIN)


def test_without_a_login_it_says_how_to_log_in(tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError, match=r"\(HAWSE-2008\).*hawse login -"):
        credentials.load(tmp_path, pytest.fail)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}", b"[]", b"\xff\xff", credentials.encode(LOGIN).replace(b'"version": 1', b'"version": 2')],
    ids=["empty", "cut", "no fields", "a list", "binary", "newer"],
)
def test_a_broken_login_is_told_without_its_content(tmp_path: Path, content: bytes) -> None:
    (tmp_path / credentials.FILE).write_bytes(content)
    (tmp_path / credentials.FILE).chmod(0o600)
    with pytest.raises(AgentError, match="is broken") as caught:
        credentials.load(tmp_path, pytest.fail)
    assert "HAWSE-2012" in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)


def test_a_broken_key_is_not_in_the_message() -> None:
    content = credentials.encode(LOGIN).replace(b"BEGIN PRIVATE KEY-----\\n", b"BEGIN PRIVATE KEY-----\\nAAAA")
    with pytest.raises(ValueError, match=r"^(?!.*AAAA)"):
        credentials.decode(content)


def test_forgetting_removes_the_login_and_keeps_the_agent_id(tmp_path: Path) -> None:
    credentials.save(tmp_path, LOGIN, lambda _: None)
    agent_id = credentials.read_or_make_agent_id(tmp_path, pytest.fail)
    assert credentials.forget(tmp_path)
    assert not credentials.forget(tmp_path)
    assert credentials.read_or_make_agent_id(tmp_path, pytest.fail) == agent_id


def test_the_epoch_is_remembered_and_a_broken_one_is_zero(tmp_path: Path) -> None:
    assert credentials.read_epoch(tmp_path, pytest.fail) == 0
    credentials.write_epoch(tmp_path, 17)
    assert credentials.read_epoch(tmp_path, pytest.fail) == 17
    (tmp_path / credentials.EPOCH_FILE).write_text(f"{1 << 64}\n")
    assert credentials.read_epoch(tmp_path, pytest.fail) == 0, "no frame could say it"
    (tmp_path / credentials.EPOCH_FILE).write_bytes(b"\xffx")
    assert credentials.read_epoch(tmp_path, pytest.fail) == 0


def test_an_empty_answer_to_a_renewal_keeps_roots_and_addresses() -> None:
    assert LOGIN.renewed(LOGIN.chain, (), ()) == LOGIN


# --- Any bytes in the login's file give a login or the one error that is meant for it, never anything else
WRITTEN = credentials.encode(LOGIN)
FIELDS = sorted(json.loads(WRITTEN))
ANY = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=50)
    | st.lists(st.text(max_size=9), max_size=3)
)


def login_or_value_error(content: bytes) -> None:
    try:
        read = credentials.decode(content)
    except ValueError as exc:
        told = str(exc)
    else:
        assert len(read.addresses) <= credentials.MAX_ADDRESSES
        assert credentials.decode(credentials.encode(read)) == read
        return
    assert "PRIVATE KEY" not in told


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    login_or_value_error(content)


@given(st.integers(0, len(WRITTEN)), st.integers(0, len(WRITTEN)), st.binary(max_size=8))
@example(WRITTEN.index(b"-----END PRIVATE") + 8, 0, b" ")  # the parser quotes tags that do not match
def test_a_login_with_a_part_replaced(start: int, end: int, new: bytes) -> None:
    login_or_value_error(WRITTEN[:start] + new + WRITTEN[max(start, min(end, start + 40)) :])


@given(st.sampled_from(FIELDS), ANY)
def test_a_login_with_another_value_in_one_field(name: str, value: object) -> None:
    login_or_value_error(json.dumps({**json.loads(WRITTEN), name: value}).encode())


@pytest.mark.parametrize("kind", ["encrypted", "another curve", "another kind"])
def test_a_key_that_the_agent_never_wrote(kind: str) -> None:
    key = {
        "another kind": ed25519.Ed25519PrivateKey.generate(),
        "another curve": ec.generate_private_key(ec.SECP384R1()),
    }.get(kind, ec.generate_private_key(ec.SECP256R1()))
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if kind == "encrypted":
        protection = serialization.BestAvailableEncryption(b"password")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection).decode()
    login_or_value_error(json.dumps({**json.loads(WRITTEN), "key_pem": pem}).encode())


def test_a_file_of_an_agent_that_knew_no_tcp_ports_still_loads() -> None:
    plain = json.loads(credentials.encode(LOGIN))
    del plain["tcp_ports"]
    loaded = credentials.decode(json.dumps(plain).encode())
    assert loaded.tcp_ports == ()
    assert loaded.tcp_address("203.0.113.7:7443") == "203.0.113.7:443"


def test_each_address_has_the_tcp_port_of_the_same_exit_node() -> None:
    given = ["a.example:7443", "no port", "[2001:db8::1]:7443", "c.example:7443", "d.example:7443"]
    addresses, ports = credentials.pair_addresses(given, [8443, 1, 9443, 70000])
    login = dataclasses.replace(LOGIN, addresses=addresses, tcp_ports=ports)
    assert [login.tcp_address(one) for one in addresses] == [
        "a.example:8443",
        "[2001:db8::1]:9443",
        "c.example:443",
        "d.example:443",
    ]
