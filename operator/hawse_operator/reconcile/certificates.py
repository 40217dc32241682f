"""Visitors' certificates in Secrets of type kubernetes.io/tls: read by name, checked, never watched (design 0002, 3).

Called by reconcile.fleets (the wildcard certificate) and reconcile.tunnel_certificates.
"""

from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from hawse_operator import errors
from hawse_operator.k8s.resources import SECRETS
from hawse_operator.manifests import secrets
from hawse_operator.reconcile.context import Context


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is served, or why nothing is."""

    secret_name: str
    chain_pem: bytes = b""
    key_pem: bytes = field(default=b"", repr=False)
    problem: str = ""


async def read_named(context: Context, namespace: str, name: str) -> Certificate:
    """The certificate in a Secret."""
    try:
        body = await context.client.get(SECRETS, namespace, name)
    except errors.NotFound:
        problem = f'Secret "{name}" does not exist in namespace {namespace}. Create it with type kubernetes.io/tls.'
        return Certificate(name, problem=problem)
    chain, key = secrets.read_data(body, "tls.crt"), secrets.read_data(body, "tls.key")
    if problem := problem_of(chain, key, now=context.now):
        return Certificate(name, problem=f'Secret "{name}" in namespace {namespace}: {problem}')
    return Certificate(name, chain, key)


def end_of(chain_pem: bytes) -> datetime | None:
    """When the leaf of a chain ends; None if it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(chain_pem).not_valid_after_utc
    except ValueError:
        return None


def problem_of(chain_pem: bytes, key_pem: bytes, *, now: datetime | None) -> str:
    """What is wrong with a certificate and its key; empty: nothing. `now` None: its end does not count."""
    if not chain_pem or not key_pem:
        return "tls.crt and tls.key are needed."
    not_after = end_of(chain_pem)
    if not_after is None:
        return "tls.crt is not a certificate in PEM."
    if b"PRIVATE KEY" not in key_pem:
        return "tls.key is not a private key in PEM."
    if now is not None and not_after <= now:
        return f"the certificate ended on {not_after.date().isoformat()}. Renew it."
    return ""


def names_of(chain_pem: bytes) -> frozenset[str]:
    """Host names of the leaf (subjectAltName), lower case."""
    leaf = x509.load_pem_x509_certificate(chain_pem)
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(name.lower() for name in san.value.get_values_for_type(x509.DNSName))


def belong_together(chain_pem: bytes, key_pem: bytes) -> bool:
    """Whether a key is the leaf's."""
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, TypeError):
        return False
    leaf = x509.load_pem_x509_certificate(chain_pem).public_key()
    return _der(leaf) == _der(key.public_key())


def _der(key: object) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_bytes(encoding, form)  # type: ignore[attr-defined]  # every public key has it
    return encoded
