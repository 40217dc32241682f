"""What visitors get of a real exit node with a real agent behind it: httpx, websockets, the h2 library and raw sockets.

The edge's own rules are tested in Rust (exitnode/core/edge/tests); here foreign clients meet the whole path.
"""

import asyncio
import hashlib
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from websockets.asyncio.client import connect as websocket

from support import loopback
from support.loopback import Loopback, TunnelSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

BOTH = pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """One exit node; the second tunnel is closed, the third is nobody's."""
    tunnels = (
        TunnelSpec("shop", request_timeout_ms=1500),
        TunnelSpec("shut", closed="Suspended by its owner."),
        TunnelSpec("lonely"),
    )
    with loopback.serving(tmp_path_factory.mktemp("edge"), tunnels=tunnels) as made:
        yield made


def connect(made: Loopback, *alpn: str, host: str = "") -> ssl.SSLSocket:
    """A TLS connection to the exit node."""
    place = made.nodes[0].place
    context = ssl.create_default_context(cafile=str(made.ca_file))
    context.set_alpn_protocols(list(alpn))
    tcp = socket.create_connection((place.address, place.https_port), timeout=10)
    try:
        return context.wrap_socket(tcp, server_hostname=host or made.host)
    except BaseException:
        tcp.close()
        raise


def read_to_end(visitor: ssl.SSLSocket) -> bytes:
    received = b""
    while piece := visitor.recv(65536):
        received += piece
    return received


def ask(made: Loopback, request: str) -> str:
    """One raw request on a connection that is closed after the answer."""
    with connect(made, "http/1.1") as visitor:
        visitor.sendall(request.encode())
        return read_to_end(visitor).decode()


def name(made: Loopback, label: str) -> str:
    return f"{label}.{made.trial.fleet.domain}"


# --- answers of the app -----------------------------------------------------------------------------------------------
@BOTH
def test_the_app_sees_who_asks_and_not_what_the_visitor_pretends(served: Loopback, http2: bool) -> None:
    forged = {"x-forwarded-for": "6.6.6.6", "forwarded": "for=6.6.6.6", "x-real-ip": "6.6.6.6", "x-hawse-user": "root"}
    with served.visitor(http2=http2) as http:
        answer = http.get("/headers", headers={**forged, "x_forwarded_for": "6.6.6.6", "cookie": "a=1"})
    seen = answer.json()["headers"]
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert seen["x-forwarded-proto"] == ["https"]
    assert seen["x-forwarded-host"] == seen["host"]
    assert seen["host"][0].split(":")[0] == served.host
    assert seen["cookie"] == ["a=1"]
    assert seen["x-hawse-request-id"] == [answer.headers["x-hawse-request-id"]]
    assert "6.6.6.6" not in answer.text
    assert "root" not in answer.text
    assert answer.headers["x-hawse-served-by"] == served.nodes[0].place.name


@BOTH
def test_an_upload_arrives_whole(served: Loopback, http2: bool) -> None:
    body = bytes(range(256)) * (8 << 12)
    with served.visitor(http2=http2) as http:
        whole = http.post("/upload", content=body).json()
        pieces = http.post("/upload", content=iter([body[:70_000], body[70_000:]])).json()
    for answer in (whole, pieces):
        assert answer["sha256"] == hashlib.sha256(body).hexdigest()


@BOTH
def test_a_streamed_answer_is_whole_and_the_connection_serves_the_next(served: Loopback, http2: bool) -> None:
    with served.visitor(http2=http2) as http:
        for _ in range(3):
            assert len(http.get("/stream", params={"chunks": 40, "size": 65536}).content) == 40 * 65536


@BOTH
def test_events_arrive_one_by_one(served: Loopback, http2: bool) -> None:
    with served.visitor(http2=http2) as http, http.stream("GET", "/sse", params={"count": 4}) as answer:
        arrivals = [time.monotonic() for line in answer.iter_lines() if line.startswith("data:")]
    assert len(arrivals) == 4
    assert arrivals[-1] - arrivals[0] > 0.4, "the app sends one every 0.2 s: they were not collected on the way"


@BOTH
def test_head_has_no_body(served: Loopback, http2: bool) -> None:
    with served.visitor(http2=http2) as http:
        for _ in range(2):
            answer = http.head("/headers")
            assert (answer.status_code, answer.content) == (200, b"")
            assert int(answer.headers["content-length"]) > 0


