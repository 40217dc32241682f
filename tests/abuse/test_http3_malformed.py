"""What is no HTTP/3, and what is a malformed message of it: how the edge refuses it, and exactly what reaches the app.

Each table is asked at once, a connection or a stream for each case, and compared as a whole: a failure shows every case
that went another way. Codes are those of RFC 9114, 8.1 and RFC 9204, 6.
"""

import asyncio
from collections.abc import Callable, Mapping

import pytest
from aioquic.h3.connection import FrameType

from support import http3_raw
from support.attack import Scene
from support.http3 import frame
from support.http3_raw import CONTROL, DECODER, ENCODER, SETTINGS, Raw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

CREATION, CLOSED_CRITICAL, UNEXPECTED, FRAME_ERROR = "closed 0x103", "closed 0x104", "closed 0x105", "closed 0x106"
EXCESSIVE, ID_ERROR, SETTINGS_ERROR, NO_SETTINGS = "closed 0x107", "closed 0x108", "closed 0x109", "closed 0x10a"
INCOMPLETE, MESSAGE_ERROR, UNDECODABLE = "reset 0x10d", "reset 0x10e", "closed 0x200"
HEADERS, DATA = FrameType.HEADERS, FrameType.DATA
AT_ONCE = 12


def fields(scene: Scene, *named: tuple[str, str], method: str = "GET") -> bytes:
    """A HEADERS frame: the usual pseudo-fields but those that are named, and "(none)" leaves one out."""
    usual = {":method": method, ":scheme": "https", ":authority": scene.host, ":path": "/h3"}
    given = {name for name, _ in named}
    whole = [*((name, value) for name, value in usual.items() if name not in given), *named]
    return http3_raw.head((name, value.replace("{host}", scene.host)) for name, value in whole if value != "(none)")


async def all_of(scene: Scene, cases: Mapping[str, Callable[[Raw], int | None]]) -> dict[str, str]:
    """What became of each, on a connection of its own: of its stream, or of the connection if it names none."""
    few = asyncio.Semaphore(AT_ONCE)

    async def one(act: Callable[[Raw], int | None]) -> str:
        async with few, http3_raw.connect(scene.made) as client:
            stream = act(client)
            return await (client.end() if stream is None else client.outcome(stream))

    async with asyncio.TaskGroup() as group:
        running = {name: group.create_task(one(act)) for name, act in cases.items()}
    return {name: task.result() for name, task in running.items()}


def at_app(scene: Scene) -> list[tuple[str, bytes]]:
    return [request for one in scene.app.take() for request in one.requests()]


# --- streams of the protocol ------------------------------------------------------------------------------------------
CONTROL_STREAMS: dict[str, tuple[bytes, str]] = {
    "two SETTINGS": (SETTINGS + SETTINGS, UNEXPECTED),
    "GOAWAY before SETTINGS": (frame(FrameType.GOAWAY, b"\0"), NO_SETTINGS),
    "a reserved frame before SETTINGS": (frame(0x21, b"") + SETTINGS, NO_SETTINGS),
    "PRIORITY of HTTP/2": (SETTINGS + frame(2, bytes(5)), UNEXPECTED),
    "PING of HTTP/2": (SETTINGS + frame(6, bytes(8)), UNEXPECTED),
    "WINDOW_UPDATE of HTTP/2": (SETTINGS + frame(8, bytes(4)), UNEXPECTED),
    "CONTINUATION of HTTP/2": (SETTINGS + frame(9, b""), UNEXPECTED),
    "DATA": (SETTINGS + frame(DATA, b"x"), UNEXPECTED),
    "HEADERS": (SETTINGS + frame(HEADERS, b"\0\0\xd1"), UNEXPECTED),
    "PUSH_PROMISE": (SETTINGS + frame(FrameType.PUSH_PROMISE, b"\0x"), UNEXPECTED),
    "SETTINGS of a mebibyte": (frame(FrameType.SETTINGS, b"", declared=1 << 20), EXCESSIVE),
    "a setting twice": (frame(FrameType.SETTINGS, b"\x06\x10\x06\x10"), SETTINGS_ERROR),
    "a setting of HTTP/2": (frame(FrameType.SETTINGS, b"\x03\x01"), SETTINGS_ERROR),
    "half a setting": (frame(FrameType.SETTINGS, b"\x06"), SETTINGS_ERROR),
    "GOAWAY without a number": (SETTINGS + frame(FrameType.GOAWAY, b""), FRAME_ERROR),
    "MAX_PUSH_ID and more": (SETTINGS + frame(FrameType.MAX_PUSH_ID, b"\5\5"), FRAME_ERROR),
    "GOAWAY that takes back": (SETTINGS + frame(FrameType.GOAWAY, b"\4") + frame(FrameType.GOAWAY, b"\x08"), ID_ERROR),
}


