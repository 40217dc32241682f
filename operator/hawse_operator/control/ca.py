"""The internal CA: who signs exit nodes, agents and the operator's own serving certificate. Pure.

P-256 everywhere (design 0002, 4). Two CAs are trusted during a rotation: `Authority.roots` holds both, the first signs.
Reads no clock, stores nothing: reconcile keeps `ca.crt` and `ca.key` in a Secret made once. Certificates for visitors
are in `edge_certificate`. Called by `enrol`, `service` and reconcile.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hawse_api import spiffe

LEAF_LIFETIME = timedelta(hours=24)
BACKDATED = timedelta(hours=1)
"""Of every leaf's notBefore: clocks of laptops are late. A 24th of a shorter life, so that half of it is not over."""
CA_LIFETIME = timedelta(days=3650)
MAX_CSR_BYTES = 4096
"""A P-256 request is about 250 bytes; names in it are ignored."""


class AuthorityUnreadableError(ValueError):
    """The CA's Secret does not hold a certificate and its key; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request for a certificate is not acceptable."""

    why: str


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that signs, and all CAs to trust."""

    key: ec.EllipticCurvePrivateKey
    roots: tuple[x509.Certificate, ...]
    """Signer first; a second one during a rotation."""
    lifetime: timedelta = LEAF_LIFETIME
    """Of certificates that it signs."""
    retired: tuple[x509.Certificate, ...] = ()
    """Trusted no more, except for the renewal of a session that was opened under them."""

    @property
    def certificate(self) -> x509.Certificate:
        """The signer."""
        return self.roots[0]

    def __repr__(self) -> str:
        return f"Authority({len(self.roots)} roots, key hidden)"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key from the system's randomness."""
    return ec.generate_private_key(ec.SECP256R1())


def new_ca(now: datetime, *, key: ec.EllipticCurvePrivateKey | None = None) -> Authority:
    """A new internal CA; `key` only for tests that want the same one twice."""
    key = key or new_key()
    digest = _short_id(key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Hawse internal CA {digest}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(ca_key_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, (certificate,))


def load(ca_crt: bytes, ca_key: bytes, *, lifetime: timedelta = LEAF_LIFETIME) -> Authority:
    """Read roots and the signer's key from PEM; the certificate that belongs to the key becomes the signer.

    Raises:
        AuthorityUnreadableError: not PEM, not P-256, no certificate belongs to the key, or more than two certificates.
    """
    try:
        roots = x509.load_pem_x509_certificates(ca_crt)
        key = serialization.load_pem_private_key(ca_key, None)
    except (ValueError, TypeError) as exc:
        raise AuthorityUnreadableError(f"the CA's Secret is not PEM: {exc}") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise AuthorityUnreadableError("ca.key is not a P-256 key")
    if len(roots) > 2:
        raise AuthorityUnreadableError(f"ca.crt holds {len(roots)} certificates; at most two are trusted at a time")
    signer = [root for root in roots if root.public_key() == key.public_key()]
    if not signer:
        raise AuthorityUnreadableError("no certificate in ca.crt belongs to ca.key")
    return Authority(key, (signer[0], *(root for root in roots if root is not signer[0])), lifetime)


def parse_csr(der: bytes) -> ec.EllipticCurvePublicKey | Refused:
    """The public key of a PKCS#10 request, whose signature proves the private one. Names in it are ignored."""
    if not der or len(der) > MAX_CSR_BYTES:
        return Refused(f"the certificate request has {len(der)} bytes; 1 to {MAX_CSR_BYTES} are accepted")
    try:
        csr = x509.load_der_x509_csr(der)
        key = csr.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            return Refused("the certificate request is for another kind of key; only P-256 is accepted")
        if not csr.is_signature_valid:
            return Refused("the certificate request is not signed by its own key")
    except Exception:
        return Refused("the certificate request is not PKCS#10 in DER")
    return key


def issue_exit_node(
    authority: Authority, public_key: ec.EllipticCurvePublicKey, who: spiffe.ExitNodeId, now: datetime
) -> x509.Certificate:
    """Certificate of an exit node: server for agents (`connect.<domain>`), client of the operator."""
    names = [x509.UniformResourceIdentifier(str(who)), x509.DNSName(f"connect.{who.domain}")]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(authority, public_key, f"exit node {who.pod}", names, uses, now)


def issue_agent(
    authority: Authority, public_key: ec.EllipticCurvePublicKey, who: spiffe.AgentId, now: datetime
) -> x509.Certificate:
    """Client certificate of an agent."""
    names = [x509.UniformResourceIdentifier(str(who))]
    return _issue(authority, public_key, f"agent {who.agent_id}", names, [ExtendedKeyUsageOID.CLIENT_AUTH], now)


def issue_operator(
    authority: Authority, public_key: ec.EllipticCurvePublicKey, dns_name: str, now: datetime
) -> x509.Certificate:
    """Serving certificate of the operator: `hawse-operator.<namespace>.svc`."""
    return _issue(
        authority, public_key, "hawse operator", [x509.DNSName(dns_name)], [ExtendedKeyUsageOID.SERVER_AUTH], now
    )


def is_signed_by_us(
    authority: Authority, certificate: x509.Certificate, now: datetime, *, grace: timedelta = timedelta()
) -> bool:
    """Whether one of the roots signed it and it is valid now, or was within `grace`; then a retired one will do."""
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc + grace:
        return False
    for root in (*authority.roots, *(authority.retired if grace else ())):
        try:
            certificate.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def uri_of(certificate: x509.Certificate) -> str | None:
    """The one URI SAN of a certificate; None if there is none or more than one (SPIFFE X.509-SVID 2)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return None
    return uris[0] if len(uris) == 1 else None


def chain_of(authority: Authority, leaf: x509.Certificate) -> list[bytes]:
    """DER, leaf first, with the CA: agents that enrol compare the CA's hash with the one in their token."""
    return [der(leaf), der(authority.certificate)]


def roots_der(authority: Authority) -> list[bytes]:
    """All roots, DER."""
    return [der(root) for root in authority.roots]


def roots_pem(authority: Authority) -> bytes:
    """All roots, PEM: for the ConfigMap that exit nodes mount."""
    return b"".join(pem(root) for root in authority.roots)


def ca_hashes(authority: Authority) -> list[bytes]:
    """SHA-256 of the roots (DER): for the text of tokens."""
    return [hashlib.sha256(root).digest() for root in roots_der(authority)]


def der(certificate: x509.Certificate) -> bytes:
    """One certificate, DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(certificate: x509.Certificate) -> bytes:
    """One certificate, PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#8, PEM, not encrypted: for Secrets only."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def ca_key_usage() -> x509.KeyUsage:
    """What a CA's key is for."""
    return _key_usage(is_ca=True)


def leaf_key_usage() -> x509.KeyUsage:
    """What a leaf's key is for: ECDSA signatures in handshakes."""
    return _key_usage(is_ca=False)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issue(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    common_name: str,
    names: Sequence[x509.GeneralName],
    uses: Sequence[x509.ObjectIdentifier],
    now: datetime,
) -> x509.Certificate:
    issuer = authority.certificate
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])]))
        .issuer_name(issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - min(BACKDATED, authority.lifetime / 24))
        .not_valid_after(min(now + authority.lifetime, issuer.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(leaf_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)  # type: ignore[arg-type]  # a CA of ours is P-256
        .sign(authority.key, hashes.SHA256())
    )


def _short_id(key: ec.EllipticCurvePrivateKey) -> str:
    """Eight hex digits of the key: two CAs in a rotation must not share a subject."""
    public = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return hashlib.sha256(public).hexdigest()[:8]
