"""Key, certificate request and certificates of this exit node, and whom an agent's certificate names. No I/O.

The key never leaves the process, except into HAWSE_STATE_DIR (in memory). Called by `operator_link`, `static` and
`dispatcher`.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hawse_api import spiffe
from hawse_api.certificates import UNREADABLE
from hawse_api.ir import core_pb2


class IdentityUnusableError(ValueError):
    """Certificate, key and roots do not belong together, or are not readable; the message says which."""


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who this process is, with the means to prove it."""

    fleet: str
    domain: str
    exit_node: str
    region: str
    pod: str
    chain: tuple[bytes, ...]
    """DER, leaf first."""
    key: bytes = field(repr=False)
    """PKCS#8, DER."""
    roots: tuple[bytes, ...]
    """DER."""
    not_before: datetime
    not_after: datetime
    reset_secret: bytes = field(default=b"", repr=False)
    """By it agents recognise the successor of a process that was killed; stays over renewals. Empty: the key is it."""

    @property
    def half_life(self) -> datetime:
        """When to renew."""
        return self.not_before + (self.not_after - self.not_before) / 2

    def is_valid(self, now: datetime) -> bool:
        """Whether peers accept it now."""
        return self.not_before <= now < self.not_after

    def to_core(self) -> core_pb2.Identity:
        """As the data plane wants it."""
        secret = self.reset_secret
        return core_pb2.Identity(chain=self.chain, key=self.key, roots=self.roots, reset_secret=secret)

    def chain_pem(self) -> bytes:
        """For gRPC."""
        return b"".join(_to_pem(der) for der in self.chain)

    def roots_pem(self) -> bytes:
        """For gRPC."""
        return b"".join(_to_pem(der) for der in self.roots)

    def key_pem(self) -> bytes:
        """For gRPC."""
        return b"-----BEGIN PRIVATE KEY-----\n" + _base64_lines(self.key) + b"-----END PRIVATE KEY-----\n"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A fresh key and the request for its certificate."""

    key: bytes = field(repr=False)
    """PKCS#8, DER."""
    csr: bytes
    """PKCS#10, DER. Without names: the operator takes them from the bound pod."""


def new_key() -> NewKey:
    """A P-256 key from the system's randomness."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pkcs8 = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return NewKey(pkcs8, csr.public_bytes(serialization.Encoding.DER))


def new_reset_secret() -> bytes:
    """For NodeIdentity."""
    return secrets.token_bytes(32)


def build_identity(
    *,
    fleet: str,
    domain: str,
    region: str,
    chain: Sequence[bytes],
    key: bytes,
    roots: Sequence[bytes],
    reset_secret: bytes = b"",
) -> NodeIdentity:
    """Put together what the operator or a file gave; name and pod come from the certificate.

    Raises:
        IdentityUnusableError: the parts do not belong together.
    """
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        private = serialization.load_der_private_key(key, None)
        trusted = [x509.load_der_x509_certificate(root) for root in roots]
        fits = leaf.public_key() == private.public_key()
    except (*UNREADABLE, IndexError) as exc:
        raise IdentityUnusableError(f"certificate, key or roots are not readable: {exc}") from exc
    if not fits:
        raise IdentityUnusableError("the certificate is not for this key")
    if not any(_is_issued_by(leaf, root) for root in trusted):
        raise IdentityUnusableError("none of the roots has signed the certificate")
    who = spiffe.parse_exit_node(_uri_of(leaf))
    if who is None or who.domain != domain:
        raise IdentityUnusableError(f"the certificate is not one of an exit node in {domain}")
    return NodeIdentity(
        fleet,
        domain,
        who.name,
        region,
        who.pod,
        tuple(chain),
        key,
        tuple(roots),
        leaf.not_valid_before_utc,
        leaf.not_valid_after_utc,
        reset_secret,
    )


def agent_of(certificate: bytes) -> spiffe.AgentId | None:
    """Whom the verified certificate of an agent names; None for anything else."""
    try:
        return spiffe.parse_agent(_uri_of(x509.load_der_x509_certificate(certificate)))
    except UNREADABLE:
        return None


def exit_node_of(certificate: bytes) -> str:
    """SPIFFE id of the exit node that a verified certificate names; "" for anything else."""
    try:
        found = spiffe.parse_exit_node(_uri_of(x509.load_der_x509_certificate(certificate)))
    except UNREADABLE:
        return ""
    return "" if found is None else str(found)


def pem_chain_to_der(pem: bytes) -> list[bytes]:
    """All certificates of a PEM text.

    Raises:
        IdentityUnusableError: there is none.
    """
    try:
        return [one.public_bytes(serialization.Encoding.DER) for one in x509.load_pem_x509_certificates(pem)]
    except UNREADABLE as exc:
        raise IdentityUnusableError(f"not a certificate in PEM: {exc}") from exc


def pem_key_to_der(pem: bytes) -> bytes:
    """A private key as PKCS#8.

    Raises:
        IdentityUnusableError: it is not readable.
    """
    try:
        key = serialization.load_pem_private_key(pem, None)
    except UNREADABLE as exc:
        raise IdentityUnusableError("not a private key in PEM") from exc  # its text may quote the key
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _is_issued_by(leaf: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(root)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _uri_of(certificate: x509.Certificate) -> str:
    """The one URI SAN; "" if there is none or more than one (SPIFFE X.509-SVID 2)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = found.get_values_for_type(x509.UniformResourceIdentifier)
    except UNREADABLE:
        return ""
    return uris[0] if len(uris) == 1 else ""


def _to_pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + _base64_lines(der) + b"-----END CERTIFICATE-----\n"


def _base64_lines(data: bytes) -> bytes:
    return base64.encodebytes(data)