async def test_a_control_stream_that_breaks_the_rules_ends_the_connection(scene: Scene) -> None:
    def say(data: bytes) -> Callable[[Raw], None]:
        return lambda client: void(client.uni(CONTROL, data))

    outcomes = await all_of(scene, {name: say(data) for name, (data, _) in CONTROL_STREAMS.items()})
    assert outcomes == {name: code for name, (_, code) in CONTROL_STREAMS.items()}


def void(_: object) -> None:
    """Nothing of it is waited for."""


def reset(client: Raw, kind: int, data: bytes = b"") -> None:
    """A stream of the protocol, whose type arrives before it is reset."""
    stream = client.uni(kind, data)
    asyncio.get_running_loop().call_later(0.1, lambda: (client.quic.reset_stream(stream, 0x100), client.transmit()))


CRITICAL_STREAMS: dict[str, tuple[Callable[[Raw], object], str]] = {
    "control ends": (lambda client: client.uni(CONTROL, SETTINGS, end=True), CLOSED_CRITICAL),
    "control is reset": (lambda client: reset(client, CONTROL, SETTINGS), CLOSED_CRITICAL),
    "encoder ends": (lambda client: client.uni(ENCODER, end=True), CLOSED_CRITICAL),
    "encoder is reset": (lambda client: reset(client, ENCODER), CLOSED_CRITICAL),
    "decoder ends": (lambda client: client.uni(DECODER, end=True), CLOSED_CRITICAL),
    "decoder is reset": (lambda client: reset(client, DECODER), CLOSED_CRITICAL),
    "two controls": (lambda client: [client.uni(CONTROL, SETTINGS) for _ in "12"], CREATION),
    "two encoders": (lambda client: [client.uni(ENCODER) for _ in "12"], CREATION),
    "two decoders": (lambda client: [client.uni(DECODER) for _ in "12"], CREATION),
    "a push": (lambda client: client.uni(1, b"\0"), CREATION),
}


async def test_the_streams_of_the_protocol_stay_open_and_are_one_of_each(scene: Scene) -> None:
    cases = {name: lambda client, act=act: void(act(client)) for name, (act, _) in CRITICAL_STREAMS.items()}
    assert await all_of(scene, cases) == {name: code for name, (_, code) in CRITICAL_STREAMS.items()}


async def test_what_clients_may_do_with_streams_of_the_protocol_harms_nobody(scene: Scene) -> None:
    """Reserved streams and settings, streams without a type, cancellations in QPACK, a control stream unwanted."""
    async with http3_raw.connect(scene.made) as client:
        client.uni(CONTROL, frame(FrameType.SETTINGS, b"\x01\x00\x21\x05") + frame(0x21, b"grease"))
        client.uni(ENCODER, b"\x20")
        client.uni(DECODER, b"\x44\x7f\x85\x01")
        client.uni(0x21, b"grease" * 1000)
        assert await client.outcome(client.ask(fields(scene))) == "200"
        client.quic.stop_stream(3, 0x100)  # the edge's control stream: RFC 9114, 6.2.1 forbids to ask this
        for stream in (18, 22):
            client.quic.send_stream_data(stream, b"")
            client.quic.reset_stream(stream, 0x100)
        for _ in range(2):
            assert await client.outcome(client.ask(fields(scene))) == "200"
    assert at_app(scene) == [("GET /h3", b"")] * 3


