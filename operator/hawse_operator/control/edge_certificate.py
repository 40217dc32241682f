"""Self-signed certificate for a Fleet's visitors (`certificate.type: SelfSigned`): a small CA, a wildcard leaf. Pure.

Apart from the internal CA on purpose: a person may import this CA into a browser or pass it to `curl --cacert`, so it
can name nothing outside the Fleet's domain (critical name constraints). Reconcile stores all four parts in a Secret.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hawse_operator.control import ca

LEAF_LIFETIME = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)
"""A leaf is made anew when less is left; the CA stays, so that who imported it notices nothing."""


@dataclass(frozen=True, slots=True)
class EdgeCertificate:
    """A wildcard certificate for `<domain>` and `*.<domain>`, and the CA that vouches for it; all PEM."""

    chain_pem: bytes
    """Leaf, then CA."""
    key_pem: bytes = field(repr=False)
    ca_pem: bytes
    ca_key_pem: bytes = field(repr=False)
    not_after: datetime


def new_edge_certificate(domain: str, now: datetime) -> EdgeCertificate:
    """A new CA for the domain's visitors and its first leaf."""
    key = ca.new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Hawse visitors of {domain}"[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - ca.BACKDATED)
        .not_valid_after(now + ca.CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(ca.ca_key_usage(), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(domain)], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _with_leaf(certificate, key, domain, now)


def renew_edge_certificate(old: EdgeCertificate, domain: str, now: datetime) -> EdgeCertificate:
    """A new leaf under the same CA.

    Raises:
        ca.AuthorityUnreadableError: the stored CA is not readable.
    """
    try:
        certificate = x509.load_pem_x509_certificate(old.ca_pem)
        key = serialization.load_pem_private_key(old.ca_key_pem, None)
    except (ValueError, TypeError) as exc:
        raise ca.AuthorityUnreadableError(f"the visitors' CA is not PEM: {exc}") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ca.AuthorityUnreadableError("the visitors' CA has another kind of key than P-256")
    return _with_leaf(certificate, key, domain, now)


def should_renew(not_after: datetime, now: datetime) -> bool:
    """Whether it is time for a new leaf."""
    return not_after - now < RENEW_BEFORE


def _with_leaf(
    issuer: x509.Certificate, issuer_key: ec.EllipticCurvePrivateKey, domain: str, now: datetime
) -> EdgeCertificate:
    key = ca.new_key()
    names = [x509.DNSName(domain), x509.DNSName(f"*.{domain}")]
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain[:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - ca.BACKDATED)
        .not_valid_after(now + LEAF_LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(ca.leaf_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return EdgeCertificate(
        chain_pem=ca.pem(leaf) + ca.pem(issuer),
        key_pem=ca.key_pem(key),
        ca_pem=ca.pem(issuer),
        ca_key_pem=ca.key_pem(issuer_key),
        not_after=leaf.not_valid_after_utc,
    )
