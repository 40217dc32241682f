"""HTTP/2 attacks by a client that writes its own frames and reads what comes, beside visitors who have to be served.

Each attack comes from several connections at once; it has to be ended by the edge where it costs work, and to stay
without effect where it does not. Bounds: docs/edge-limits.md.
"""

import contextlib
import struct
import threading
from collections.abc import Callable

import pytest

from support.attack import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LINK_BYTES,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2,
    Scene,
    frame,
    literal,
    prefixed,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

CONNECTIONS = 4
FIRST_S = 20.0
"""By then the edge has to have ended the first connection of each attacker; it takes a fraction of a second."""
CANCEL = struct.pack(">I", 8)


def flood(
    scene: Scene, one_round: Callable[[int], bytes], *, before: Callable[[Http2], bytes] | None = None
) -> list[object]:
    """Several connections that start anew when they are ended; how each one ended."""

    def attack(stop: threading.Event) -> list[tuple[str, int]]:
        source, ends, patience = scene.attacker(), [], threading.Event()
        timer = threading.Timer(FIRST_S, patience.set)
        timer.start()
        try:
            # The first runs until it is ended, however busy the machine is; the others until time is up.
            while not ends or not stop.is_set():
                with scene.h2(source) as client:
                    if before is None or client.send(before(client)):
                        ends.append(client.flood(one_round, stop if ends else patience))
        finally:
            timer.cancel()
        return ends

    return [end for ends in scene.endure(*[attack] * CONNECTIONS).attacks for end in ends]


def ended_by_the_edge(ends: list[object]) -> list[int]:
    """Rounds of the connections that the edge ended; those that ran when time was up don't count."""
    return [rounds for how, rounds in ends if how != "open"]


def open_get(client: Http2, stream: int, path: str = "/h2") -> bytes:
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, client.block("GET", path))


# --- floods -----------------------------------------------------------------------------------------------------------
def test_rapid_reset_is_ended_and_hardly_reaches_the_app(scene: Scene) -> None:
    block = b"\x82\x87\x84" + literal(":authority", scene.host)

    def one_round(number: int) -> bytes:
        streams = [2 * (100 * number + one) + 1 for one in range(100)]
        return b"".join(
            frame(HEADERS, END_HEADERS | END_STREAM, stream, block) + frame(RST_STREAM, 0, stream, CANCEL)
            for stream in streams
        )

    ends = flood(scene, one_round)
    rounds = ended_by_the_edge(ends)
    assert len(rounds) >= CONNECTIONS
    reached = sum(len(one.requests()) for one in scene.app.take())
    assert reached <= 1200 * len(ends), "1000 at once, and 50 a second"


@pytest.mark.parametrize(
    "one",
    [
        frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)),
        frame(SETTINGS, ACK, 0),
        frame(PING, 0, 0, b"8 octets"),
        frame(PING, ACK, 0, b"8 octets"),
        frame(PRIORITY, 0, 5, b"\0\0\0\1\0"),
        frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
        frame(0x77, 0, 0, b"unknown"),
    ],
    ids=["SETTINGS", "SETTINGS ack", "PING", "PING ack", "PRIORITY", "WINDOW_UPDATE", "unknown"],
)
def test_a_flood_of_frames_that_carry_nothing_is_ended(scene: Scene, one: bytes) -> None:
    rounds = ended_by_the_edge(flood(scene, lambda _: one * 100))
    assert len(rounds) >= CONNECTIONS


@pytest.mark.parametrize("padded", [False, True], ids=["empty", "padding alone"])
def test_a_flood_of_empty_data_is_ended(scene: Scene, padded: bool) -> None:
    empty = frame(DATA, 8, 1, b"\x10" + bytes(16)) if padded else frame(DATA, 0, 1)
    rounds = ended_by_the_edge(
        flood(
            scene,
            lambda _: empty * 100,
            before=lambda client: frame(HEADERS, END_HEADERS, 1, client.block("POST", "/x")),
        )
    )
    assert len(rounds) >= CONNECTIONS


def test_window_updates_of_a_stream_are_bounded(scene: Scene) -> None:
    one = frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1))
    rounds = ended_by_the_edge(
        flood(
            scene, lambda _: one * 100, before=lambda client: frame(HEADERS, END_HEADERS, 1, client.block("POST", "/x"))
        )
    )
    assert len(rounds) >= CONNECTIONS


def test_a_continuation_flood_is_ended(scene: Scene) -> None:
    ends = flood(
        scene,
        lambda _: frame(CONTINUATION, 0, 1, literal("a", "b" * 1000)),
        before=lambda client: frame(HEADERS, END_STREAM, 1, client.block()),
    )
    rounds = ended_by_the_edge(ends)
    assert len(rounds) >= CONNECTIONS
    assert scene.app.take() == [] or "GET /h2" not in [one for got in scene.app.take() for one, _ in got.requests()]


