"""Certificates of a trial: a CA made on the spot, leafs for exit nodes, agents and visitors.

The shapes are those of docs/design/0001-contracts.md §4, so that both ends check them as in a cluster. Not for
production: the operator has its own CA. Called by trial/fleet.py and by tests that need a wrong certificate.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_BACKDATED = dt.timedelta(hours=1)
_LIFE = dt.timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate with its key."""

    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def chain_pem(self) -> str:
        """Leaf first."""
        return "".join(certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in self.chain)

    @property
    def key_pem(self) -> str:
        """PKCS#8, unencrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def key_der(self) -> bytes:
        """PKCS#8, unencrypted."""
        return self.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        """Leaf first."""
        return tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in self.chain)


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> str:
        """The CA's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        """The CA's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def issue(
        self,
        name: str,
        *,
        now: dt.datetime,
        uri: str = "",
        dns: Sequence[str] = (),
        life: dt.timedelta = _LIFE,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Leaf:
        """A leaf for both sides of TLS; the CA follows it in the chain (the token pins its hash)."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [x509.DNSName(one) for one in dns]
        if uri:
            alternatives.append(x509.UniformResourceIdentifier(uri))
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(name, own, now, life)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Leaf((certificate, self.certificate), own)


def make_authority(name: str, now: dt.datetime) -> Authority:
    """A CA for a week."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(name, key, now, dt.timedelta(days=7))
        .issuer_name(_subject(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_ca_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def _builder(
    name: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime, life: dt.timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
