"""A QUIC client that says nothing of HTTP/3 by itself, writes frames as they are and notes what comes. It has no rules.

    async with http3_raw.connect(made, source=scene.attacker()) as client:
        client.uni(CONTROL, SETTINGS)
        stream = client.ask(http3_raw.head(fields))
        assert await client.outcome(stream) == "200"

On aioquic, whose QUIC keeps the rules of the transport: `before` may change its connection until those are broken too.
Used by tests/abuse.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from typing import cast

import pylsqpack
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer, BufferReadError, encode_uint_var
from aioquic.h3.connection import FrameType, StreamType
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived, StreamReset

from support import http3
from support.attack import prefixed
from support.loopback import Loopback

CONTROL, ENCODER, DECODER = StreamType.CONTROL, StreamType.QPACK_ENCODER, StreamType.QPACK_DECODER
SETTINGS = http3.frame(FrameType.SETTINGS, b"")
WAIT_S = 10.0


def head(fields: Iterable[tuple[str, str]]) -> bytes:
    """A HEADERS frame of literals: names may be anything, also nothing."""
    lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    section = [prefixed(len(name), 3, 0x20) + name + prefixed(len(value), 7) + value for name, value in lines]
    return http3.frame(FrameType.HEADERS, b"\0\0" + b"".join(section))


class Raw(QuicConnectionProtocol):
    """One connection. Made by `connect`."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.received: dict[int, bytearray] = {}
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Resolves with the code that the connection was closed with."""
        self.over: dict[int, int | None] = {}
        """Streams that the edge ended, and the code of their reset; None: in order."""
        self._news = asyncio.Event()

    @property
    def quic(self) -> QuicConnection:
        """The connection below."""
        return self._quic

    def quic_event_received(self, event: QuicEvent) -> None:
        """Called by aioquic with whatever arrives."""
        match event:
            case StreamDataReceived():
                self.received.setdefault(event.stream_id, bytearray()).extend(event.data)
                if event.end_stream:
                    self.over.setdefault(event.stream_id, None)
            case StreamReset():
                self.over[event.stream_id] = event.error_code
            case ConnectionTerminated() if not self.ended.done():
                self.ended.set_result(event.error_code)
        self._news.set()

    def uni(self, kind: int, data: bytes = b"", *, end: bool = False) -> int:
        """A unidirectional stream of this type."""
        return self._open(encode_uint_var(kind) + data, end=end, unidirectional=True)

    def ask(self, data: bytes, *, end: bool = True) -> int:
        """A request's stream."""
        return self._open(data, end=end, unidirectional=False)

    def more(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """More on a stream, if the edge has not ended it."""
        with contextlib.suppress(ValueError, RuntimeError):  # "Cannot send data on a finished stream"
            self.quic.send_stream_data(stream, data, end_stream=end)
        self.transmit()

    def cancel(self, stream: int, code: int = 0x10C) -> None:
        """Wants no more of it, in both directions, if the edge has not ended it."""
        with contextlib.suppress(ValueError, RuntimeError):
            self.quic.reset_stream(stream, code)
            self.quic.stop_stream(stream, code)

    def may_ask(self) -> bool:
        """Whether the edge permits another stream now. aioquic queues what it does not, and resets that too."""
        return self.quic.get_next_available_stream_id() // 4 < self.quic._remote_max_streams_bidi

    def _open(self, data: bytes, *, end: bool, unidirectional: bool) -> int:
        stream = self.quic.get_next_available_stream_id(is_unidirectional=unidirectional)
        self.more(stream, data, end=end)
        return stream

    def status(self, stream: int) -> str:
        """Of the answer on a stream; "" while there is none."""
        buffer = Buffer(data=bytes(self.received.get(stream, b"")))
        with contextlib.suppress(BufferReadError):
            while not buffer.eof():
                kind, length = buffer.pull_uint_var(), buffer.pull_uint_var()
                payload = buffer.pull_bytes(length)
                if kind == FrameType.HEADERS:
                    _, fields = pylsqpack.Decoder(0, 0).feed_header(stream, payload)
                    return dict(fields)[b":status"].decode()
        return ""

    async def outcome(self, stream: int, timeout_s: float = WAIT_S) -> str:
        """What became of a stream: "200", "reset 0x10e", "closed 0x105" (the connection) or "open" (nothing)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not (stream in self.over or self.ended.done()):
                    self._news.clear()
                    await self._news.wait()
        if (status := self.status(stream)) and self.over.get(stream) is None:
            return status
        if (code := self.over.get(stream)) is not None:
            return f"reset {code:#x}"
        return await self.end(0)

    async def end(self, timeout_s: float = WAIT_S) -> str:
        """How the edge ended the connection: "closed 0x105"; "open": it did not."""
        if timeout_s:
            await asyncio.wait([self.ended], timeout=timeout_s)
        return f"closed {self.ended.result():#x}" if self.ended.done() else "open"

    async def turn(self) -> bool:
        """Let what was sent go out and what came be read. False: the connection is over."""
        self.transmit()
        await asyncio.sleep(0)
        return not self.ended.done()


@contextlib.asynccontextmanager
async def connect(
    made: Loopback, *, source: str = "127.0.0.1", before: Callable[[QuicConnection], object] = lambda _: None
) -> AsyncIterator[Raw]:
    """A visitor's connection from `source` with the tunnel's name in SNI. It trusts anybody: an attacker does.

    Raises:
        OSError: there is no connection within the time.
    """
    place = made.nodes[0].place
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], server_name=made.host, verify_mode=ssl.CERT_NONE, idle_timeout=60
    )
    async with dial((place.address, place.https_port), configuration, source=source, before=before) as client:
        yield client


@contextlib.asynccontextmanager
async def dial(
    to: tuple[str, int],
    configuration: QuicConfiguration,
    *,
    source: str = "127.0.0.1",
    before: Callable[[QuicConnection], object] = lambda _: None,
) -> AsyncIterator[Raw]:
    """Any QUIC connection.

    Raises:
        OSError: there is no connection within the time.
    """
    quic = QuicConnection(configuration=configuration)
    before(quic)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Raw(quic), local_addr=(source, 0))
    client = cast("Raw", protocol)
    try:
        client.connect(to)
        async with asyncio.timeout(WAIT_S):
            await client.wait_connected()
        yield client
    finally:
        client.close()
        async with asyncio.timeout(WAIT_S):
            await client.wait_closed()
        transport.close()
