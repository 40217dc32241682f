"""The text of a token: `hwt1.` + base64url(frames.Token). Pure: the secret comes as an argument.

Called by reconcile.agent_tokens (make, read back). Whoever holds the text can enrol: it goes into a Secret and
nowhere else.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence

from google.protobuf import message

from hawse_api import names
from hawse_api.ir import frames_pb2

SECRET_BYTES = 32


def connect_name(domain: str) -> str:
    """DNS name that exit nodes prove towards agents."""
    return f"connect.{domain}"


def build_token_text(
    *, domain: str, addresses: Mapping[str, int], ca_sha256: Sequence[bytes], token_id: str, secret: bytes
) -> str:
    """Text for `hawse login`; equal input, equal text. `addresses`: "203.0.113.7:7443" -> TCP port of the same node."""
    token = frames_pb2.Token(
        connect_name=connect_name(domain),
        addresses=sorted(addresses),
        tcp_ports=[addresses[one] for one in sorted(addresses)],
        ca_sha256=sorted(ca_sha256),
        id=token_id,
        secret=secret,
    )
    encoded = base64.urlsafe_b64encode(token.SerializeToString(deterministic=True)).rstrip(b"=")
    return names.TOKEN_PREFIX + encoded.decode("ascii")


def read_secret(text: str) -> bytes:
    """The secret bytes of a text; empty if it is not one of ours."""
    if not text.startswith(names.TOKEN_PREFIX):
        return b""
    body = text.removeprefix(names.TOKEN_PREFIX)
    try:
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        token = frames_pb2.Token.FromString(raw)
    except (binascii.Error, ValueError, message.DecodeError):
        return b""
    return token.secret if len(token.secret) == SECRET_BYTES else b""
