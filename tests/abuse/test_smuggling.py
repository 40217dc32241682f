"""Request smuggling and malformed HTTP/1.1 through the whole path: what the visitor gets, and exactly what the app got.

Each case is sent on one connection with a second, well-formed request behind it. The app's bytes are read by h11, which
shares no code with the edge: a request that the visitor didn't mean must not be among them, in any of the readings.
"""

import re
from typing import NamedTuple

import h11
import pytest

from support.attack import Scene, converse
from support.recording_app import Arrived

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

HIDDEN = "GET /smuggled HTTP/1.1\r\nhost: {host}\r\nx: y\r\n\r\n"
CHUNKED = "transfer-encoding: chunked\r\n"
NEXT = "GET /next HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"


class Case(NamedTuple):
    """`sent` without the request behind it; statuses of all answers; what the app sees: method and target."""

    name: str
    sent: str
    statuses: list[int]
    app: list[str]


def post(fields: str, body: str = "") -> str:
    return f"POST /first HTTP/1.1\r\nhost: {{host}}\r\n{fields}\r\n{body}"


def get(fields: str = "", target: str = "/first", version: str = "HTTP/1.1") -> str:
    return f"GET {target} {version}\r\nhost: {{host}}\r\n{fields}\r\n"


def refused(name: str, sent: str, status: int = 400) -> Case:
    """Nothing reaches the app, and the connection is over: what stands behind it is not read as a request."""
    return Case(name, sent, [status], [])


def served(name: str, sent: str) -> Case:
    """Both reach the app, as they were meant."""
    return Case(name, sent, [200, 200], [sent.split()[0] + " /first", "GET /next"])


