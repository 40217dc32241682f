"""A small app to put behind a tunnel: standard library only, one file, `python examples/app/app.py --port 3000`.

    GET  /            a page that shows what the app received
    GET  /headers     the request's headers as JSON
    GET  /sse         server-sent events, one every --interval seconds (?count=5)
    GET  /stream      a chunked body of ?chunks=3 pieces of ?size=1024 bytes
    GET  /slow        answers after ?s=2 seconds
    GET  /cut         closes the connection in the middle of a body
    POST /upload      length and SHA-256 of the body, as JSON
    GET  /ws          a WebSocket that echoes text and binary messages

It is for demonstrations and tests, not an example of a web server: no TLS, no pipelining, bodies only with a length or
chunked. Run by scripts/try.py, the demo and the integration tests.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import html
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

MAX_HEAD_BYTES = 65536
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
IDLE_S = 300.0
WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>It works</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem}}
body{{color:#1c2330;background:#fbfaf7}}
h1{{font-size:2rem;margin:0}}p{{margin:.5rem 0 1.5rem}}table{{border-collapse:collapse;width:100%}}
td{{border-top:1px solid #dcd8cf;padding:.35rem .5rem;vertical-align:top;overflow-wrap:anywhere}}
td:first-child{{width:13rem;color:#68707f}}
code,td{{font-family:ui-monospace,monospace;font-size:.88rem}}
@media(prefers-color-scheme:dark){{body{{background:#14181f;color:#e7e5df}}td{{border-color:#333a46}}}}
</style><h1>It works</h1><p>This page comes from <code>{where}</code>, process {pid}, through the tunnel.
It answered <code>{method} {path}</code> with these headers:</p><table>{rows}</table>
<p>Try <a href="/headers">/headers</a>, <a href="/sse">/sse</a>, <a href="/slow?s=2">/slow</a>,
<code>POST /upload</code>, or a WebSocket at <code>/ws</code>.</p></html>
"""


class HangupError(Exception):
    """The visitor went away or spoke something that is not HTTP."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request."""

    method: str
    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]

    def header(self, name: str) -> str:
        """Value of a header, or ""."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def number(self, name: str, default: float, most: float) -> float:
        """A number of the query, bounded."""
        try:
            return min(max(float(self.query.get(name, default)), 0.0), most)
        except ValueError:
            return default


@dataclass(slots=True)
class Connection:
    """One TCP connection of a visitor."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    interval_s: float
    head_only: bool = False
    """The request under way is HEAD: its answer has no body."""

    async def serve(self) -> None:
        """Answer requests until the other side has enough."""
        while (request := await self.read_head()) is not None:
            handler = ROUTES.get(request.path, not_found)
            self.head_only = request.method == "HEAD"
            body = self.body(request)
            keep = await handler(self, request, body)
            async for _ in body:  # what the handler did not read would be taken for the next request
                pass
            if not keep or request.header("connection").lower() == "close":
                return

    async def read_head(self) -> Request | None:
        """The next request, or None at the end of the connection."""
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), IDLE_S)
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            return None
        except asyncio.LimitOverrunError as exc:
            raise HangupError("head too large") from exc
        start, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        try:
            method, target, _ = start.split(" ", 2)
            headers = [(key, value.strip()) for key, value in (line.split(":", 1) for line in lines)]
        except ValueError as exc:
            raise HangupError("not HTTP") from exc
        parts = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return Request(method, parts.path, query, headers)

    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Pieces of the request's body."""
        if request.header("transfer-encoding").lower() == "chunked":
            while size := int((await self.reader.readline()).split(b";")[0], 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            while (await self.reader.readline()).strip():
                pass  # trailers
            return
        left = int(request.header("content-length") or 0)
        while left:
            piece = await self.reader.read(min(left, 65536))
            if not piece:
                raise HangupError("body ended early")
            left -= len(piece)
            yield piece

    async def answer(self, status: str, content_type: str, body: bytes) -> bool:
        """Send a whole answer."""
        self.head(status, content_type, [("content-length", str(len(body)))])
        if not self.head_only:
            self.writer.write(body)
        await self.writer.drain()
        return True

    def head(self, status: str, content_type: str, more: list[tuple[str, str]]) -> None:
        """Send the head of an answer."""
        lines = [("content-type", content_type), ("cache-control", "no-store"), *more]
        text = "".join(f"{key}: {value}\r\n" for key, value in lines)
        self.writer.write(f"HTTP/1.1 {status}\r\n{text}\r\n".encode("latin-1"))

    async def chunk(self, piece: bytes) -> None:
        """Send a piece of a chunked body; an empty one ends it."""
        if self.head_only:
            return
        self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await self.writer.drain()


async def index(at: Connection, request: Request, _: AsyncIterator[bytes]) -> bool:
    """The page."""
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in request.headers)
    host, port = at.writer.get_extra_info("sockname")[:2]
    page = PAGE.format(where=f"{host}:{port}", pid=os.getpid(), method=request.method, path=request.path, rows=rows)
    return await at.answer("200 OK", "text/html; charset=utf-8", page.encode())


async def headers(at: Connection, request: Request, _: AsyncIterator[bytes]) -> bool:
    """What was received, as JSON: names in lower case, a list of values each."""
    found: dict[str, list[str]] = {}
    for key, value in request.headers:
        found.setdefault(key.lower(), []).append(value)
    seen = {"method": request.method, "path": request.path, "query": request.query, "headers": found}
    return await at.answer("200 OK", "application/json", json.dumps(seen, indent=2).encode() + b"\n")


