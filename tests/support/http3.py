"""HTTP/3 visitors for tests: the demo's client (scripts/demo/http3.py, on aioquic), and frames that it never sends.

    async with http3.visitor(made) as client:
        answer = await client.request("GET", "/headers")

Field sections are encoded by pylsqpack without a dynamic table; nothing is checked, in any order.
"""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import pylsqpack
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import ErrorCode, FrameType

from demo.http3 import Answer, Client, Http3Error, connect, encoded
from support.loopback import Loopback

__all__ = ["Answer", "Client", "ErrorCode", "FrameType", "Http3Error", "frame", "head", "send", "visitor"]


def visitor(made: Loopback, *, node: int = 0, host: str = "") -> AbstractAsyncContextManager[Client]:
    """A connection to this exit node, with the tunnel's name."""
    place = made.nodes[node].place
    return connect(place.address, place.https_port, name=host or made.host, ca=made.ca_file)


def frame(kind: int, payload: bytes, *, declared: int | None = None) -> bytes:
    """A frame; `declared` is the length it claims, if not its own."""
    return encode_uint_var(kind) + encode_uint_var(len(payload) if declared is None else declared) + payload


def head(fields: Iterable[tuple[str, str]]) -> bytes:
    """A HEADERS frame of any fields in any order."""
    _, block = pylsqpack.Encoder().encode(0, encoded(fields))
    return frame(FrameType.HEADERS, block)


def send(client: Client, data: bytes, *, end: bool = True) -> int:
    """Raw bytes on a new request stream; its number."""
    stream = client.quic.get_next_available_stream_id()
    client.quic.send_stream_data(stream, data, end_stream=end)
    client.transmit()
    return stream