END = "0\r\n\r\n"
HIDES = END + HIDDEN
REFUSED = [
    refused("CL list", post("content-length: 3, 3\r\n", "abc")),
    refused("CL unequal", post("content-length: 3\r\ncontent-length: 4\r\n", "abcd")),
    refused("CL and an empty one", post("content-length: 3\r\ncontent-length:\r\n", "abc")),
    refused("CL plus", post("content-length: +3\r\n", "abc")),
    refused("CL minus", post("content-length: -3\r\n", "abc")),
    refused("CL minus zero", post("content-length: -0\r\n", HIDDEN)),
    refused("CL hex", post("content-length: 0x3\r\n", "abc")),
    refused("CL with a point", post("content-length: 3.0\r\n", "abc")),
    refused("CL with a blank inside", post("content-length: 3 0\r\n", "abc")),
    refused("CL past 64 bits", post("content-length: 18446744073709551619\r\n", "abc")),
    refused("CL of many nines", post("content-length: " + "9" * 400 + "\r\n", "abc")),
    refused("CL with NUL", post("content-length: 3\0\r\n", "abc")),
    refused("CL in other digits", post("content-length: \u00b3\r\n", "abc")),
    refused("TE gzip, chunked", post("transfer-encoding: gzip, chunked\r\n", HIDES), 501),
    refused("TE chunked, chunked", post("transfer-encoding: chunked, chunked\r\n", HIDES), 501),
    refused("TE identity", post("transfer-encoding: identity\r\ncontent-length: 3\r\n", "abc")),
    refused("TE xchunked", post("transfer-encoding: xchunked\r\n", HIDES)),
    refused("TE in quotes", post('transfer-encoding: "chunked"\r\n', HIDES)),
    refused("TE with a parameter", post("transfer-encoding: chunked;q=1\r\n", HIDES)),
    refused("TE and a comma first", post("transfer-encoding: ,chunked\r\n", HIDES), 501),
    refused("TE with VT", post("transfer-encoding: \x0bchunked\r\n", HIDES)),
    refused("TE with NUL", post("transfer-encoding: chunked\0\r\n", HIDES)),
    refused("TE empty", post("transfer-encoding:\r\n", HIDES)),
    refused("TE twice", post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", HIDES), 501),
    refused("TE twice, one identity", post("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", HIDES)),
    refused("TE obs-fold", post("transfer-encoding:\r\n chunked\r\n", HIDES)),
    refused("TE space before colon", post("transfer-encoding : chunked\r\n", HIDES)),
    refused("TE tab before colon", post("transfer-encoding\t: chunked\r\n", HIDES)),
    refused("TE behind a bare CR", post("x: a\rtransfer-encoding: chunked\r\n", HIDES)),
    refused("TE in HTTP/1.0", "POST /first HTTP/1.0\r\nhost: {host}\r\n" + CHUNKED + "\r\n" + HIDES),
    refused("obs-fold", get("x: a\r\n b\r\n")),
    refused("a first line that is folded", "GET /first HTTP/1.1\r\n host: {host}\r\n\r\n"),
    refused("no colon", get("nonsense\r\n")),
    refused("no name", get(": x\r\n")),
    refused("NUL in a name", get("x\0y: a\r\n")),
    refused("NUL in a value", get("x: a\0b\r\n")),
    refused("bare CR in a value", get("x: a\rb\r\n")),
    refused("CR twice", get("x: a\r\r\n")),
    refused("space in a name", get("content length: 3\r\n")),
    refused("no Host", "GET /first HTTP/1.1\r\nx: y\r\n\r\n"),
    refused("empty Host", "GET /first HTTP/1.1\r\nhost:\r\n\r\n"),
    refused("two Hosts", get("host: {host}\r\n")),
    refused("two Hosts, one other", get("host: other.example\r\n")),
    refused("Host with a path", "GET /first HTTP/1.1\r\nhost: {host}/x\r\n\r\n"),
    refused("Host with userinfo", "GET /first HTTP/1.1\r\nhost: a@{host}\r\n\r\n"),
    refused("Host with a comma", "GET /first HTTP/1.1\r\nhost: {host},other.example\r\n\r\n"),
    refused("Host with a port that is none", "GET /first HTTP/1.1\r\nhost: {host}:8443x\r\n\r\n"),
    refused("Host unlike the absolute target", get(target="http://other.example/first")),
    refused("absolute target unlike Host by userinfo", get(target="http://other.example@{host}/first")),
    refused("a target without a slash", get(target="first")),
    refused("blank in the target", get(target="/first /x")),
    refused("tabs between", "GET\t/first\tHTTP/1.1\r\nhost: {host}\r\n\r\n"),
    refused("two blanks", "GET  /first HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    refused("HTTP/2.0", get(version="HTTP/2.0")),
    refused("HTTP/1.2", get(version="HTTP/1.2")),
    refused("HTTP/1.10", get(version="HTTP/1.10")),
    refused("lower-case http", get(version="http/1.1")),
    refused("HTTP/0.9", "GET /first\r\n"),
    refused("a method with a colon", "GET:x /first HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    refused("CONNECT", "CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n", 405),
    refused("chunk of another host's TLS", "\x16\x03\x01\x02\x00\x01\x00"),
]
TAKEN = [
    # The chunks win, the length is dropped and the connection ends: what stands behind is nobody's request.
    Case("CL, TE", post("content-length: 4\r\n" + CHUNKED, "3\r\nabc\r\n" + END), [200], ["POST /first"]),
    Case("TE, CL", post(CHUNKED + "content-length: 4\r\n", "3\r\nabc\r\n" + END), [200], ["POST /first"]),
    Case(
        "CL covers a request behind the chunks", post("content-length: 90\r\n" + CHUNKED, HIDES), [200], ["POST /first"]
    ),
    served("CL twice, equal", post("content-length: 3\r\ncontent-length: 3\r\n", "abc")),
    served("CL with zeros", post("content-length: 0003\r\n", "abc")),
    served("CL and blanks", post("content-length: \t 3 \t\r\n", "abc")),
    served("CL in a GET", get("content-length: 3\r\n") + "abc"),
    served("CL 0 in a GET", get("content-length: 0\r\n")),
    served("TE in capitals", post("Transfer-Encoding: CHUNKED\r\n", "3\r\nabc\r\n" + END)),
    served("a request in a body by length", post("content-length: {hidden}\r\n", HIDDEN)),
    served("a request in a chunk", post(CHUNKED, "{hidden:x}\r\n" + HIDDEN + "\r\n" + END)),
    served("a chunk's extension", post(CHUNKED, '3;a="b"\r\nabc\r\n' + END)),
    served("trailers", post(CHUNKED, "3\r\nabc\r\n0\r\ncontent-length: 99\r\nhost: x\r\n\r\n")),
    served("CL named in Connection", post("connection: content-length\r\ncontent-length: 3\r\n", "abc")),
    served("Host named in Connection", get("connection: host, keep-alive\r\n")),
    served("TE named in Connection", post("connection: transfer-encoding\r\n" + CHUNKED, "3\r\nabc\r\n" + END)),
    served(
        "Upgrade h2c",
        get("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"),
    ),
    served("bare LF in the head", post("x: y\n", "").replace("x: y\n", "x: y\ncontent-length: 3\n") + "abc"),
    served("an underscore in content_length", post("content_length: 99\r\ncontent-length: 3\r\n", "abc")),
    served("an underscore in transfer_encoding", post("transfer_encoding: chunked\r\ncontent-length: 3\r\n", "abc")),
    served("absolute target", get(target="http://{host}/first")),
    served("empty lines before", "\r\n\r\n" + get()),
    Case("HTTP/1.0 ends", get(version="HTTP/1.0"), [200], ["GET /first"]),
    Case("Connection: close ends", get("connection: close\r\n"), [200], ["GET /first"]),
]
CHUNKS = {
    "negative": "-1\r\nabc\r\n",
    "0x": "0x3\r\nabc\r\n",
    "plus": "+3\r\nabc\r\n",
    "overflow to 3": "10000000000000003\r\nabc\r\n",
    "a blank in front": " 3\r\nabc\r\n",
    "LF in an extension": "3;a\nb\r\nabc\r\n",
    "bare LF": "3\nabc\n",
    "bare CR": "3\rabc\r",
    "longer than said": "3\r\nabcd\r\n",
    "shorter than said": "5\r\nabc\r\n",
    "no size": "\r\nabc\r\n",
    "an extension of 64 KiB": f"3;{'a' * 65536}\r\nabc\r\n",
    "NUL": "3\0\r\nabc\r\n",
    "underscore": "0_3\r\nabc\r\n",
}


def ask(scene: Scene, case_sent: str, behind: str = NEXT) -> list[int]:
    """Statuses of all answers on one connection."""
    said = (case_sent + behind).replace("{hidden:x}", "{size:x}").replace("{hidden}", "{size}")
    hidden = len(HIDDEN.replace("{host}", scene.host))
    text = said.replace("{size:x}", f"{hidden:x}").replace("{size}", str(hidden)).replace("{host}", scene.host)
    answers = converse(scene.tls(), text.encode("latin-1"))
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


def seen(scene: Scene) -> list[str]:
    """Method and target of every request that the app got, read strictly."""
    found = []
    for connection in scene.app.take():
        for head in connection.heads():
            assert not re.search(rb"[^\r]\n|\r[^\n]|\0", head), head
            names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
            assert names.count(b"host") == 1, head
            assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1, head
            assert not any(b"_" in name for name in names), head
        found += [request for request, _ in connection.requests()]
    return found


def next_visitor_is_served(scene: Scene) -> None:
    with scene.made.visitor() as http:
        scene.check(http)
        scene.check(http)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_is_unclear_never_reaches_the_app(scene: Scene, case: Case) -> None:
    assert ask(scene, case.sent) == case.statuses
    assert seen(scene) == []
    next_visitor_is_served(scene)


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.name)
def test_what_is_taken_reaches_the_app_as_what_was_meant(scene: Scene, case: Case) -> None:
    assert ask(scene, case.sent) == case.statuses
    assert sorted(seen(scene)) == sorted(case.app)
    next_visitor_is_served(scene)


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS.keys())
def test_a_broken_chunk_ends_the_request_and_the_connection(scene: Scene, chunk: str) -> None:
    assert ask(scene, post(CHUNKED, chunk + HIDES)) in ([400], [])
    for connection in scene.app.take():
        assert b"smuggled" not in connection.raw
        assert not connection.raw.endswith(b"0\r\n\r\n"), "the app must not take it for a whole request"
        assert [request for request, _ in connection.requests()] == ["POST /first"]
    next_visitor_is_served(scene)


def test_a_pipeline_of_twenty_is_answered_in_order(scene: Scene) -> None:
    with scene.tls() as visitor:
        asked = [f"GET /pipelined/{number} HTTP/1.1\r\nhost: {scene.host}\r\n\r\n" for number in range(20)]
        answers = converse(visitor, ("".join(asked) + NEXT.replace("{host}", scene.host)).encode())
    assert re.findall(rb"GET (/pipelined/\d+|/next)", answers) == [
        *(f"/pipelined/{number}".encode() for number in range(20)),
        b"/next",
    ]
    assert sorted(seen(scene)) == sorted([*(f"GET /pipelined/{number}" for number in range(20)), "GET /next"])


def test_the_strict_reader_sees_what_it_looks_for(scene: Scene) -> None:
    """Whether these tests could fail: the bytes of an edge that passes on what it gets, read by the same reader."""
    smuggled = post("content-length: 0\r\n", HIDDEN).replace("{host}", scene.host).encode()
    assert [one for one, _ in Arrived(bytearray(smuggled)).requests()] == ["POST /first", "GET /smuggled"]
    both = post("content-length: 4\r\n" + CHUNKED, HIDES).replace("{host}", "h").encode()
    assert [one for one, _ in Arrived(bytearray(both)).requests()] == ["POST /first", "GET /smuggled"]
    with pytest.raises(h11.RemoteProtocolError):
        Arrived(bytearray(b"GET / HTTP/1.1\r\nhost : a\r\n\r\n")).requests()
