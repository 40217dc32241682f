"""Which tokens of a provider are believed: ID tokens and logout tokens. Pure: the time is an argument.

OpenID Connect Core 3.1.3.7 and 12.2, Back-Channel Logout 2.6. Signatures are checked before, by `jws`.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hawse_identity.errors import TokenError
from hawse_identity.jws import Signed

SKEW_S = 60
"""How far the clocks of provider and exit node may differ."""
MAX_AGE_S = 600
"""Since a token was issued: as long as a sign-in may take."""
MAX_TEXT = 255
"""Characters of a subject (Core, section 2) and of what else is kept of a token."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_LOGOUT_TYPE = "logout+jwt"


@dataclass(frozen=True, slots=True)
class Expected:
    """What an ID token has to agree with."""

    issuer: str
    client_id: str
    nonce: str | None = None
    """None: a token that came with a refresh, which need not repeat it."""
    subject: str | None = None
    """Of the sign-in that is renewed; None: anybody."""
    access_token: str = ""
    """That came beside it."""


@dataclass(frozen=True, slots=True)
class LogoutNotice:
    """What a logout token says: these sign-ins are over."""

    jti: str
    subject: str
    sid: str
    """Empty: all of the subject's."""
    issued_at: int


def check_id_token(signed: Signed, expected: Expected, now: float) -> Mapping[str, Any]:
    """The claims, if they are for us, now.

    Raises:
        TokenError: naming what is wrong.
    """
    claims = signed.claims
    if signed.type == _LOGOUT_TYPE:
        raise TokenError("the provider sent a logout token in place of an ID token")
    _check_common(claims, expected.issuer, expected.client_id, now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_TEXT:
        raise TokenError("the ID token does not say who signed in (sub)")
    if expected.subject is not None and subject != expected.subject:
        raise TokenError("the ID token of a renewal is another user's (sub)")
    _check_nonce(claims, expected)
    if "at_hash" in claims and expected.access_token:
        _check_at_hash(claims["at_hash"], expected.access_token, signed.algorithm)
    return claims


def check_logout_token(signed: Signed, issuer: str, client_id: str, now: float) -> LogoutNotice:
    """What is over, if the provider may say so.

    Raises:
        TokenError: naming what is wrong.
    """
    claims = signed.claims
    if signed.type not in ("", "jwt", _LOGOUT_TYPE):
        raise TokenError("this is not a logout token (typ)")
    _check_common(claims, issuer, client_id, now)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise TokenError("the logout token names no logout (events)")
    if "nonce" in claims:
        raise TokenError("a logout token must not have a nonce")
    texts = {name: claims.get(name, "") for name in ("jti", "sub", "sid")}
    if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in texts.values()) or not texts["jti"]:
        raise TokenError("the logout token cannot be told from others (jti)")
    if not texts["sub"] and not texts["sid"]:
        raise TokenError("the logout token names neither user nor session (sub, sid)")
    return LogoutNotice(texts["jti"], texts["sub"], texts["sid"], int(claims["iat"]))


def _check_common(claims: Mapping[str, Any], issuer: str, client_id: str, now: float) -> None:
    if claims.get("iss") != issuer:
        raise TokenError("the token was issued by somebody else (iss)")
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or client_id not in audiences:
        raise TokenError("the token is meant for another client (aud)")
    if len(audiences) > 1 and "azp" not in claims:
        raise TokenError("the token is meant for several clients and does not say for which it was issued (azp)")
    if claims.get("azp", client_id) != client_id:
        raise TokenError("the token was issued to another client (azp)")
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    if expires <= now - SKEW_S:
        raise TokenError("the token has expired (exp)")
    if not now - MAX_AGE_S - SKEW_S <= issued <= now + SKEW_S:
        raise TokenError("the token was not issued just now (iat): do the clocks of provider and exit node agree?")
    if "nbf" in claims and _time(claims, "nbf") > now + SKEW_S:
        raise TokenError("the token is not valid yet (nbf)")


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(f"the token lacks a time ({name})")
    return value


def _check_nonce(claims: Mapping[str, Any], expected: Expected) -> None:
    nonce = claims.get("nonce")
    if expected.nonce is None:
        return
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise TokenError("the ID token answers another sign-in (nonce)")


def _check_at_hash(at_hash: object, access_token: str, algorithm: str) -> None:
    """Core 3.1.3.6; for Ed25519 it is SHA-512, its own hash."""
    name = f"sha{algorithm[-3:]}" if algorithm[-3:] in ("256", "384", "512") else "sha512"
    digest = hashlib.new(name, access_token.encode()).digest()
    half = urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not isinstance(at_hash, str) or not hmac.compare_digest(at_hash.encode(), half):
        raise TokenError("the ID token belongs to another access token (at_hash)")
