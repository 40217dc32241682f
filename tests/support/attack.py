"""What every attack of tests/abuse needs: a fleet with a recording app, raw connections, and visitors who mean well.

    report = scene.endure(attack)          # attack(stop) runs in a thread, good visitors beside it
    scene.endure(attack, seconds=3)

`endure` fails if a good visitor gets anything but its own answer, if the exit node grows by more than GROWTH_BYTES, or
if it keeps more than KEPT_BYTES of that afterwards. Attackers come from addresses of their own in 127.0.0.0/8.
"""

import contextlib
import itertools
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import httpx

from support.loopback import Loopback, rss_bytes
from support.recording_app import RecordingApp

GROWTH_BYTES = 64 << 20
"""An exit node may use this much more while it is attacked: its pod may use 1 GiB."""
KEPT_BYTES = 48 << 20
"""And this much after it: an allocator keeps what it will use again."""
LINK_BYTES = (192 << 20) * 2 + (32 << 20)
"""The same while answers have no window. Until they count as stopped (READER_NOTICED) the window of the agent's link is
the bound: 192 MiB (CONNECTION_WINDOW_BYTES) at up to 2 bytes each (1.45 in hawse-tunnel's limits.rs, and what jemalloc
gives back only after a second). Then there are 96 of 1.5 MB, which is less. The rest is for the well-behaved."""
IDLE_CONNECTIONS = 256
"""To the app, kept for one tunnel: POOL_IDLE_PER_TUNNEL."""
FALL_BACK_S = 10.0
_WAIT_S = 10.0

T = TypeVar("T")
Attack = Callable[[threading.Event], object]


@dataclass(slots=True)
class Report:
    """What was measured while an attack ran."""

    answers: int = 0
    slowest_s: float = 0.0
    grown_bytes: int = 0
    kept_bytes: int = 0
    attacks: list[object] = field(default_factory=list)
    """What the attacks returned."""


class Scene:
    """A fleet under attack."""

    def __init__(self, made: Loopback, app: RecordingApp) -> None:
        self.made, self.app = made, app
        self._tokens = itertools.count(1)
        self._addresses = itertools.count(1)

    @property
    def host(self) -> str:
        return self.made.host

    def is_alive(self) -> bool:
        """Exit node and agent are still the processes that were started."""
        processes = (self.made.nodes[0].process, self.made.agent)
        return all(one.popen is not None and one.popen.poll() is None for one in processes)

    def attacker(self) -> str:
        """An address that nobody had before."""
        number = next(self._addresses)
        return f"127.32.{number >> 8}.{number & 255}"

    def app_is_left(self) -> None:
        """No request that was given up is still at the app; some idle connections may be kept."""
        deadline = time.monotonic() + _WAIT_S
        while self.app.open > IDLE_CONNECTIONS and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.app.open <= IDLE_CONNECTIONS

    # --- connections -----------------------------------------------------------------------------------------------
    def tcp(self, source: str = "127.0.0.1") -> socket.socket:
        place = self.made.nodes[0].place
        return socket.create_connection((place.address, place.https_port), timeout=_WAIT_S, source_address=(source, 0))

    def tls(self, alpn: str = "http/1.1", source: str = "127.0.0.1") -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.made.ca_file))
        context.set_alpn_protocols([alpn])
        tcp = self.tcp(source)
        try:
            return context.wrap_socket(tcp, server_hostname=self.host, suppress_ragged_eofs=True)
        except BaseException:
            tcp.close()
            raise

    def h2(self, source: str = "127.0.0.1", settings: bytes = b"") -> "Http2":
        return Http2(self.tls("h2", source), self.host, settings)

    # --- visitors who mean well ------------------------------------------------------------------------------------
    def check(self, http: httpx.Client) -> float:
        """One request, whose answer has to be its own; how long it took."""
        path = f"/good/{next(self._tokens)}"
        begun = time.monotonic()
        answer = http.get(path)
        assert (answer.status_code, answer.text) == (200, f"GET {path}")
        return time.monotonic() - begun

    @contextlib.contextmanager
    def good_visitors(self) -> Iterator[Callable[[], float]]:
        """A round: HTTP/1.1 and 2, each on a connection that is kept and on a new one."""
        with self.made.visitor() as kept1, self.made.visitor(http2=True) as kept2:

            def one_round() -> float:
                times = [self.check(kept1), self.check(kept2)]
                for http2 in (False, True):
                    with self.made.visitor(http2=http2) as new:
                        times.append(self.check(new))
                return max(times)

            one_round()
            yield one_round

    def endure(
        self, *attacks: Attack, seconds: float = 1.0, growth_bytes: int = GROWTH_BYTES, kept_bytes: int = KEPT_BYTES
    ) -> Report:
        """Run the attacks side by side, for so long or until all of them are over; see the module."""
        before, report, stop = rss_bytes(self.made.nodes[0].process), Report(), threading.Event()
        with self.good_visitors() as one_round, ThreadPoolExecutor(len(attacks)) as threads:
            try:
                running = [threads.submit(attack, stop) for attack in attacks]
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline and not all(one.done() for one in running):
                    report.slowest_s = max(report.slowest_s, one_round())
                    report.answers += 4
                    report.grown_bytes = max(report.grown_bytes, rss_bytes(self.made.nodes[0].process) - before)
            finally:
                stop.set()
            report.attacks = [one.result(30) for one in running]
            report.grown_bytes = max(report.grown_bytes, rss_bytes(self.made.nodes[0].process) - before)
            one_round()
        assert report.grown_bytes < growth_bytes, report
        deadline = time.monotonic() + FALL_BACK_S
        while (kept := rss_bytes(self.made.nodes[0].process) - before) >= kept_bytes and time.monotonic() < deadline:
            time.sleep(0.1)
        report.kept_bytes = kept
        assert kept < kept_bytes, report
        return report


