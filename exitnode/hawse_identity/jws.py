"""Signatures of a provider: which key, which algorithm, is it good? Pure.

Only asymmetric algorithms are on the list: with HS256 whoever knows the public key, or a leaked client secret, could
sign. A token without `kid` is believed only if a single key of the provider can have made it. Used by `tokens`.
"""

import binascii
import json
import warnings
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import errors as jose
from joserfc import jwk, jws

from hawse_identity.errors import KeyUnknownError, TokenError

MAX_CHARACTERS = 32_768
"""A token with hundreds of groups has 10,000."""
MAX_KEYS = 64
MIN_RSA_BITS = 2048

_KTY = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVE = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *_CURVE)


@dataclass(frozen=True, slots=True)
class Signed:
    """A token whose signature is good."""

    algorithm: str
    type: str
    """`typ` of the header, lower case, or ""."""
    claims: Mapping[str, Any]


def parse_keys(data: bytes) -> Sequence[Mapping[str, Any]]:
    """The keys of a JSON Web Key Set as the provider publishes it.

    Raises:
        TokenError: it is none.
    """
    try:
        keys = json.loads(data or b'{"keys":[]}')["keys"]
    except (ValueError, KeyError, TypeError) as exc:
        raise TokenError("the provider's keys are not a JSON Web Key Set") from exc
    if not isinstance(keys, list):
        raise TokenError("the provider's keys are not a JSON Web Key Set")
    return [key for key in keys[:MAX_KEYS] if isinstance(key, dict)]


def read(token: str, keys: Sequence[Mapping[str, Any]]) -> Signed:
    """Verify a compact JWS and take it apart.

    Raises:
        KeyUnknownError: none of the keys can have signed it.
        TokenError: it must not be believed.
    """
    if len(token) > MAX_CHARACTERS:
        raise TokenError("the provider's token is too long")
    header = _header(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenError("the provider's token is not signed with an accepted algorithm")
    key = _choose(keys, algorithm, kid)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jose.SecurityWarning)  # of the name "EdDSA", which providers still write
            opened = jws.deserialize_compact(token, _import(key), registry=_REGISTRY)
        claims = json.loads(opened.payload)
    except (jose.JoseError, ValueError, TypeError) as exc:
        raise TokenError("the signature of the provider's token is wrong") from exc
    if not isinstance(claims, dict):
        raise TokenError("the provider's token holds no claims")
    return Signed(algorithm, str(header.get("typ", "")).lower(), claims)


def _registry() -> jws.JWSRegistry:
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    registry.max_header_length = 8192  # some providers put certificates there
    return registry


_REGISTRY = _registry()


def _header(token: str) -> Mapping[str, Any]:
    head = token.partition(".")[0]
    try:
        header = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, binascii.Error) as exc:
        raise TokenError("the provider's token is not a JWS") from exc
    if not isinstance(header, dict):
        raise TokenError("the provider's token is not a JWS")
    return header


def _choose(keys: Sequence[Mapping[str, Any]], algorithm: str, kid: object) -> Mapping[str, Any]:
    able = [key for key in keys if _is_able(key, algorithm)]
    if kid is not None:
        named = [key for key in able if key.get("kid") == kid]
        if not named:
            raise KeyUnknownError("the provider's token names a key that the provider does not publish")
        return named[0]
    if not able:
        raise KeyUnknownError("the provider publishes no key for the algorithm of its token")
    if len(able) > 1:
        raise TokenError("the provider's token does not name one of its several keys (kid)")
    return able[0]


def _is_able(key: Mapping[str, Any], algorithm: str) -> bool:
    return (
        key.get("kty") == _KTY[algorithm[:2]]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (algorithm not in _CURVE or key.get("crv") == _CURVE[algorithm])
    )


def _import(key: Mapping[str, Any]) -> jwk.Key:
    wanted: dict[str, str | list[str]] = {
        name: str(key[name]) for name in ("kty", "crv", "n", "e", "x", "y") if name in key
    }
    imported = jwk.import_key(wanted)
    if isinstance(imported, jwk.RSAKey) and imported.raw_value.key_size < MIN_RSA_BITS:
        raise TokenError(f"the provider signs with an RSA key of less than {MIN_RSA_BITS} bits")
    return imported
