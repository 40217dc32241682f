"""Certificates: who is named, for how long, and what is refused. Chains are checked by cryptography's own verifier."""

import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import verification

from hawse_api import spiffe
from hawse_operator.control import ca, edge_certificate

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
AUTHORITY = ca.new_ca(NOW)
NODE = spiffe.ExitNodeId("tunnels.example.com", "eu-west-1", "eu-west-1-a")
AGENT = spiffe.AgentId("tunnels.example.com", "team-a", "uid-1", "agent-1")


def csr_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, digest)
        .public_bytes(serialization.Encoding.DER)
    )


def verify_server(leaf: x509.Certificate, roots: tuple[x509.Certificate, ...], name: str, at: datetime = NOW) -> None:
    builder = verification.PolicyBuilder().store(verification.Store(list(roots))).time(at)
    builder.build_server_verifier(x509.DNSName(name)).verify(leaf, [])


def test_an_exit_node_is_a_server_for_agents_and_a_client_of_the_operator() -> None:
    leaf = ca.issue_exit_node(AUTHORITY, ca.new_key().public_key(), NODE, NOW)
    assert ca.uri_of(leaf) == "spiffe://tunnels.example.com/exitnode/eu-west-1/eu-west-1-a"
    verify_server(leaf, AUTHORITY.roots, "connect.tunnels.example.com")
    assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (
        NOW - timedelta(hours=1),
        NOW + timedelta(hours=24),
    )
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {use.dotted_string for use in uses} == {"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}


def test_an_agent_is_a_client_and_nothing_else() -> None:
    leaf = ca.issue_agent(AUTHORITY, ca.new_key().public_key(), AGENT, NOW)
    assert ca.uri_of(leaf) == "spiffe://tunnels.example.com/ns/team-a/agenttoken/uid-1/agent/agent-1"
    builder = verification.PolicyBuilder().store(verification.Store(list(AUTHORITY.roots))).time(NOW)
    assert builder.build_client_verifier().verify(leaf, []).chain
    with pytest.raises(verification.VerificationError):
        verify_server(leaf, AUTHORITY.roots, "connect.tunnels.example.com")


def test_the_operators_certificate_names_its_service() -> None:
    leaf = ca.issue_operator(AUTHORITY, ca.new_key().public_key(), "hawse-operator.hawse-system.svc", NOW)
    verify_server(leaf, AUTHORITY.roots, "hawse-operator.hawse-system.svc")


@pytest.mark.parametrize(
    ("der", "why"),
    [
        pytest.param(b"", "0 bytes", id="empty"),
        pytest.param(b"x" * 4097, "4097 bytes", id="too long"),
        pytest.param(b"rubbish", "not PKCS#10", id="rubbish"),
        pytest.param(csr_of(ec.generate_private_key(ec.SECP384R1())), "only P-256", id="P-384"),
        pytest.param(csr_of(ed25519.Ed25519PrivateKey.generate()), "only P-256", id="Ed25519"),
        pytest.param(csr_of(rsa.generate_private_key(65537, 2048)), "only P-256", id="RSA"),
    ],
)
def test_requests_that_are_not_acceptable_say_why(der: bytes, why: str) -> None:
    refused = ca.parse_csr(der)
    assert isinstance(refused, ca.Refused)
    assert why in refused.why


def test_a_request_whose_signature_is_not_by_its_key_is_refused() -> None:
    der = bytearray(csr_of(ca.new_key()))
    der[-1] ^= 1
    assert isinstance(ca.parse_csr(bytes(der)), ca.Refused)


def test_a_good_request_gives_its_key() -> None:
    key = ca.new_key()
    assert ca.parse_csr(csr_of(key)) == key.public_key()


def trusting(signer: ca.Authority, other: ca.Authority) -> ca.Authority:
    return ca.Authority(signer.key, (signer.certificate, other.certificate))


def pems(authority: ca.Authority) -> tuple[bytes, bytes]:
    return ca.roots_pem(authority), ca.key_pem(authority.key)


def test_two_may_be_trusted_while_one_signs() -> None:
    new = ca.new_ca(NOW)
    both = trusting(new, AUTHORITY)
    old_leaf = ca.issue_agent(AUTHORITY, ca.new_key().public_key(), AGENT, NOW)
    new_leaf = ca.issue_agent(both, ca.new_key().public_key(), AGENT, NOW)
    assert all(ca.is_signed_by_us(both, leaf, NOW) for leaf in (old_leaf, new_leaf))
    assert not ca.is_signed_by_us(AUTHORITY, new_leaf, NOW)
    assert not ca.is_signed_by_us(new, old_leaf, NOW)
    assert ca.ca_hashes(both) == [
        hashlib.sha256(ca.der(one)).digest() for one in (new.certificate, AUTHORITY.certificate)
    ]
    assert AUTHORITY.certificate.subject != new.certificate.subject, "or verifiers pick the wrong one"


def test_time_bounds_a_certificate_and_grace_extends_its_end_only() -> None:
    leaf = ca.issue_agent(AUTHORITY, ca.new_key().public_key(), AGENT, NOW)
    late = NOW + timedelta(hours=25)
    assert not ca.is_signed_by_us(AUTHORITY, leaf, late)
    assert ca.is_signed_by_us(AUTHORITY, leaf, late, grace=timedelta(hours=2))
    assert not ca.is_signed_by_us(AUTHORITY, leaf, NOW - timedelta(hours=2), grace=timedelta(hours=2))


def test_a_retired_ca_vouches_for_renewals_only() -> None:
    leaf = ca.issue_agent(AUTHORITY, ca.new_key().public_key(), AGENT, NOW)
    new = dataclasses.replace(ca.new_ca(NOW), retired=(AUTHORITY.certificate,))
    assert not ca.is_signed_by_us(new, leaf, NOW)
    assert ca.is_signed_by_us(new, leaf, NOW, grace=timedelta(days=1))


def test_a_short_life_begins_less_far_back() -> None:
    short = dataclasses.replace(AUTHORITY, lifetime=timedelta(seconds=48))
    leaf = ca.issue_agent(short, ca.new_key().public_key(), AGENT, NOW)
    assert leaf.not_valid_before_utc == NOW - timedelta(seconds=2)
    assert leaf.not_valid_after_utc == NOW + timedelta(seconds=48)


def test_what_was_written_loads_with_the_signer_first() -> None:
    both = trusting(ca.new_ca(NOW), AUTHORITY)
    crt, key = pems(both)
    loaded = ca.load(crt, key)
    assert loaded.roots == both.roots
    certificates = x509.load_pem_x509_certificates(crt)
    swapped = b"".join(ca.pem(one) for one in reversed(certificates))
    assert ca.load(swapped, key).roots == both.roots


@pytest.mark.parametrize(
    ("crt", "key", "words"),
    [
        pytest.param(b"x", pems(AUTHORITY)[1], "not PEM", id="no certificate"),
        pytest.param(pems(AUTHORITY)[0], b"x", "not PEM", id="no key"),
        pytest.param(pems(AUTHORITY)[0], pems(ca.new_ca(NOW))[1], "belongs to ca.key", id="another key"),
        pytest.param(pems(AUTHORITY)[0] * 3, pems(AUTHORITY)[1], "at most two", id="three"),
    ],
)
def test_a_secret_that_is_no_ca_is_refused_with_the_reason(crt: bytes, key: bytes, words: str) -> None:
    with pytest.raises(ca.AuthorityUnreadableError, match=words):
        ca.load(crt, key)


def test_keys_are_not_in_reprs() -> None:
    assert "PRIVATE" not in repr(AUTHORITY)
    assert "PRIVATE" not in repr(edge_certificate.new_edge_certificate("example.com", NOW))


def test_two_uris_are_nobody() -> None:
    key = ca.new_key()
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(AUTHORITY.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(who)) for who in (NODE, AGENT)]),
            critical=False,
        )
        .sign(AUTHORITY.key, hashes.SHA256())
    )
    assert ca.uri_of(leaf) is None
    assert ca.uri_of(AUTHORITY.certificate) is None


