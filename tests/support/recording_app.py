"""An app for tests/abuse that keeps every byte that reaches it; a strict parser of its own (h11) reads requests.

    with RecordingApp() as app:
        ...                                        # requests reach 127.x.y.z:port through the tunnel
        app.take()                                 # what arrived since the last take, one Requests a connection

It answers `GET /x` with the text "GET /x", so that a visitor sees whether an answer is its own. `/big` never ends by
itself, `/silent` is never answered. Threads, one a connection: it has to serve while a test drives sockets.
"""

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Self

import h11

from hawse_agent.trial import processes

KEPT_BYTES = 1 << 20
"""Of one connection; what comes after is read and dropped."""
_PIECE = b"x" * 65536


@dataclass(slots=True)
class Arrived:
    """One connection to the app: its bytes, and what a strict reader makes of them."""

    raw: bytearray = field(default_factory=bytearray)

    def requests(self) -> list[tuple[str, bytes]]:
        """Method and target, and the body as far as it came, of each request.

        Raises:
            h11.RemoteProtocolError: the bytes are not HTTP/1.1. A connection that ends too early is no error.
        """
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=128 << 10)
        found: list[tuple[str, bytes]] = []
        reader.receive_data(bytes(self.raw))
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                found.append((f"{event.method.decode()} {event.target.decode()}", b""))
            elif isinstance(event, h11.Data):
                found[-1] = (found[-1][0], found[-1][1] + bytes(event.data))
            elif event is h11.PAUSED:
                _turn(reader)
            elif not isinstance(event, h11.EndOfMessage):
                return found

    def heads(self) -> list[bytes]:
        """Heads as they stood on the wire."""
        pieces = bytes(self.raw).split(b"\r\n\r\n")[:-1]
        return [piece for piece in pieces if piece.splitlines()[:1] and piece.splitlines()[0].endswith(b"HTTP/1.1")]


def _turn(reader: h11.Connection) -> None:
    """To the next request of a recorded connection: as if the last one had been answered."""
    reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
    reader.send(h11.EndOfMessage())
    reader.start_next_cycle()


class RecordingApp:
    """Listens on a loopback address of its own from the start; use as a context manager."""

    def __init__(self) -> None:
        self.host, self.port = processes.free_address((3000,)), 3000
        self.open = 0
        """Connections now."""
        self._arrived: list[Arrived] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._listener = socket.create_server((self.host, self.port), backlog=1024)
        self._thread = threading.Thread(target=self._accept, name="recording-app", daemon=True)

    @property
    def target(self) -> str:
        """As a user types it after `hawse http`."""
        return f"{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def take(self) -> list[Arrived]:
        """Connections that brought something since the last call. Ones that live on start anew."""
        with self._lock:
            taken = [Arrived(one.raw[:]) for one in self._arrived if one.raw]
            for one in self._arrived:
                one.raw.clear()
        return taken

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, visitor: socket.socket) -> None:
        arrived = Arrived()
        with self._lock:
            self._arrived.append(arrived)
            self.open += 1
        try:
            # A reset is what an abandoned request looks like; a protocol error is found again in Arrived.requests().
            with visitor, contextlib.suppress(OSError, h11.RemoteProtocolError, h11.LocalProtocolError):
                visitor.settimeout(60)
                self._talk(visitor, arrived)
        finally:
            with self._lock:
                self.open -= 1

    def _talk(self, visitor: socket.socket, arrived: Arrived) -> None:
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=128 << 10)
        asked = ""
        while not self._over.is_set():
            event = reader.next_event()
            if event is h11.NEED_DATA:
                data = visitor.recv(65536)
                with self._lock:
                    arrived.raw += data[: KEPT_BYTES - len(arrived.raw)]
                reader.receive_data(data)
            elif isinstance(event, h11.Request):
                asked = f"{event.method.decode()} {event.target.decode()}"
            elif isinstance(event, h11.EndOfMessage):
                if not self._answer(visitor, reader, asked):
                    return
            elif not isinstance(event, h11.Data):
                return

    def _answer(self, visitor: socket.socket, reader: h11.Connection, asked: str) -> bool:
        """True: the connection serves another request."""
        if asked.endswith("/silent"):
            while visitor.recv(65536):
                pass
            return False
        if asked.endswith("/big"):
            visitor.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")
            while not self._over.is_set():
                visitor.sendall(_PIECE)
        answer = h11.Response(status_code=200, headers=[("content-length", str(len(asked))), ("x-app", "1")])
        sent = [reader.send(part) for part in (answer, h11.Data(asked.encode()), h11.EndOfMessage())]
        visitor.sendall(b"".join(part for part in sent if part))
        if reader.our_state is h11.MUST_CLOSE:
            return False
        reader.start_next_cycle()
        return True
