"""Visitors who take their time, in every place where one can: all of them at once, for as long as the edge bears it.

The edge's bounds are 10 s for a handshake, for a head and for a body's first bytes (docs/edge-limits.md). All kinds run
side by side, so that this takes one such time and not eight.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest

from support import http3, http3_raw
from support.attack import DATA, END_HEADERS, HEADERS, Scene, frame

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

EACH = 40
"""Connections of one kind."""
CUT_S = 25.0
"""By then the edge has to have ended every one; its own time is 10 s, and the machine may be busy."""

Open = Callable[[Scene, str], tuple[socket.socket, bytes]]


def silent(scene: Scene, source: str) -> tuple[socket.socket, bytes]:
    """TCP, and not a byte."""
    return scene.tcp(source), b""


def dripping_hello(scene: Scene, source: str) -> tuple[socket.socket, bytes]:
    """A ClientHello, byte for byte."""
    context = ssl.create_default_context(cafile=str(scene.made.ca_file))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=scene.host)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return scene.tcp(source), outgoing.read()


def half_handshake(scene: Scene, source: str) -> tuple[socket.socket, bytes]:
    """A whole ClientHello, and no answer to what the edge says."""
    tcp, hello = dripping_hello(scene, source)
    tcp.sendall(hello)
    return tcp, b""


def idle_after_tls(scene: Scene, source: str) -> tuple[socket.socket, bytes]:
    """A handshake, and no request."""
    return scene.tls("http/1.1", source), b""


def dripping_head(scene: Scene, source: str) -> tuple[socket.socket, bytes]:
    """Slowloris: a field and another field."""
    visitor = scene.tls("http/1.1", source)
    visitor.sendall(f"GET /slow HTTP/1.1\r\nhost: {scene.host}\r\n".encode())
    return visitor, b"x: y\r\n" * 1000


def dripping_body(scene: Scene, source: str) -> tuple[socket.socket, bytes]:
    """R.U.D.Y.: a long body, byte for byte."""
    visitor = scene.tls("http/1.1", source)
    visitor.sendall(f"POST /slow HTTP/1.1\r\nhost: {scene.host}\r\ncontent-length: 100000\r\n\r\n".encode())
    return visitor, b"b" * 1000


def dripping_chunks(scene: Scene, source: str) -> tuple[socket.socket, bytes]:
    """The same in chunks of one byte."""
    visitor = scene.tls("http/1.1", source)
    visitor.sendall(f"POST /slow HTTP/1.1\r\nhost: {scene.host}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    return visitor, b"1\r\nb\r\n" * 200


def keeps_asking_nothing(scene: Scene, source: str) -> tuple[socket.socket, bytes]:
    """One request, and then none."""
    visitor = scene.tls("http/1.1", source)
    visitor.sendall(f"GET /slow HTTP/1.1\r\nhost: {scene.host}\r\n\r\n".encode())
    return visitor, b""


KINDS: tuple[Open, ...] = (
    silent,
    dripping_hello,
    half_handshake,
    idle_after_tls,
    dripping_head,
    dripping_body,
    dripping_chunks,
    keeps_asking_nothing,
)


def drip(visitor: socket.socket, drops: bytes, stop: threading.Event) -> bool:
    """A byte now and then until the edge ends the connection. True: it did."""
    deadline, visitor_at = time.monotonic() + CUT_S, 0
    visitor.settimeout(0.4)
    while time.monotonic() < deadline:
        try:
            if visitor_at < len(drops):
                visitor.sendall(drops[visitor_at : visitor_at + 1])
                visitor_at += 1
            if visitor.recv(65536) == b"":
                return True
        except TimeoutError:
            continue
        except (OSError, ssl.SSLError):
            return True
    return False


def test_whoever_takes_his_time_is_cut_off_while_others_are_served(scene: Scene) -> None:
    """320 connections of eight kinds; every one is ended by the edge."""
    threads: list[threading.Thread] = []
    left: list[str] = []

    def hold(kind: Open, source: str, stop: threading.Event) -> None:
        visitor, drops = kind(scene, source)
        with visitor:
            if not drip(visitor, drops, stop):
                left.append(kind.__name__)

    def attack(stop: threading.Event) -> int:
        for kind in KINDS:
            source = scene.attacker()
            mine = [threading.Thread(target=hold, args=(kind, source, stop)) for _ in range(EACH)]
            for one in mine:
                one.start()
            threads.extend(mine)
        for one in threads:
            one.join(CUT_S + 10)
        return len(threads)

    report = scene.endure(attack, seconds=CUT_S + 5)
    assert report.attacks == [EACH * len(KINDS)]
    assert left == []
    scene.app_is_left()


async def test_what_drips_over_http2_and_3_is_ended_and_the_connection_goes_on(scene: Scene) -> None:
    """Bodies end with 408. A head over HTTP/3 is a stream of its own, which is reset."""
    await asyncio.gather(asyncio.to_thread(drip_over_http2, scene), drip_over_http3(scene))
    scene.app_is_left()


def drip_over_http2(scene: Scene) -> None:
    with scene.h2() as client:
        client.send(frame(HEADERS, END_HEADERS, 1, client.block("POST", "/slow", ("content-length", "100000"))))
        begun, status = time.monotonic(), b""
        while not status and time.monotonic() - begun < CUT_S:
            client.send(frame(DATA, 0, 1, b"b"))
            for kind, _, stream, payload in client.frames(0.5):
                if kind == HEADERS and stream == 1:
                    status = payload
        assert b"408" in status or b"\x00\x7f" in status or status[:1] in (b"\x48", b"\x08"), status
        client.send(frame(HEADERS, END_HEADERS | 1, 3, client.block("GET", "/after")))
        assert any(kind == DATA and payload == b"GET /after" for kind, _, _, payload in client.frames(2))


async def drip_over_http3(scene: Scene) -> None:
    def head(method: str, *more: tuple[str, str]) -> bytes:
        usual = [(":method", method), (":scheme", "https"), (":authority", scene.host), (":path", "/slow")]
        return http3_raw.head([*usual, *more])

    async with http3_raw.connect(scene.made) as client:
        client.uni(http3_raw.CONTROL, http3_raw.SETTINGS)
        get = head("GET")
        dripping = {
            client.ask(get[:10], end=False): ([get[at : at + 1] for at in range(10, 60)], "reset 0x10d"),
            client.ask(head("POST"), end=False): ([http3.frame(0, b"b")] * 60, "408"),
            client.ask(head("POST", ("content-length", "100000")), end=False): ([http3.frame(0, b"b")] * 60, "408"),
        }
        for drop in range(50):
            for stream, (drops, _) in dripping.items():
                client.more(stream, drops[drop])
            await asyncio.sleep(0.4)
            if all(stream in client.over for stream in dripping):
                break
        ends = [await client.outcome(stream) for stream in dripping]
        assert ends == [end for _, end in dripping.values()]
        assert await client.outcome(client.ask(get)) == "200"


def test_connections_past_the_cap_of_an_address_are_closed_and_others_are_served(scene: Scene) -> None:
    """1024 from one address that say nothing; one more gets no handshake, and another address notices nothing."""
    source = scene.attacker()
    with contextlib.ExitStack() as held:
        for _ in range(1024):
            held.enter_context(scene.tcp(source))
        with scene.good_visitors() as one_round:
            for _ in range(5):
                # Its ClientHello is heard, because it might be an agent's; a visitor's gets no answer.
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    scene.tls("http/1.1", source)
            one_round()
    with contextlib.closing(scene.tls("http/1.1", source)) as again:
        again.sendall(f"GET /again HTTP/1.1\r\nhost: {scene.host}\r\nconnection: close\r\n\r\n".encode())
        assert b"GET /again" in again.recv(65536) + again.recv(65536)