def test_expect_100_continue_is_answered_before_the_body_is_sent(served: Loopback) -> None:
    with connect(served, "http/1.1") as visitor:
        head = f"POST /upload HTTP/1.1\r\nhost: {served.host}\r\ncontent-length: 3\r\nexpect: 100-continue\r\n"
        visitor.sendall(f"{head}connection: close\r\n\r\n".encode())
        assert visitor.recv(4096).startswith(b"HTTP/1.1 100")
        visitor.sendall(b"abc")
        assert hashlib.sha256(b"abc").hexdigest().encode() in read_to_end(visitor)


def test_many_requests_at_once_on_one_connection(served: Loopback) -> None:
    with connect(served, "h2") as visitor:
        client = H2Client(visitor)
        streams = {client.request("GET", served.host, "/headers") for _ in range(50)}
        assert {stream: client.wait(stream)[0] for stream in streams} == dict.fromkeys(streams, "200")


# --- WebSockets -------------------------------------------------------------------------------------------------------
async def test_a_websocket_over_http_1_carries_text_and_a_mebibyte(served: Loopback) -> None:
    place = served.nodes[0].place
    tcp = socket.create_connection((place.address, place.https_port), timeout=10)
    context = ssl.create_default_context(cafile=str(served.ca_file))
    tcp.setblocking(False)
    address = f"wss://{served.host}/ws"
    async with (
        asyncio.timeout(20),
        websocket(address, sock=tcp, ssl=context, server_hostname=served.host, max_size=1 << 21) as open_socket,
    ):
        for message in ("hello", "ü" * 70_000, b"\x00" * (1 << 20)):
            await open_socket.send(message)
            assert await open_socket.recv() == message


