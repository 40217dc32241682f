"""The text of a token: "hwt1." + base64url(frames.v1.Token), as it stands in an AgentToken's Secret. Pure.

Every field is bounded before it is believed: the text comes from a clipboard. Parsed by cli/login.py;
tests build texts with `encode`. The secret shows in no repr and no message.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from hawse_agent.credentials import MAX_ADDRESSES, pair_addresses
from hawse_agent.errors import AuthenticationError
from hawse_agent.target import parse_address
from hawse_api import names
from hawse_api.ir import frames_pb2

MAX_TEXT = 4096
_MAX_CA = 4
_SECRET_BYTES = 32
_HASH_BYTES = 32
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAME = re.compile(r"connect\.([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MALFORMED = names.BY_NAME["TOKEN_MALFORMED"].code


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a token says."""

    connect_name: str
    """DNS name that exit nodes prove."""
    addresses: tuple[str, ...]
    """Of exit nodes, UDP."""
    ca_sha256: tuple[bytes, ...]
    id: str
    secret: bytes = field(repr=False)
    tcp_ports: tuple[int, ...] = ()
    """In the order of `addresses`: where the same exit node takes links over TCP; 0 or missing = 443."""

    @property
    def domain(self) -> str:
        """The fleet's domain, also its trust domain."""
        return self.connect_name.removeprefix("connect.")


def parse(text: str) -> JoinToken:
    """Read the text of a token; white space around it is ignored.

    Raises:
        AuthenticationError: HAWSE-3001; the message never repeats the text.
    """
    stripped = text.strip()
    if not stripped:
        raise _malformed("nothing was given")
    if len(stripped) > MAX_TEXT:
        raise _malformed(f"it is longer than {MAX_TEXT} characters")
    if not stripped.startswith(names.TOKEN_PREFIX):
        raise _malformed(_hint(stripped))
    body = stripped.removeprefix(names.TOKEN_PREFIX)
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        message = frames_pb2.Token.FromString(raw)
    except (binascii.Error, ValueError, DecodeError):
        raise _malformed("it is damaged or was cut off while copying") from None
    return _checked(message)


def encode(token: JoinToken) -> str:
    """The text of a token."""
    message = frames_pb2.Token(
        connect_name=token.connect_name,
        addresses=token.addresses,
        ca_sha256=token.ca_sha256,
        id=token.id,
        secret=token.secret,
        tcp_ports=token.tcp_ports,
    )
    body = base64.urlsafe_b64encode(message.SerializeToString()).rstrip(b"=")
    return names.TOKEN_PREFIX + body.decode("ascii")


def _checked(message: frames_pb2.Token) -> JoinToken:
    addresses, hashes = tuple(message.addresses), tuple(message.ca_sha256)
    if len(message.connect_name) > 253 or not _NAME.fullmatch(message.connect_name):
        raise _malformed("it names no exit nodes to trust (connect.<domain>)")
    if not 1 <= len(addresses) <= MAX_ADDRESSES:
        raise _malformed(
            f"it has {len(addresses)} addresses of exit nodes, 1 to {MAX_ADDRESSES} are expected. "
            "If no exit node was ready when it was issued, read the Secret again"
        )
    for address in addresses:
        if parse_address(address) is None:
            raise _malformed("an address of an exit node in it is not host:port")
    if not 1 <= len(hashes) <= _MAX_CA or any(len(one) != _HASH_BYTES for one in hashes):
        raise _malformed("it pins no CA")
    if not _ID.fullmatch(message.id) or len(message.secret) != _SECRET_BYTES:
        raise _malformed("its id or secret has the wrong form")
    tcp_ports = pair_addresses(addresses, message.tcp_ports)[1] if message.tcp_ports else ()
    return JoinToken(message.connect_name, addresses, hashes, message.id, message.secret, tcp_ports)


def _hint(text: str) -> str:
    """People paste the wrong field of the Secret: say so without showing any of it."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return f'it does not begin with "{names.TOKEN_PREFIX}"'
    if decoded.startswith(names.TOKEN_PREFIX.encode()):
        return "it is still base64 as kubectl shows Secrets: pipe it through base64 -d"
    return f'it does not begin with "{names.TOKEN_PREFIX}"'


def _malformed(why: str) -> AuthenticationError:
    return AuthenticationError(
        f"this is not the text of a token: {why}. "
        "Take it whole from the AgentToken's Secret: kubectl get secret <name>-token -o jsonpath='{.data.token}' | "
        "base64 -d | hawse login -",
        code=_MALFORMED,
    )