def test_empty_continuations_are_ended(scene: Scene) -> None:
    ends = flood(
        scene,
        lambda _: frame(CONTINUATION, 0, 1) * 100,
        before=lambda client: frame(HEADERS, END_STREAM, 1, client.block()),
    )
    assert len(ended_by_the_edge(ends)) >= CONNECTIONS


def test_made_you_reset_is_ended(scene: Scene) -> None:
    """Streams that the edge has to reset itself: a WINDOW_UPDATE of zero for each (CVE-2025-8671)."""
    block = b"\x82\x87\x84" + literal(":authority", scene.host)

    def one_round(number: int) -> bytes:
        streams = [2 * (50 * number + one) + 1 for one in range(50)]
        return b"".join(
            frame(HEADERS, END_HEADERS | END_STREAM, stream, block) + frame(WINDOW_UPDATE, 0, stream, bytes(4))
            for stream in streams
        )

    ends = flood(scene, one_round)
    assert len(ended_by_the_edge(ends)) >= CONNECTIONS
    reached = sum(len(one.requests()) for one in scene.app.take())
    assert reached <= 256 * len(ends), "H2_LOCAL_RESETS"


# --- bombs ------------------------------------------------------------------------------------------------------------
def indexed_bomb(client: Http2, name: str, value_bytes: int, times: int) -> bytes:
    """One field into the dynamic table, then named again and again for a byte each."""
    into_table = b"\x40" + prefixed(len(name), 7) + name.encode() + prefixed(value_bytes, 7) + b"v" * value_bytes
    return client.block() + into_table + prefixed(62, 7, 0x80) * times


@pytest.mark.parametrize(("name", "value_bytes"), [("x", 3900), ("cookie", 3900), ("cookie", 0), ("x", 0)])
def test_an_hpack_bomb_is_refused(scene: Scene, name: str, value_bytes: int) -> None:
    """16 KiB on the wire that would be 60 MB of fields; crumbs of cookies count in bytes like all others."""

    def attack(stop: threading.Event) -> int:
        source, sent = scene.attacker(), 0
        while not stop.is_set():
            with scene.h2(source) as client:
                block = indexed_bomb(client, name, value_bytes, 12_000)
                for stream in range(1, 40, 2):
                    if not client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block)):
                        break
                    sent += 1
                for kind, _, _, payload in client.frames(0.2):
                    assert not (kind == HEADERS and payload[:1] == b"\x88"), "a 200"
                    if kind == GOAWAY:
                        break
        return sent

    report = scene.endure(*[attack] * CONNECTIONS)
    assert sum(report.attacks) > 0  # type: ignore[arg-type]
    assert not [one for got in scene.app.take() for one, _ in got.requests() if one == "GET /h2"]


def test_zero_windows_hold_little_and_block_nobody(scene: Scene) -> None:
    """100 answers without end on each of four connections, of which not a byte may be sent."""

    def attack(stop: threading.Event) -> int:
        no_window = struct.pack(">HI", 4, 0)
        with scene.h2(scene.attacker(), no_window) as client:
            client.send(b"".join(open_get(client, stream, "/big") for stream in range(1, 200, 2)))
            heads = sum(kind == HEADERS for kind, *_ in client.frames(0.5))
            stop.wait(10)
            client.send(b"".join(frame(RST_STREAM, 0, stream, CANCEL) for stream in range(1, 200, 2)))
        return heads

    for _ in range(2):
        scene.endure(*[attack] * CONNECTIONS, seconds=2, growth_bytes=LINK_BYTES)
        scene.app_is_left()


# --- what is malformed ------------------------------------------------------------------------------------------------
def outcome(scene: Scene, client: Http2, data: bytes) -> str:
    """What became of stream 1: its status, "reset" or "ended" (the connection)."""
    client.send(data)
    statuses = {0x88: "200", 0x8C: "400", 0x8D: "404", 0x8E: "500"}
    with contextlib.closing(client.frames(5)) as frames:
        for kind, _, stream, payload in frames:
            if kind == HEADERS and stream == 1:
                return statuses.get(payload[0], payload[:8].hex())
            if kind == RST_STREAM and stream == 1:
                return "reset"
            if kind == GOAWAY:
                break
    return "ended"


def request(scene: Scene, *fields: tuple[str, str], method: str = "GET") -> bytes:
    usual = {":method": method, ":scheme": "https", ":authority": scene.host, ":path": "/h2"}
    given = {name for name, _ in fields}
    block = [*((name, value) for name, value in usual.items() if name not in given), *fields]
    return b"".join(literal(name, value) for name, value in block if value != "(none)")