async def sse(at: Connection, request: Request, _: AsyncIterator[bytes]) -> bool:
    """Events, each sent at once."""
    at.head("200 OK", "text/event-stream", [("transfer-encoding", "chunked")])
    await at.writer.drain()
    for number in range(int(request.number("count", 5, 100_000))):
        if number:
            await asyncio.sleep(at.interval_s)
        await at.chunk(f"id: {number}\ndata: tick {number}\n\n".encode())
    await at.chunk(b"")
    return True


async def stream(at: Connection, request: Request, _: AsyncIterator[bytes]) -> bool:
    """A chunked body."""
    at.head("200 OK", "application/octet-stream", [("transfer-encoding", "chunked")])
    piece = b"x" * int(request.number("size", 1024, 1 << 20))
    for _number in range(int(request.number("chunks", 3, 10_000)) if piece else 0):
        await at.chunk(piece)
    await at.chunk(b"")
    return True


async def slow(at: Connection, request: Request, _: AsyncIterator[bytes]) -> bool:
    """An answer that takes its time."""
    wait_s = request.number("s", 2, 3600)
    await asyncio.sleep(wait_s)
    return await at.answer("200 OK", "text/plain", f"after {wait_s:g} s\n".encode())


async def cut(at: Connection, _request: Request, _: AsyncIterator[bytes]) -> bool:
    """Half a body, then the connection is gone."""
    at.head("200 OK", "text/plain", [("content-length", "1000")])
    at.writer.write(b"half")
    await at.writer.drain()
    return False


async def upload(at: Connection, request: Request, body: AsyncIterator[bytes]) -> bool:
    """Length and hash of the body."""
    if request.header("expect").lower() == "100-continue":
        at.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    digest, length = hashlib.sha256(), 0
    async for piece in body:
        digest.update(piece)
        length += len(piece)
    found = {"bytes": length, "sha256": digest.hexdigest()}
    return await at.answer("200 OK", "application/json", json.dumps(found).encode() + b"\n")


async def websocket(at: Connection, request: Request, _: AsyncIterator[bytes]) -> bool:
    """Echo (RFC 6455): text, binary, ping, close."""
    if request.header("upgrade").lower() != "websocket":
        return await at.answer("426 Upgrade Required", "text/plain", b"this is a WebSocket\n")
    digest = hashlib.sha1((request.header("sec-websocket-key") + WEBSOCKET_GUID).encode(), usedforsecurity=False)
    accept = base64.b64encode(digest.digest()).decode()
    at.writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        f"sec-websocket-accept: {accept}\r\n\r\n".encode()
    )
    kind, message = 0, b""
    while True:
        final, opcode, payload = await _websocket_frame(at.reader)
        match opcode:
            case 8:
                await _websocket_send(at.writer, 8, payload[:2])
                return False
            case 9:
                await _websocket_send(at.writer, 10, payload)
            case 0 | 1 | 2:
                kind, message = opcode or kind, message + payload
                if len(message) > MAX_MESSAGE_BYTES:
                    raise HangupError("message too large")
                if final:
                    await _websocket_send(at.writer, kind, message)
                    message = b""


async def _websocket_frame(reader: asyncio.StreamReader) -> tuple[bool, int, bytes]:
    first, second = await reader.readexactly(2)
    length = second & 127
    if length == 126:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", await reader.readexactly(8))
    if length > MAX_MESSAGE_BYTES or not second & 128:
        raise HangupError("bad WebSocket frame")
    mask = await reader.readexactly(4)
    data = await reader.readexactly(length)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return bool(first & 128), first & 15, (int.from_bytes(data, "big") ^ key).to_bytes(length, "big")


async def _websocket_send(writer: asyncio.StreamWriter, opcode: int, payload: bytes) -> None:
    length = len(payload)
    if length < 126:
        size = struct.pack("!B", length)
    elif length < 65536:
        size = struct.pack("!BH", 126, length)
    else:
        size = struct.pack("!BQ", 127, length)
    writer.write(bytes([128 | opcode]) + size + payload)
    await writer.drain()


async def not_found(at: Connection, request: Request, _: AsyncIterator[bytes]) -> bool:
    """404 of the app itself."""
    return await at.answer("404 Not Found", "text/plain", f"the app has no {request.path}\n".encode())


ROUTES = {
    "/": index,
    "/headers": headers,
    "/sse": sse,
    "/stream": stream,
    "/slow": slow,
    "/cut": cut,
    "/upload": upload,
    "/ws": websocket,
}


async def serve(host: str, port: int, interval_s: float) -> None:
    """Listen until SIGINT or SIGTERM."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await Connection(reader, writer, interval_s).serve()
        except (HangupError, ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the visitor's own business
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(connected, host, port, limit=MAX_HEAD_BYTES)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    sys.stdout.write(f"listening on {host}:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await stopped.wait()
    server.close()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000, help="0 = any free port")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between events of /sse")
    given = parser.parse_args()
    try:
        asyncio.run(serve(given.host, given.port, given.interval))
    except OSError as exc:
        sys.stderr.write(f"app: cannot listen on {given.host}:{given.port}: {exc.strerror}. Choose another --port.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