# --- raw HTTP/1.1 ---------------------------------------------------------------------------------------------------
def converse(visitor: ssl.SSLSocket, data: bytes, *, timeout_s: float = _WAIT_S) -> bytes:
    """Send everything, say that nothing follows, and read until the edge ends the connection."""
    visitor.settimeout(timeout_s)
    with visitor, contextlib.suppress(ConnectionError, ssl.SSLError):
        visitor.sendall(data)
        return read_to_end(visitor)
    return b""


def read_to_end(visitor: socket.socket) -> bytes:
    """What comes until the end, however it comes.

    Raises:
        TimeoutError: the other side keeps it open.
    """
    received = bytearray()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := visitor.recv(65536):
            received += piece
    return bytes(received)


# --- raw HTTP/2 -----------------------------------------------------------------------------------------------------
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame; `length` is what it claims, if not the truth."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """A field of a header block, never indexed, without Huffman coding."""
    return b"\x10" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    raw = text.encode("latin-1")
    return prefixed(len(raw), 7) + raw


def prefixed(number: int, bits: int, pattern: int = 0) -> bytes:
    """HPACK's integer."""
    most = (1 << bits) - 1
    if number < most:
        return bytes([pattern | number])
    number -= most
    rest = bytearray()
    while number >= 128:
        rest.append(number & 127 | 128)
        number >>= 7
    return bytes([pattern | most]) + bytes(rest) + bytes([number])


class Http2:
    """A client that sends frames as they are and reads what comes, without any rule."""

    def __init__(self, visitor: ssl.SSLSocket, host: str, settings: bytes = b"") -> None:
        self.socket, self.host = visitor, host
        self._received = bytearray()
        visitor.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings) + frame(SETTINGS, ACK, 0))

    def __enter__(self) -> "Http2":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def block(self, method: str = "GET", path: str = "/h2", *more: tuple[str, str]) -> bytes:
        """A header block."""
        fields = [(":method", method), (":scheme", "https"), (":authority", self.host), (":path", path), *more]
        return b"".join(literal(name, value) for name, value in fields)

    def send(self, data: bytes) -> bool:
        """False: the connection is over."""
        try:
            self.socket.sendall(data)
        except (OSError, ssl.SSLError):
            return False
        return True

    def frames(self, timeout_s: float) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of what comes, until the end or until nothing came for so long."""
        self.socket.settimeout(timeout_s)
        while True:
            yield from self._whole_frames()
            try:
                piece = self.socket.recv(65536)
            except (OSError, ssl.SSLError):  # TimeoutError among them
                return
            if not piece:
                return
            self._received += piece

    def _whole_frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        while len(self._received) >= 9 and len(self._received) >= 9 + int.from_bytes(self._received[:3], "big"):
            size = int.from_bytes(self._received[:3], "big")
            head, payload = self._received[:9], bytes(self._received[9 : 9 + size])
            del self._received[: 9 + size]
            yield head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload

    def end(self, timeout_s: float = _WAIT_S) -> str:
        """How the edge ended the connection: "goaway", "closed" or "open" (it did not)."""
        deadline = threading.Event()
        timer = threading.Timer(timeout_s, deadline.set)
        timer.start()
        try:
            return self.flood(lambda _: b"", deadline)[0]
        finally:
            timer.cancel()

    def flood(self, one_round: Callable[[int], bytes], stop: threading.Event) -> tuple[str, int]:
        """Send round after round and read beside it, until the edge ends the connection: how, and in which round."""
        self.socket.setblocking(False)
        pending, number = b"", 0
        while not stop.is_set():
            if not pending:
                pending = one_round(number)
                number += 1
            try:
                sent = self._try(lambda data=pending: self.socket.send(data)) if pending else None
                pending = pending[sent or 0 :]
                piece = self._try(lambda: self.socket.recv(65536))
            except (OSError, ssl.SSLError):
                return "closed", number
            if piece == b"":
                return "closed", number
            self._received += piece or b""
            # The first GOAWAY of an orderly end has no error.
            if any(kind == GOAWAY and payload[4:8] != bytes(4) for kind, _, _, payload in self._whole_frames()):
                return "goaway", number
            if sent is None and piece is None:
                select.select([self.socket], [self.socket] if pending else [], [], 0.05)
        return "open", number

    @staticmethod
    def _try(step: Callable[[], T]) -> T | None:
        try:
            return step()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
