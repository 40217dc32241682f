"""The session cookie: who a visitor is, signed, read by the edge on every request without a call. Pure.

`v1.` base64url(core.Session) `.` base64url(HMAC-SHA256 over what stands before the second dot). It lives five minutes:
after that the provider is asked anew, so a group that was taken away counts no longer than that.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from hawse_api.ir import core_pb2

LIFETIME_S = 300
_VERSION = "v1"
MAX_CHARACTERS = 3800
"""Of the cookie's value, so that name and attributes fit beside it into 4,096."""


MAX_SIGN_IN_S = 24 * 3600
"""A policy's `sessionLifetime` is at most this: then every cookie of a sign-in is over."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """What does not change while a sign-in is renewed."""

    id: str
    signed_in_at: int
    subject_mark: str
    provider_mark: str
    """Of the provider's session (`sid`); empty: it told none."""

    @property
    def marks(self) -> tuple[str, ...]:
        """By which it may be ended."""
        return tuple(filter(None, (self.id, self.subject_mark, self.provider_mark)))

    def is_over(self, ended: Mapping[str, int]) -> bool:
        """Whether it was ended: by mark, until when."""
        return any(ended.get(mark, -1) >= self.signed_in_at for mark in self.marks)


@dataclass(frozen=True, slots=True)
class Keys:
    """Material `session/<tunnel uid>`: two keys of one holder of one host name."""

    signing: bytes
    sealing: bytes

    def __repr__(self) -> str:
        """Masked."""
        return "Keys(***)"


def split_keys(material: bytes) -> Keys | None:
    """The two halves; None: it is not what the operator makes."""
    return Keys(material[:32], material[32:]) if len(material) == 64 else None


def encode(session: core_pb2.Session, keys: Keys) -> str:
    """The value of the cookie."""
    body = f"{_VERSION}.{_text(session.SerializeToString(deterministic=True))}"
    return f"{body}.{_text(_mac(body, keys))}"


def decode(value: str, keys: Keys) -> core_pb2.Session | None:
    """What we signed, even if it has expired; None: we did not."""
    body, _, signature = value.rpartition(".")
    if not hmac.compare_digest(_text(_mac(body, keys)).encode(), signature.encode()):
        return None
    try:
        return core_pb2.Session.FromString(_bytes(body.removeprefix(f"{_VERSION}.")))
    except (ValueError, DecodeError):
        return None


def mark(kind: str, issuer: str, client_id: str, value: str) -> str:
    """What stands for a user ("sub") or a provider's session ("sid") in the list of sign-ins that are over."""
    text = "".join(f"{len(part)}:{part}" for part in (kind, issuer, client_id, value))
    return _text(hashlib.sha256(text.encode()).digest()[:16])


def _mac(body: str, keys: Keys) -> bytes:
    return hmac.digest(keys.signing, body.encode(), "sha256")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign_in_of(session: core_pb2.Session) -> SignIn:
    """The sign-in of a session."""
    return SignIn(session.id, session.signed_in_at, session.subject_mark, session.provider_mark)
