"""What is kept of a token issuer's JSON Web Key Set, and when it is fetched again. Pure.

Only public keys for signatures, and of them only what exit nodes read: a set that carries private or shared keys by
mistake is not spread. Called by reconcile.key_sets and reconcile.access_policies.
"""

import json
from typing import Any

KEPT = ("kty", "crv", "kid", "alg", "use", "n", "e", "x", "y")
MAX_KEYS = 64
"""As ACCESS_ISSUER_KEYS of the edge."""
MAX_CHARACTERS = 64 * 1024
"""Of a set as it is kept: 64 RSA keys of 4,096 bits have 50,000."""
_CURVES = {("EC", "P-256"), ("EC", "P-384"), ("OKP", "Ed25519")}
_NEEDED = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}


def read(body: bytes) -> str | None:
    """The set as it is kept; None: there is no key in it that could be used."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = parsed.get("keys") if isinstance(parsed, dict) else None
    keys = [kept for key in found if (kept := _keep(key))] if isinstance(found, list) else []
    text = json.dumps({"keys": keys[:MAX_KEYS]}, separators=(",", ":"), sort_keys=True)
    return text if keys and len(text) <= MAX_CHARACTERS else None


def _keep(key: Any) -> dict[str, str] | None:
    if not isinstance(key, dict) or key.get("use", "sig") != "sig":
        return None
    kept = {name: value for name in KEPT if isinstance(value := key.get(name), str)}
    kind = kept.get("kty", "")
    if kind not in _NEEDED or not all(name in kept for name in _NEEDED[kind]):
        return None
    return kept if kind == "RSA" or (kind, kept.get("crv")) in _CURVES else None
