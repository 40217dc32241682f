"""Who gets a certificate: one row per case."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hawse_api import names, spiffe
from hawse_api.ir import frames_pb2
from hawse_operator.control import ca, enrol
from hawse_operator.control.books import TokenRecord

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
AUTHORITY = ca.new_ca(NOW)
NONCE = b"n" * 32
KEY = ca.new_key()
RECORD = TokenRecord(
    id="id1", uid="uid-1", namespace="team-a", name="laptop", fleet="default", domain="example.com", secret=b"s" * 32
)
WHO = spiffe.AgentId("example.com", "team-a", "uid-1", "agent-1")


def csr_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


CSR = csr_of(KEY)


def request(**changes: Any) -> frames_pb2.EnrolRequest:
    fields = {"token_id": "id1", "csr": CSR, "agent_id": "agent-1"} | changes
    fields.setdefault("proof", enrol.proof_of(b"s" * 32, fields["csr"], NONCE))
    return frames_pb2.EnrolRequest(**fields)


def record(**changes: Any) -> TokenRecord:
    return dataclasses.replace(RECORD, **changes)


def test_a_right_proof_gets_a_certificate_that_names_the_token_and_the_agent() -> None:
    allowed = enrol.may_enrol(request(), NONCE, RECORD, NOW)
    assert isinstance(allowed, enrol.Allowed)
    leaf = x509.load_der_x509_certificate(enrol.certificate_for(AUTHORITY, allowed, NOW)[0])
    assert ca.uri_of(leaf) == str(WHO)
    assert leaf.public_key() == KEY.public_key()


@pytest.mark.parametrize(
    ("asked", "nonce", "found", "code", "words"),
    [
        pytest.param(request(), NONCE, None, 3002, "not known here", id="unknown token"),
        pytest.param(request(proof=b"x" * 32), NONCE, RECORD, 3002, "not known here", id="wrong secret"),
        pytest.param(request(proof=b""), NONCE, RECORD, 3002, "not known", id="no proof"),
        pytest.param(request(), b"m" * 32, RECORD, 3002, "not known", id="proof for another nonce"),
        pytest.param(request(), b"n" * 31, RECORD, 3002, "not known", id="short nonce"),
        pytest.param(request(), NONCE, record(secret=b""), 3002, "not known", id="secret is gone"),
        pytest.param(request(token_id=""), NONCE, RECORD, 3002, "not known", id="no token id"),
        pytest.param(request(token_id="x" * 65), NONCE, RECORD, 3002, "not known", id="endless token id"),
        pytest.param(request(agent_id="../x"), NONCE, RECORD, 3011, "agent's id", id="agent id with a path"),
        pytest.param(request(agent_id="a" * 65), NONCE, RECORD, 3011, "agent's id", id="endless agent id"),
        pytest.param(request(agent_id=""), NONCE, RECORD, 3011, "agent's id", id="no agent id"),
        pytest.param(request(csr=b"rubbish"), NONCE, RECORD, 3011, "PKCS#10", id="bad CSR with a right proof"),
        pytest.param(request(), NONCE, record(deleting=True), 3003, "being deleted", id="being deleted"),
        pytest.param(
            request(), NONCE, record(expires_at=NOW - timedelta(days=3)), 3004, "expired 3 days ago", id="expired"
        ),
        pytest.param(request(), NONCE, record(expires_at=NOW), 3004, "expired 0 s ago", id="expires now"),
        pytest.param(request(), NONCE, record(once=True, used_up=True, secret=b""), 3005, "used up", id="used up"),
        pytest.param(
            request(), NONCE, record(max_agents=2, agents=frozenset({"a", "b"})), 3006, "admits 2 agent", id="too many"
        ),
    ],
)
def test_a_refusal_has_its_code_and_says_what_to_do(
    asked: frames_pb2.EnrolRequest, nonce: bytes, found: TokenRecord | None, code: int, words: str
) -> None:
    refused = enrol.may_enrol(asked, nonce, found, NOW)
    assert isinstance(refused, enrol.Refused)
    assert refused.code == f"HAWSE-{code}"
    assert refused.final
    assert words in refused.message


@pytest.mark.parametrize("changes", [{"expires_at": NOW}, {"deleting": True}, {"agents": frozenset({"x"})}])
def test_without_the_secret_nothing_is_told_about_the_token(changes: dict[str, Any]) -> None:
    refused = enrol.may_enrol(request(proof=b"x" * 32), NONCE, record(**changes), NOW)
    assert isinstance(refused, enrol.Refused)
    assert refused.code == "HAWSE-3002"
    assert "laptop" not in refused.message


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"agents": frozenset({"agent-1"})}, id="logs in again"),
        pytest.param({"expires_at": NOW + timedelta(seconds=1)}, id="about to expire"),
        pytest.param({"max_agents": 2, "agents": frozenset({"b"})}, id="room for one more"),
        pytest.param({"once": True}, id="first use of a Once token"),
    ],
)
def test_these_are_let_in(changes: dict[str, Any]) -> None:
    assert isinstance(enrol.may_enrol(request(), NONCE, record(**changes), NOW), enrol.Allowed)


def renewal(csr: bytes = CSR, proof: bytes = b"") -> frames_pb2.RenewRequest:
    return frames_pb2.RenewRequest(csr=csr, proof=proof)


def session_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return ca.issue_agent(AUTHORITY, key.public_key(), WHO, NOW)


KNOWN = record(agents=frozenset({"agent-1"}))


def test_a_renewal_for_the_same_key_needs_no_other_proof() -> None:
    allowed = enrol.may_renew(renewal(), WHO, KNOWN, session_certificate(KEY))
    assert isinstance(allowed, enrol.Allowed)


def test_a_renewal_for_a_new_key_is_proved_by_the_old_one() -> None:
    old = ca.new_key()
    proof = old.sign(CSR, ec.ECDSA(hashes.SHA256()))
    assert isinstance(enrol.may_renew(renewal(proof=proof), WHO, KNOWN, session_certificate(old)), enrol.Allowed)


@pytest.mark.parametrize(
    "proof",
    [
        pytest.param(b"", id="none"),
        pytest.param(ca.new_key().sign(CSR, ec.ECDSA(hashes.SHA256())), id="by another key"),
        pytest.param(KEY.sign(CSR, ec.ECDSA(hashes.SHA256())), id="by the new key"),
    ],
)
def test_an_exit_node_cannot_renew_in_an_agents_name(proof: bytes) -> None:
    refused = enrol.may_renew(renewal(proof=proof), WHO, KNOWN, session_certificate(ca.new_key()))
    assert isinstance(refused, enrol.Refused)
    assert refused.code == names.BY_NAME["NOT_ALLOWED"].code


@pytest.mark.parametrize(
    ("found", "code"),
    [
        pytest.param(None, 3003, id="deleted"),
        pytest.param(dataclasses.replace(KNOWN, deleting=True), 3003, id="being deleted"),
        pytest.param(RECORD, 2010, id="not a counted agent"),
        pytest.param(dataclasses.replace(KNOWN, namespace="team-b"), 2010, id="another namespace"),
        pytest.param(dataclasses.replace(KNOWN, domain="other.example"), 2010, id="another domain"),
    ],
)
def test_renewals_that_are_refused(found: TokenRecord | None, code: int) -> None:
    refused = enrol.may_renew(renewal(), WHO, found, session_certificate(KEY))
    assert isinstance(refused, enrol.Refused)
    assert refused.code == f"HAWSE-{code}"


@pytest.mark.parametrize("changes", [{"expires_at": NOW}, {"once": True, "used_up": True, "secret": b""}])
def test_expiry_and_use_bound_enrolments_only(changes: dict[str, Any]) -> None:
    found = dataclasses.replace(KNOWN, **changes)
    assert isinstance(enrol.may_renew(renewal(), WHO, found, session_certificate(KEY)), enrol.Allowed)


def test_a_renewal_with_a_bad_request_is_refused() -> None:
    refused = enrol.may_renew(renewal(csr=b"x"), WHO, KNOWN, session_certificate(KEY))
    assert isinstance(refused, enrol.Refused)
    assert refused.code == "HAWSE-3011"


def test_refusals_that_pass_are_not_final() -> None:
    assert not enrol.operator_away().final
    assert enrol.too_many_attempts(0.2).to_frame().message.endswith("in 1 s.")


def test_the_secret_is_not_in_the_repr() -> None:
    assert "ssss" not in repr(RECORD)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (86400, "1 day"), (200000, "2 days")]
)
def test_ages_are_told_in_one_unit(seconds: int, text: str) -> None:
    refused = enrol.may_enrol(request(), NONCE, record(expires_at=NOW - timedelta(seconds=seconds)), NOW)
    assert isinstance(refused, enrol.Refused)
    assert f"expired {text} ago" in refused.message