# --- frames of a request ----------------------------------------------------------------------------------------------
def requests(scene: Scene) -> dict[str, tuple[bytes, str]]:
    get, post, trailers = fields(scene), fields(scene, method="POST"), http3_raw.head([("x", "y")])
    others = {kind: get + frame(kind, b"\0\0") for kind in (2, 3, 4, 5, 6, 7, 8, 9, 13)}
    return {
        "DATA before HEADERS": (frame(DATA, b"x") + get, UNEXPECTED),
        "two heads": (get + get, MESSAGE_ERROR),
        "two heads with a body between": (post + frame(DATA, b"x") + get, MESSAGE_ERROR),
        "three HEADERS": (post + frame(DATA, b"x") + trailers + trailers, UNEXPECTED),
        "DATA behind trailers": (post + frame(DATA, b"x") + trailers + frame(DATA, b"GET /x"), UNEXPECTED),
        **{f"a frame of type {kind}": (data, UNEXPECTED) for kind, data in others.items()},
        "an end within HEADERS": (get[:-3], FRAME_ERROR),
        "an end within DATA": (post + frame(DATA, b"abc", declared=9), FRAME_ERROR),
        "nothing": (b"", INCOMPLETE),
        "reserved frames alone": (frame(0x21, b"abc"), INCOMPLETE),
        "a reference to a table": (frame(HEADERS, b"\0\0\x80"), UNDECODABLE),
        "a reference behind the base": (frame(HEADERS, b"\0\0\x10"), UNDECODABLE),
        "an index past the static table": (frame(HEADERS, b"\0\0\xff\x7f"), UNDECODABLE),
        "a number that never ends": (frame(HEADERS, b"\0\0\xff" + b"\x80" * 64), UNDECODABLE),
        "a string past its section": (frame(HEADERS, b"\0\0\x27\xff\xff\x7fab"), UNDECODABLE),
        "a section of nothing": (frame(HEADERS, b""), UNDECODABLE),
        "no fields": (frame(HEADERS, b"\0\0"), MESSAGE_ERROR),
    }


async def test_frames_in_a_wrong_place_are_refused(scene: Scene) -> None:
    expected = requests(scene)

    def ask(data: bytes) -> Callable[[Raw], int]:
        return lambda client: (client.uni(CONTROL, SETTINGS), client.ask(data))[1]

    outcomes = await all_of(scene, {name: ask(data) for name, (data, _) in expected.items()})
    assert outcomes == {name: code for name, (_, code) in expected.items()}
    assert all(request.startswith("POST /h3") for request, _ in at_app(scene)), "no GET, and none that was hidden"


# --- fields -----------------------------------------------------------------------------------------------------------
MALFORMED: dict[str, tuple[list[tuple[str, str]], str]] = {
    "no :method": ([(":method", "(none)")], MESSAGE_ERROR),
    "no :scheme": ([(":scheme", "(none)")], MESSAGE_ERROR),
    "no :path": ([(":path", "(none)")], MESSAGE_ERROR),
    "no :authority, no host": ([(":authority", "(none)")], MESSAGE_ERROR),
    "empty :path": ([(":path", "")], MESSAGE_ERROR),
    "two :method": ([(":method", "GET"), (":method", "POST")], MESSAGE_ERROR),
    "two :path": ([(":path", "/a"), (":path", "/b")], MESSAGE_ERROR),
    "two :authority": ([(":authority", "{host}"), (":authority", "{host}")], MESSAGE_ERROR),
    ":path behind a field": ([("x", "y"), (":path", "/h3")], MESSAGE_ERROR),
    ":status": ([(":status", "200")], MESSAGE_ERROR),
    "a pseudo-field of nobody": ([(":x", "1")], MESSAGE_ERROR),
    "upper case": ([("X-Upper", "1")], MESSAGE_ERROR),
    "a blank in a name": ([("x y", "1")], MESSAGE_ERROR),
    "a colon in a name": ([("x:y", "1")], MESSAGE_ERROR),
    "no name": ([("", "1")], MESSAGE_ERROR),
    "CR LF in a value": ([("x", "a\r\nx-smuggled: 1")], MESSAGE_ERROR),
    "LF in a value": ([("x", "a\nx-smuggled: 1")], MESSAGE_ERROR),
    "CR in a value": ([("x", "a\rb")], MESSAGE_ERROR),
    "NUL in a value": ([("x", "a\0b")], MESSAGE_ERROR),
    "CR LF in :path": ([(":path", "/a HTTP/1.1\r\nx: y")], MESSAGE_ERROR),
    "CR LF in :method": ([(":method", "GET /smuggled HTTP/1.1\r\nx:")], MESSAGE_ERROR),
    "CR LF in :scheme": ([(":scheme", "https\r\nx: y")], MESSAGE_ERROR),
    ":authority with userinfo": ([(":authority", "a@{host}")], "400"),
    "host unlike :authority": ([("host", "other.example")], MESSAGE_ERROR),
    "two hosts": ([("host", "{host}"), ("host", "{host}")], "400"),
    "Connection": ([("connection", "close")], "400"),
    "Connection names a field": ([("connection", "x-a"), ("x-a", "1")], "400"),
    "Transfer-Encoding": ([("transfer-encoding", "chunked")], "400"),
    "Keep-Alive": ([("keep-alive", "timeout=5")], "400"),
    "Proxy-Connection": ([("proxy-connection", "close")], "400"),
    "Upgrade": ([("upgrade", "websocket")], "400"),
    "TE gzip": ([("te", "gzip")], "400"),
    "TE trailers, gzip": ([("te", "trailers, gzip")], "400"),
    "two lengths": ([("content-length", "0"), ("content-length", "0")], "400"),
    "unequal lengths": ([("content-length", "0"), ("content-length", "1")], "400"),
    "a list of lengths": ([("content-length", "0, 0")], "400"),
    "a length with a sign": ([("content-length", "+1")], "400"),
    "a length and no body": ([("content-length", "5")], "400"),
}


