"""What only this service may read, though the visitor's browser keeps it: JWE, direct, with AES-256-GCM. Pure.

The key belongs to one holder of one host name, so what was sealed for one host cannot be opened for another. `typ` in
the authenticated header tells the kinds apart: a flow never passes for a refresh cookie. Used by `flows` and `refresh`.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from joserfc import errors as jose
from joserfc import jwe, jwk

_ALGORITHMS = ["dir", "A256GCM"]


class Kind(StrEnum):
    """What is sealed."""

    FLOW = "hawse-flow"
    REFRESH = "hawse-refresh"


def seal(kind: Kind, value: Mapping[str, Any], key: bytes) -> str:
    """Encrypt; the nonce is the library's, random."""
    header = {"alg": "dir", "enc": "A256GCM", "typ": kind.value}
    plain = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return jwe.encrypt_compact(header, plain, jwk.OctKey.import_key(key), algorithms=_ALGORITHMS)


def unseal(kind: Kind, text: str, key: bytes) -> dict[str, Any] | None:
    """What was sealed; None if it was not, or with another key, or as something else."""
    try:
        opened = jwe.decrypt_compact(text, jwk.OctKey.import_key(key), algorithms=_ALGORITHMS)
        value = json.loads(opened.plaintext or b"")
    except (jose.JoseError, ValueError):
        return None
    if opened.headers().get("typ") != kind.value or not isinstance(value, dict):
        return None
    return value
