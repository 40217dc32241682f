"""Identities of exit nodes, and whom certificates name."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from hawse_api import spiffe
from hawse_exitnode import keys
from hawse_operator.control import ca

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
AUTHORITY = ca.new_ca(NOW)
NODE = spiffe.ExitNodeId("example.com", "eu-west-1", "eu-west-1-a")
AGENT = spiffe.AgentId("example.com", "team-a", "t1", "agent-1")


def build(**changes: object) -> keys.NodeIdentity:
    fresh = keys.new_key()
    public = ca.parse_csr(fresh.csr)
    assert not isinstance(public, ca.Refused)
    leaf = ca.issue_exit_node(AUTHORITY, public, NODE, NOW)
    parts: dict[str, object] = {
        "fleet": "default",
        "domain": "example.com",
        "region": "eu-west",
        "chain": ca.chain_of(AUTHORITY, leaf),
        "key": fresh.key,
        "roots": ca.roots_der(AUTHORITY),
    }
    return keys.build_identity(**(parts | changes))  # type: ignore[arg-type]


def test_name_and_pod_come_from_the_certificate() -> None:
    identity = build()
    assert (identity.exit_node, identity.pod, identity.region) == ("eu-west-1", "eu-west-1-a", "eu-west")
    assert (identity.not_before, identity.not_after) == (NOW - timedelta(hours=1), NOW + timedelta(hours=24))
    assert identity.half_life == NOW + timedelta(hours=11, minutes=30)


def test_an_identity_is_valid_between_its_dates_only() -> None:
    identity = build()
    assert identity.is_valid(NOW)
    assert not identity.is_valid(NOW + timedelta(hours=24))
    assert not identity.is_valid(NOW - timedelta(hours=2))


def test_grpc_gets_pem_that_cryptography_reads_back() -> None:
    identity = build()
    assert [
        one.public_bytes(serialization.Encoding.DER) for one in x509.load_pem_x509_certificates(identity.chain_pem())
    ] == list(identity.chain)
    assert keys.pem_key_to_der(identity.key_pem()) == identity.key
    assert keys.pem_chain_to_der(identity.roots_pem()) == list(identity.roots)


def test_a_certificate_names_an_exit_node_or_an_agent_and_never_both() -> None:
    public = ca.parse_csr(keys.new_key().csr)
    assert not isinstance(public, ca.Refused)
    agents = ca.chain_of(AUTHORITY, ca.issue_agent(AUTHORITY, public, AGENT, NOW))[0]
    nodes = build().chain[0]
    assert (keys.exit_node_of(nodes), keys.agent_of(nodes)) == (str(NODE), None)
    assert (keys.exit_node_of(agents), keys.agent_of(agents)) == ("", AGENT)
    assert (keys.exit_node_of(b""), keys.exit_node_of(b"nonsense")) == ("", "")


def test_the_key_is_not_in_the_repr() -> None:
    identity = build()
    assert "key=" not in repr(identity)
    assert "key=" not in repr(keys.new_key())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"key": keys.new_key().key}, "not for this key", id="another key"),
        pytest.param({"roots": ca.roots_der(ca.new_ca(NOW))}, "none of the roots", id="another CA"),
        pytest.param({"roots": []}, "none of the roots", id="no CA"),
        pytest.param({"domain": "other.example"}, "not one of an exit node in other.example", id="another domain"),
        pytest.param({"chain": []}, "not readable", id="no chain"),
        pytest.param({"chain": [b"x"]}, "not readable", id="rubbish"),
        pytest.param({"key": b"x"}, "not readable", id="no key"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(keys.IdentityUnusableError, match=words):
        build(**changes)


def test_an_agent_is_known_by_its_certificate_and_an_exit_node_is_none() -> None:
    key = ca.new_key().public_key()
    assert keys.agent_of(ca.der(ca.issue_agent(AUTHORITY, key, AGENT, NOW))) == AGENT
    assert keys.agent_of(ca.der(ca.issue_exit_node(AUTHORITY, key, NODE, NOW))) is None
    assert keys.agent_of(ca.der(AUTHORITY.certificate)) is None
    assert keys.agent_of(b"rubbish") is None


def test_text_that_is_not_pem_is_refused() -> None:
    for read in (keys.pem_chain_to_der, keys.pem_key_to_der):
        with pytest.raises(keys.IdentityUnusableError, match="PEM"):
            read(b"hello")


def test_a_certificate_with_any_byte_damaged_is_unusable_and_never_a_crash() -> None:
    whole, usable = build(), 0
    leaf = whole.chain[0]
    for at in range(len(leaf)):
        damaged = leaf[:at] + bytes([leaf[at] ^ 0x15]) + leaf[at + 1 :]
        try:
            build(chain=[damaged], key=whole.key, roots=whole.roots)
        except keys.IdentityUnusableError:
            continue
        usable += 1
    assert usable == 0
