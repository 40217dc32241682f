"""An HTTP/3 client on aioquic, small enough to read: requests on one QUIC connection, and what became of them.

    async with http3.connect(address, port, name="shop.localhost", ca=path) as client:
        answer = await client.request("GET", "/")

Connects by address and names the host by SNI and `:authority`. Used by the demo's visitors and, with raw frames, by
tests/support/http3.py.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from aioquic.asyncio.client import connect as quic_connect
from aioquic.asyncio.protocol import QuicConnectionProtocol, QuicStreamHandler
from aioquic.h3 import connection as h3
from aioquic.h3.events import DataReceived, H3Event, Headers, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamReset

TIMEOUT_S = 10.0


class Http3Error(OSError):
    """A request without a whole answer: its stream was reset, or the connection ended."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
        """HTTP/3 error code (RFC 9114, 8.1), or QUIC's."""


@dataclass(slots=True)
class Answer:
    """What came of a request."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()


class Client(QuicConnectionProtocol):
    """One connection. Made by `connect`."""

    def __init__(self, quic: QuicConnection, stream_handler: QuicStreamHandler | None = None) -> None:
        super().__init__(quic, stream_handler)
        self.h3 = h3.H3Connection(quic)
        self.authority = ""
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Resolves with the code that the connection was closed with."""
        self._answers: dict[int, tuple[Answer, asyncio.Future[Answer]]] = {}

    @property
    def quic(self) -> QuicConnection:
        """The connection below, for tests that break rules."""
        return self._quic

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        trailers: Iterable[tuple[str, str]] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        """Send a request and read its answer to the end.

        Raises:
            Http3Error: the stream was reset or the connection ended.
            TimeoutError: it takes too long.
        """
        stream, ending = self.quic.get_next_available_stream_id(), tuple(trailers)
        head = [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path), *headers]
        self.h3.send_headers(stream, encoded(head), end_stream=not (body or ending))
        if body:
            self.h3.send_data(stream, body, end_stream=not ending)
        if ending:
            self.h3.send_headers(stream, encoded(ending), end_stream=True)
        return await self.answer(stream, timeout_s=timeout_s)

    async def answer(self, stream: int, *, timeout_s: float = TIMEOUT_S) -> Answer:
        """The answer on a stream on which a request was sent."""
        whole: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[stream] = (Answer(), whole)
        self.transmit()
        try:
            async with asyncio.timeout(timeout_s):
                return await whole
        finally:
            del self._answers[stream]

    def quic_event_received(self, event: QuicEvent) -> None:
        """Called by aioquic with whatever arrives."""
        match event:
            case StreamReset():
                self._fail(event.stream_id, Http3Error(f"reset with {event.error_code:#x}", event.error_code))
            case ConnectionTerminated():
                if not self.ended.done():
                    self.ended.set_result(event.error_code)
                for stream in list(self._answers):
                    problem = f"closed with {event.error_code:#x} {event.reason_phrase}".rstrip()
                    self._fail(stream, Http3Error(problem, event.error_code))
            case _:
                for arrived in self.h3.handle_event(event):
                    self._take(arrived)

    def _take(self, event: H3Event) -> None:
        if not isinstance(event, HeadersReceived | DataReceived) or event.stream_id not in self._answers:
            return
        answer, whole = self._answers[event.stream_id]
        if isinstance(event, DataReceived):
            answer.body += event.data
        else:
            fields = {name.decode(): value.decode() for name, value in event.headers}
            status = int(fields.pop(":status", "0"))
            if status >= 200:
                answer.status, answer.headers = status, fields
            elif not status:
                answer.trailers = fields
        if event.stream_ended and not whole.done():
            whole.set_result(answer)

    def _fail(self, stream: int, error: Http3Error) -> None:
        _, whole = self._answers.get(stream, (None, None))
        if whole is not None and not whole.done():
            whole.set_exception(error)


def encoded(fields: Iterable[tuple[str, str]]) -> Headers:
    """As aioquic wants them."""
    return [(name.encode(), value.encode()) for name, value in fields]


@contextlib.asynccontextmanager
async def connect(
    address: str, port: int, *, name: str, ca: Path, public_port: int = 0, timeout_s: float = TIMEOUT_S
) -> AsyncIterator[Client]:
    """A connection to an address, with the host's name in SNI and `:authority`; verifies the certificate.

    Raises:
        OSError: there is no connection within the time.
    """
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=h3.H3_ALPN, server_name=name, idle_timeout=timeout_s, cafile=str(ca)
    )
    async with quic_connect(address, port, configuration=configuration, create_protocol=Client) as client:
        made = cast("Client", client)
        made.authority = f"{name}:{public_port or port}"
        yield made