async def test_a_malformed_head_never_reaches_the_app(scene: Scene) -> None:
    """All on one connection, which goes on: a malformed message is an error of its stream."""
    async with http3_raw.connect(scene.made) as client:
        client.uni(CONTROL, SETTINGS)
        streams = {name: client.ask(fields(scene, *named)) for name, (named, _) in MALFORMED.items()}
        outcomes = {name: await client.outcome(stream) for name, stream in streams.items()}
        assert outcomes == {name: outcome for name, (_, outcome) in MALFORMED.items()}
        assert at_app(scene) == []
        assert await client.outcome(client.ask(fields(scene))) == "200"


@pytest.mark.parametrize(
    ("length", "sent"), [("3", b"abcde"), ("5", b"abc"), ("0", b"GET /x"), ("5", b""), (str(1 << 70), b"a")]
)
async def test_a_body_unlike_its_length_is_no_whole_request(scene: Scene, length: str, sent: bytes) -> None:
    """In one piece, and in bytes of their own, the last after a while."""
    head = fields(scene, ("content-length", length), method="POST")
    async with http3_raw.connect(scene.made) as client:
        client.uni(CONTROL, SETTINGS)
        at_once = client.ask(head + (frame(DATA, sent) if sent else b""))
        slowly = client.ask(head, end=not sent)
        for at in range(len(sent)):
            client.more(slowly, frame(DATA, sent[at : at + 1]), end=at + 1 == len(sent))
            await asyncio.sleep(0.02)
        for stream in (at_once, slowly):
            assert await client.outcome(stream) in ("400", MESSAGE_ERROR)
    for connection in scene.app.take():
        assert b"GET /x" not in connection.raw
        for _, got in connection.requests():
            assert len(got) < int(length)


async def test_what_is_taken_reaches_the_app_as_what_was_meant(scene: Scene) -> None:
    """Odd, but allowed: reserved frames between all others, empty DATA, crumbs of cookies, `te: trailers`, trailers."""
    grease = frame(0x21, b"GET /smuggled HTTP/1.1\r\n\r\n")
    hidden = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
    body = [frame(DATA, hidden[:9]), grease, frame(DATA, b""), frame(DATA, hidden[9:]), grease]
    head = fields(scene, ("te", "trailers"), ("cookie", "a=1"), ("cookie", "b=2"), method="POST")
    with_length = fields(scene, ("content-length", str(len(hidden))), method="POST")
    ending = http3_raw.head([("x-sum", "5"), ("content-length", "99"), ("host", "x"), ("transfer-encoding", "chunked")])
    async with http3_raw.connect(scene.made) as client:
        client.uni(CONTROL, SETTINGS)
        for data in (
            b"".join([grease, head, grease, *body]),
            b"".join([with_length, *body]),
            b"".join([head, *body, ending]),
            fields(scene, ("x_under_score", "1")),
        ):
            assert await client.outcome(client.ask(data)) == "200"
    connections = scene.app.take()
    assert [request for one in connections for request in one.requests()] == [
        *[("POST /h3", hidden)] * 3,
        ("GET /h3", b""),
    ]
    heads = [head.lower() for one in connections for head in one.heads()]
    assert sum(b"\r\ncookie: a=1; b=2" in head for head in heads) == 2
    assert not any(b"x_under_score" in head for head in heads)
