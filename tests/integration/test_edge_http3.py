"""HTTP/3 through a real exit node with a real agent behind it, by aioquic: a client that shares no code with the edge.

The edge's own rules are tested in Rust (exitnode/core/edge/tests/http3*.rs).
"""

import asyncio
import contextlib
import hashlib
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support import http3, loopback
from support.http3 import Client, ErrorCode, FrameType, Http3Error
from support.loopback import Loopback, TunnelSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """One exit node; the second tunnel is closed, the third is nobody's."""
    tunnels = (TunnelSpec("shop"), TunnelSpec("shut", closed="Suspended by its owner."), TunnelSpec("lonely"))
    with loopback.serving(tmp_path_factory.mktemp("http3"), tunnels=tunnels) as made:
        yield made


def pseudo(client: Client, **replaced: str) -> list[tuple[str, str]]:
    """The pseudo-fields of a GET."""
    usual = {"method": "GET", "scheme": "https", "authority": client.authority, "path": "/headers"}
    return [(f":{name}", value) for name, value in {**usual, **replaced}.items()]


async def others_are_served(made: Loopback) -> None:
    async with http3.visitor(made) as other:
        assert (await other.request("GET", "/headers")).status == 200


# --- the same service -------------------------------------------------------------------------------------------------
async def test_a_visitor_follows_alt_svc_and_the_app_sees_who_asks(served: Loopback) -> None:
    place = served.nodes[0].place
    for http2 in (False, True):
        with served.visitor(http2=http2) as http:
            offered = http.get("/headers").headers["alt-svc"]
        found = re.fullmatch(r'h3=":(\d+)"; ma=86400', offered)
        assert found is not None
        assert int(found[1]) == place.https_port
    async with http3.visitor(served) as client:
        forged = [("x-forwarded-for", "6.6.6.6"), ("x-hawse-user", "root"), ("cookie", "a=1"), ("cookie", "b=2")]
        answer = await client.request("GET", "/headers", headers=forged)
    seen = json.loads(answer.text)["headers"]
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert seen["x-forwarded-host"] == seen["host"] == [client.authority]
    assert seen["cookie"] == ["a=1; b=2"]
    assert "root" not in answer.text
    assert answer.headers["x-hawse-served-by"] == place.name
    assert {"date", "content-length"} <= answer.headers.keys()
    assert "alt-svc" not in answer.headers


async def test_an_upload_arrives_whole_and_answers_stream(served: Loopback) -> None:
    body = bytes(range(256)) * (4 << 10)
    async with http3.visitor(served) as client:
        for headers in ([], [("content-length", str(len(body)))]):
            answer = await client.request("POST", "/upload", headers=headers, body=body)
            assert json.loads(answer.text)["sha256"] == hashlib.sha256(body).hexdigest()
        streamed = await client.request("GET", "/stream?chunks=40&size=65536")
        assert len(streamed.body) == 40 * 65536


async def test_a_hundred_requests_at_once_on_one_connection(served: Loopback) -> None:
    async with http3.visitor(served) as client:
        answers = await asyncio.gather(*(client.request("GET", f"/headers?n={n}") for n in range(100)))
    assert [json.loads(answer.text)["query"] for answer in answers] == [{"n": str(n)} for n in range(100)]


@pytest.mark.parametrize(
    ("label", "status", "code"),
    [("nobody", 404, "HAWSE-1001"), ("lonely", 503, "HAWSE-1002"), ("shut", 503, "HAWSE-1008")],
)
async def test_pages_of_the_edge_are_the_same(served: Loopback, label: str, status: int, code: str) -> None:
    host = f"{label}.{served.trial.fleet.domain}"
    async with http3.visitor(served, host=host) as client:
        answer = await client.request("GET", "/", headers=[("accept", "text/html")])
    with served.visitor(http2=True, host=host) as http:
        over_h2 = http.get("/", headers={"accept": "text/html"})
    assert (answer.status, answer.headers["x-hawse-error"]) == (status, code)
    assert over_h2.status_code == status
    assert answer.headers["content-type"] == over_h2.headers["content-type"] == "text/html; charset=utf-8"
    same = [
        page.replace(seen, "")
        for page, seen in (
            (answer.text, answer.headers["x-hawse-request-id"]),
            (over_h2.text, over_h2.headers["x-hawse-request-id"]),
        )
    ]
    assert same[0] == same[1]


