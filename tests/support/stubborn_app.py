"""An app that sends without end or doesn't read: what waits behind it is what the tests of memory and stalls look at.

GET `/big` answers 1 GiB, POST `/swallow` never reads the request's body, anything else is answered at once. One task a
connection, on 127.0.0.1, in a thread of its own so that blocking visitors can be beside it.

    with StubbornApp() as app:
        start_agent("http", app.target)
"""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

GIB = 1 << 30
_CHUNK = bytes(64 << 10)


class StubbornApp:
    """See the module."""

    def __init__(self) -> None:
        self.target = ""
        """Host and port, as a user types them."""
        self.sent_bytes = 0
        """Of all answers to `/big`, as far as they were taken."""
        self.swallowing = 0
        """Requests to `/swallow` that have come."""
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        """Listens."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends every connection."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=64 << 10, backlog=1024)
        host, port = self._server.sockets[0].getsockname()
        self.target = f"{host}:{port}"

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # Cancelled is how it ends; the stream's own callback would report it as an error.
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    await self._answer(head.split()[1].decode(), writer)
        finally:
            writer.transport.abort()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/swallow":
            self.swallowing += 1
            writer.transport.pause_reading()  # type: ignore[attr-defined] # of a socket's transport
            await asyncio.Event().wait()
        if path != "/big":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % GIB)
        for _ in range(GIB // len(_CHUNK)):
            writer.write(_CHUNK)
            await writer.drain()
            self.sent_bytes += len(_CHUNK)