def test_a_websocket_over_http_2_reaches_an_app_that_knows_http_1_only(served: Loopback) -> None:
    with connect(served, "h2") as visitor:
        client = H2Client(visitor)
        client.wait_for_settings()
        extra = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
        stream = client.request("CONNECT", served.host, "/ws", extra=extra, end=False)
        client.pump(lambda: stream in client.status)
        assert client.status[stream] == "200"
        # RFC 6455, 5.7: a masked text frame "Hello"; the echo comes unmasked.
        client.send(stream, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
        client.pump(lambda: client.data.get(stream, b"") == b"\x81\x05Hello")


# --- pages and codes --------------------------------------------------------------------------------------------------
@BOTH
@pytest.mark.parametrize(
    ("label", "status", "code", "says"),
    [
        ("nobody", 404, "HAWSE-1001", "no tunnel at this address"),
        ("shut", 503, "HAWSE-1008", "Suspended by its owner."),
        ("lonely", 503, "HAWSE-1002", "No agent is connected"),
    ],
)
def test_a_program_is_told_what_fails(
    served: Loopback, http2: bool, label: str, status: int, code: str, says: str
) -> None:
    with served.visitor(http2=http2, host=name(served, label)) as http:
        answer = http.get("/")
    assert (answer.status_code, answer.headers["x-hawse-error"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert ("retry-after" in answer.headers) == (status == 503)
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"].endswith(f"/{code}")
    assert problem["request_id"] == answer.headers["x-hawse-request-id"]
    assert says in answer.text


def test_a_browser_is_told_on_a_page_of_the_exit_node(served: Loopback) -> None:
    host = name(served, "nobody")
    with served.visitor(host=host) as http:
        answer = http.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    for part in ("HAWSE-1001", host, answer.headers["x-hawse-request-id"]):
        assert part in answer.text
    assert not re.search(r"\{(host|request_id|detail)\}", answer.text), "a slot was left open"


def test_an_app_that_answers_too_late_is_named(served: Loopback) -> None:
    begin = time.monotonic()
    with served.visitor() as http:
        answer = http.get("/slow", params={"s": 10})
    assert (answer.status_code, answer.headers["x-hawse-error"]) == (504, "HAWSE-1004")
    assert "1.5s" in answer.text
    assert 1.0 < time.monotonic() - begin < 6


@BOTH
def test_an_answer_that_the_app_cuts_is_broken_and_not_short(served: Loopback, http2: bool) -> None:
    with served.visitor(http2=http2) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            http.get("/cut")
        assert http.get("/headers").status_code == 200


def test_an_app_that_is_not_running_is_named_and_comes_back(tmp_path: Path) -> None:
    with loopback.serving(tmp_path) as made, made.visitor() as http:
        assert http.get("/headers").status_code == 200
        made.app.process.stop()
        answer = http.get("/headers")
        assert (answer.status_code, answer.headers["x-hawse-error"]) == (502, "HAWSE-1003")
        made.app.start()
        assert http.get("/headers").status_code == 200


# --- hosts and certificates -------------------------------------------------------------------------------------------
def test_a_name_without_a_certificate_ends_in_an_alert(served: Loopback) -> None:
    with pytest.raises(ssl.SSLError, match="ALERT"):
        connect(served, "http/1.1", host="shop.elsewhere.example")


def test_a_host_that_the_certificate_does_not_cover_is_misdirected(served: Loopback) -> None:
    answer = ask(served, "GET / HTTP/1.1\r\nhost: shop.elsewhere.example\r\nconnection: close\r\n\r\n")
    assert answer.startswith("HTTP/1.1 421")
    assert "HAWSE-1012" in answer


def test_http_2_connections_are_shared_between_names_of_one_certificate(served: Loopback) -> None:
    with connect(served, "h2") as visitor:
        client = H2Client(visitor)
        own = client.wait(client.request("GET", served.host, "/headers"))
        shut = client.wait(client.request("GET", name(served, "shut"), "/"))
    assert (own[0], shut[0]) == ("200", "503")


# --- smuggling, on the whole path -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("transfer-encoding: gzip, chunked", "501"),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity", "400"),
        ("content-length: 3\r\ncontent-length: 4", "400"),
        ("content-length: +3", "400"),
        ("transfer-encoding : chunked", "400"),
        ("host: other.example", "400"),
    ],
)
def test_unclear_requests_are_refused(served: Loopback, fields: str, status: str) -> None:
    body = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = ask(served, f"POST /upload HTTP/1.1\r\nhost: {served.host}\r\n{fields}\r\n\r\n{body}")
    assert answer.startswith(f"HTTP/1.1 {status}"), answer
    assert answer.count("HTTP/1.1 ") == 1, "what followed was not taken for a request"


def test_length_and_chunks_together_reach_the_app_as_one_request(served: Loopback) -> None:
    fields = "content-length: 60\r\ntransfer-encoding: chunked"
    body = "3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = ask(served, f"POST /upload HTTP/1.1\r\nhost: {served.host}\r\n{fields}\r\n\r\n{body}")
    assert answer.count("HTTP/1.1 ") == 1
    assert json.loads(answer.partition("\r\n\r\n")[2])["sha256"] == hashlib.sha256(b"abc").hexdigest()


class H2Client:
    """As much of an HTTP/2 visitor as these tests need, on the h2 library."""

    def __init__(self, visitor: ssl.SSLSocket) -> None:
        self._socket = visitor
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self.status: dict[int, str] = {}
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self._settings = False
        self._flush()

    def request(
        self, method: str, host: str, path: str, *, extra: list[tuple[str, str]] | None = None, end: bool = True
    ) -> int:
        stream = int(self._h2.get_next_available_stream_id())
        pseudo = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path)]
        self._h2.send_headers(stream, pseudo + (extra or []), end_stream=end)
        self._flush()
        return stream

    def send(self, stream: int, data: bytes) -> None:
        self._h2.send_data(stream, data)
        self._flush()

    def wait_for_settings(self) -> None:
        self.pump(lambda: self._settings)

    def wait(self, stream: int) -> tuple[str, bytes]:
        self.pump(lambda: stream in self.ended)
        return self.status[stream], self.data.get(stream, b"")

    def pump(self, done: Callable[[], bool]) -> None:
        """Read until something is so; the socket has a timeout."""
        while not done():
            received = self._socket.recv(65536)
            assert received, "the edge closed the connection"
            for event in self._h2.receive_data(received):
                self._on(event)
            self._flush()

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self._settings = True
        elif isinstance(event, h2.events.ResponseReceived):
            assert event.stream_id is not None
            self.status[event.stream_id] = next(
                str(value) for key, value in event.headers or [] if str(key) == ":status"
            )
        elif isinstance(event, h2.events.DataReceived):
            assert event.stream_id is not None
            self.data[event.stream_id] = self.data.get(event.stream_id, b"") + bytes(event.data or b"")
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            assert event.stream_id is not None
            self.ended.add(event.stream_id)

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())