async def test_trailers_pass_both_ways_and_a_cancel_reaches_the_app(tmp_path: Path) -> None:
    with loopback.fleet(tmp_path) as made:
        made.add_exit_node()
        async with app_of_its_own() as (target, left):
            await asyncio.to_thread(made.start_agent, "http", target)
            async with http3.visitor(made) as client:
                answer = await client.request(
                    "POST",
                    "/",
                    headers=[("te", "trailers"), ("trailer", "x-sum")],
                    body=b"hello",
                    trailers=[("x-sum", "5"), ("x-hawse-user", "root")],
                )
                assert b"hello\r\n0\r\nx-sum: 5\r\n\r\n" in answer.body
                assert b"root" not in answer.body
                assert answer.trailers == {"x-end": "fin"}
                waiting = http3.send(client, http3.head(pseudo(client)))
                with pytest.raises(TimeoutError):
                    await client.answer(waiting, timeout_s=0.5)
                assert not left.is_set()
                client.quic.stop_stream(waiting, ErrorCode.H3_REQUEST_CANCELLED)
                client.transmit()
                await asyncio.wait_for(left.wait(), 10)


@contextlib.asynccontextmanager
async def app_of_its_own() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """An app that answers a POST with what it received and a trailer, and a GET never; the event: somebody left."""
    left = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            received = await reader.readuntil(b"0\r\nx-sum: 5\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\nconnection: close\r\n\r\n"
            )
            writer.write(b"%x\r\n%s\r\n0\r\nx-end: fin\r\n\r\n" % (len(received), received))
            await writer.drain()
        else:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            left.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", left


# --- visitors that break rules ----------------------------------------------------------------------------------------
async def test_a_header_list_that_is_too_large_is_refused_before_it_is_kept(served: Loopback) -> None:
    async with http3.visitor(served) as client:
        larger = await client.request("GET", "/headers", headers=[(f"x-{n}", "~" * 10_000) for n in range(4)])
        assert (larger.status, larger.headers["x-hawse-error"]) == (431, "HAWSE-1007")
        assert (await client.request("GET", "/headers")).status == 200
        http3.send(client, http3.frame(FrameType.HEADERS, b"", declared=1 << 30), end=False)
        assert await asyncio.wait_for(client.ended, 10) == ErrorCode.H3_EXCESSIVE_LOAD
    await others_are_served(served)


async def test_wrong_pseudo_fields_are_malformed(served: Loopback) -> None:
    async with http3.visitor(served) as client:
        usual = pseudo(client)
        for wrong in (
            [*usual, (":path", "/other")],
            [*usual[:3], ("x-a", "1"), usual[3]],
            [*usual, (":authority", client.authority)],
            [*usual, (":status", "200")],
            usual[:3],
            usual[1:],
            [*usual, ("host", "another.example")],
        ):
            stream = http3.send(client, http3.head(wrong))
            with pytest.raises(Http3Error) as refused:
                await client.answer(stream)
            assert refused.value.code == ErrorCode.H3_MESSAGE_ERROR, wrong
        assert (await client.request("GET", "/headers")).status == 200


async def test_connection_fields_and_bodies_of_another_length_get_a_page(served: Loopback) -> None:
    async with http3.visitor(served) as client:
        for headers, body in (
            ([("connection", "close")], b""),
            ([("transfer-encoding", "chunked")], b"x"),
            ([("te", "gzip")], b""),
            ([("content-length", "3")], b"hello"),
            ([("content-length", "9")], b"hello"),
        ):
            answer = await client.request("POST", "/upload", headers=headers, body=body)
            assert (answer.status, answer.headers["x-hawse-error"]) == (400, "HAWSE-1006"), headers


async def test_a_websocket_is_refused_with_the_reason(served: Loopback) -> None:
    async with http3.visitor(served) as client:
        stream = http3.send(client, http3.head([*pseudo(client, method="CONNECT"), (":protocol", "websocket")]))
        answer = await client.answer(stream)
    assert (answer.status, answer.headers["x-hawse-error"]) == (405, "HAWSE-1015")
    assert "HTTP/1.1 and HTTP/2" in answer.text


def test_a_taken_udp_port_is_named(tmp_path: Path) -> None:
    with loopback.fleet(tmp_path) as made:
        node = made.add_exit_node(start=False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind((node.place.address, node.place.https_port))
            node.process.start()
            assert node.process.wait() != 0
    assert f"{node.place.address}:{node.place.https_port} for visitors with HTTP/3 (UDP)" in node.process.err
