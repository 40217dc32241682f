"""Keys, certificate requests and the checks of what an enrolment or renewal gives back. Pure but for key generation.

Shapes (design 0002, 4 and 5): P-256, SPIFFE URI below the fleet's domain, the CA that the token pins. Used by
enrolment.py and renewal.py.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hawse_api import spiffe
from hawse_api.certificates import UNREADABLE

MAX_CERTIFICATES = 8
MAX_CERTIFICATE_BYTES = 8192


class ChainRefusedError(ValueError):
    """What came back is not a certificate for us; the message says why."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A private key made here, and the request that carries its public half."""

    csr: bytes
    """PKCS#10, DER."""
    public: bytes
    """SubjectPublicKeyInfo, DER."""
    private: bytes = field(repr=False)
    """PKCS#8, DER."""


def make_key(agent_id: str) -> NewKey:
    """A P-256 key and a request. The names in the request are for logs: the operator takes them from the token."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"agent {agent_id}"[:64])])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return NewKey(
        csr=csr.public_bytes(serialization.Encoding.DER),
        public=_spki(key.public_key()),
        private=key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def prove(secret: bytes, csr: bytes, nonce: bytes) -> bytes:
    """HMAC-SHA256(secret, csr || nonce): knows the secret without showing it (frames.proto, EnrolRequest.proof)."""
    return hmac.digest(secret, csr + nonce, "sha256")


def sign(private: bytes, message: bytes) -> bytes:
    """ECDSA with SHA-256, DER: the proof of a renewal (frames.proto, RenewRequest.proof)."""
    key = serialization.load_der_private_key(private, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ChainRefusedError("the agent's key is not P-256")
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


def check_chain(chain: Sequence[bytes], roots: Sequence[bytes], *, public: bytes, domain: str, agent_id: str) -> None:
    """Our key, our fleet, our id, signed by one of the roots.

    Raises:
        ChainRefusedError: says what does not fit.
    """
    if not 1 <= len(chain) <= MAX_CERTIFICATES or not 1 <= len(roots) <= MAX_CERTIFICATES:
        raise ChainRefusedError("it has no certificate, or too many")
    if any(len(one) > MAX_CERTIFICATE_BYTES for one in (*chain, *roots)):
        raise ChainRefusedError("a certificate in it is too large")
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        issuers = [x509.load_der_x509_certificate(one) for one in roots]
        uris = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.UniformResourceIdentifier
        )
        key = leaf.public_key()
    except UNREADABLE as exc:
        raise ChainRefusedError("a certificate in it cannot be read") from exc
    if not hmac.compare_digest(_spki(key), public):
        raise ChainRefusedError("the certificate is for another key than ours")
    ids = [spiffe.parse_agent(uri) for uri in uris]
    if not any(one is not None and (one.domain, one.agent_id) == (domain, agent_id) for one in ids):
        raise ChainRefusedError(f"the certificate does not name this agent of {domain}")
    if not any(_issued(leaf, issuer) for issuer in issuers):
        raise ChainRefusedError("the certificate is not signed by the CA that came with it")


def names_pinned(roots: Sequence[bytes], ca_sha256: Sequence[bytes]) -> bool:
    """Is one of these CAs pinned by the token?"""
    return any(hashlib.sha256(root).digest() in ca_sha256 for root in roots)


def _issued(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ChainRefusedError("the certificate's key is not P-256")
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