def test_the_edge_certificate_is_for_the_domain_and_its_names_and_nothing_else() -> None:
    made = edge_certificate.new_edge_certificate("tunnels.example.com", NOW)
    leaf, root = x509.load_pem_x509_certificates(made.chain_pem)
    assert ca.pem(root) == made.ca_pem
    for name in ("tunnels.example.com", "shop.tunnels.example.com"):
        verify_server(leaf, (root,), name)
    for name in ("a.shop.tunnels.example.com", "example.com"):
        with pytest.raises(verification.VerificationError):
            verify_server(leaf, (root,), name)
    constraint = root.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraint.critical
    assert constraint.value.permitted_subtrees == [x509.DNSName("tunnels.example.com")]


def test_a_renewed_edge_certificate_is_under_the_same_ca() -> None:
    made = edge_certificate.new_edge_certificate("example.com", NOW)
    later = NOW + timedelta(days=61)
    assert not edge_certificate.should_renew(made.not_after, NOW + timedelta(days=59))
    assert edge_certificate.should_renew(made.not_after, later)
    renewed = edge_certificate.renew_edge_certificate(made, "example.com", later)
    assert (renewed.ca_pem, renewed.key_pem != made.key_pem) == (made.ca_pem, True)
    verify_server(
        x509.load_pem_x509_certificates(renewed.chain_pem)[0],
        (x509.load_pem_x509_certificate(made.ca_pem),),
        "shop.example.com",
        later,
    )