MALFORMED: dict[str, list[tuple[str, str]]] = {
    "Connection": [("connection", "close")],
    "Transfer-Encoding": [("transfer-encoding", "chunked")],
    "Keep-Alive": [("keep-alive", "timeout=5")],
    "Proxy-Connection": [("proxy-connection", "close")],
    "Upgrade": [("upgrade", "h2c")],
    "TE gzip": [("te", "gzip")],
    "upper case": [("X-Upper", "1")],
    "CR LF": [("x", "a\r\nx-smuggled: 1")],
    "LF": [("x", "a\nx-smuggled: 1")],
    "NUL": [("x", "a\0b")],
    "colon in a name": [("x:y", "1")],
    "blank in a name": [("x y", "1")],
    "empty name": [("", "1")],
    "no :path": [(":path", "(none)")],
    "no :method": [(":method", "(none)")],
    "no :authority, no host": [(":authority", "(none)")],
    "empty :path": [(":path", "")],
    "blank in :path": [(":path", "/a HTTP/1.1\r\nx: y")],
    "two :path": [(":path", "/a"), (":path", "/b")],
    ":path behind fields": [("x", "y"), (":path", "/h2")],
    ":status": [(":status", "200")],
    "unknown pseudo-field": [(":x", "1")],
    "host unlike :authority": [("host", "other.example")],
    ":authority with userinfo": [(":authority", "a@b.example")],
    "two hosts": [("host", "{host}"), ("host", "{host}")],
    "two lengths": [("content-length", "0"), ("content-length", "0")],
    "lengths unequal": [("content-length", "0"), ("content-length", "1")],
    "length list": [("content-length", "0, 0")],
    "length and no body": [("content-length", "5")],
    "method with a blank": [(":method", "GET /smuggled HTTP/1.1\r\nx:")],
    "scheme with CR LF": [(":scheme", "https\r\nx: y")],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_head_never_reaches_the_app(scene: Scene, fields: list[tuple[str, str]]) -> None:
    named = [(name, value.replace("{host}", scene.host)) for name, value in fields]
    with scene.h2() as client:
        assert outcome(scene, client, frame(HEADERS, END_HEADERS | END_STREAM, 1, request(scene, *named))) in (
            "400",
            "reset",
            "ended",
        )
    assert scene.app.take() == []
    with scene.good_visitors():
        pass


@pytest.mark.parametrize(("length", "body"), [("3", b"abcde"), ("5", b"abc"), ("0", b"a")])
def test_a_body_unlike_its_length_is_no_whole_request(scene: Scene, length: str, body: bytes) -> None:
    head = request(scene, ("content-length", length), method="POST")
    with scene.h2() as client:
        sent = frame(HEADERS, END_HEADERS, 1, head) + frame(DATA, END_STREAM, 1, body)
        assert outcome(scene, client, sent) in ("400", "reset", "ended")
    for connection in scene.app.take():
        for _, got in connection.requests():
            assert len(got) < int(length) or length == "0"


BROKEN = {
    "a frame of 16 MiB": frame(DATA, 0, 1, length=(1 << 24) - 1),
    "SETTINGS of 64 KiB": frame(SETTINGS, 0, 0, bytes(65538)),
    "HEADERS on stream 0": frame(HEADERS, 5, 0, b"\x82"),
    "HEADERS on an even stream": frame(HEADERS, 5, 2, b"\x82"),
    "DATA on an idle stream": frame(DATA, 1, 9, b"x"),
    "RST_STREAM on an idle stream": frame(RST_STREAM, 0, 9, CANCEL),
    "PING of 7 octets": frame(PING, 0, 0, b"seven!!"),
    "SETTINGS of 5 octets": frame(SETTINGS, 0, 0, bytes(5)),
    "a window past 2^31": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)),
    "CONTINUATION without HEADERS": frame(CONTINUATION, 4, 1, b"\x82"),
    "PUSH_PROMISE": frame(5, 4, 1, bytes(4) + b"\x82"),
    "padding past the frame": frame(HEADERS, 8 | 4 | 1, 1, b"\xff\x82"),
    "an index past the table": frame(HEADERS, 5, 1, prefixed(4000, 7, 0x80)),
    "an integer that never ends": frame(HEADERS, 5, 1, b"\xff" + b"\x80" * 64),
    "a Huffman string of padding": frame(HEADERS, 5, 1, b"\x00\x84\xff\xff\xff\xff\x00"),
    "a table of 4 GiB": frame(HEADERS, 5, 1, prefixed(0xFFFFFFFF, 5, 0x20)),
    "nonsense": b"\xff" * 4096,
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_frame_ends_the_connection(scene: Scene, data: bytes) -> None:
    with scene.h2() as client:
        client.send(data)
        assert client.end(5) in ("goaway", "closed")
    assert scene.app.take() == []


def test_more_streams_than_allowed_are_refused(scene: Scene) -> None:
    with scene.h2() as client:
        client.send(b"".join(open_get(client, stream, "/silent") for stream in range(1, 401, 2)))
        refused = sum(
            kind == RST_STREAM and payload == struct.pack(">I", 7) for kind, _, _, payload in client.frames(1)
        )
        assert refused == 100
        with scene.good_visitors() as one_round:
            one_round()
