"""Links through an HTTP proxy by CONNECT: a small proxy in the test's process, with and without credentials."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from hawse_api.ir import core_pb2
from hawse_tunnel import errors
from support.cores import (
    Ca,
    Peer,
    ask,
    bind_shop,
    free_port,
    link_request,
    linked,
    publish_shop,
    serve_visitors,
)

SECRET = "Basic " + base64.b64encode(b"ada:correct horse").decode()


@dataclass
class ConnectProxy:
    """Understands CONNECT and nothing else; `answer` replaces what it would say."""

    wants: str = ""
    answer: bytes = b""
    asked: list[str] = field(default_factory=list)
    address: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target, fields = head.split()[1], dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            self.asked.append(target)
            if self.answer:
                writer.write(self.answer)
            elif fields.get("Proxy-Authorization", "") != self.wants:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n")
            else:
                await self.splice(target, reader, writer)
        writer.close()

    async def splice(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = target.split(":")
        there = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.TaskGroup() as group:
            group.create_task(copy(reader, there[1]))
            group.create_task(copy(there[0], writer))

    def request(self, authorization: str = "") -> core_pb2.DialRequest:
        proxy = core_pb2.Proxy(address=self.address, authorization=authorization)
        return core_pb2.DialRequest(transport=core_pb2.TRANSPORT_TCP, proxy=proxy)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[ConnectProxy]:
    made = ConnectProxy()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        made.address = f"{host}:{port}"
        yield made


@pytest.fixture
async def edge(node: Peer, ca: Ca) -> str:
    """Where an exit node takes visitors, and agents over TCP."""
    publish_shop(node, ca)
    await node.core.serve_links(f"127.0.0.1:{free_port()}", ca.issue())
    return await serve_visitors(node)


@pytest.mark.parametrize("credentials", ["", SECRET], ids=["open", "with credentials"])
async def test_visitors_are_served_through_a_proxy(
    node: Peer, agent: Peer, ca: Ca, edge: str, proxy: ConnectProxy, credentials: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + bytes(300_000))
        await writer.drain()
        writer.close()

    proxy.wants = credentials
    ours, theirs = await linked(node, agent, edge, ca, proxy.request(credentials))
    assert (theirs.remote, proxy.asked) == (edge, [edge])
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as app:
        bind_shop(agent, node, app.sockets[0].getsockname(), ours, theirs)
        status, _, body = await ask(edge, ca)
        assert (status, len(body)) == (200, 300_000)
    agent.core.close_link(theirs.link, 0, "bye")


@pytest.mark.parametrize(
    ("authorization", "answer", "words"),
    [
        ("", b"", r"it wants credentials, and there are none \(407\)"),
        ("Basic wrong-pass", b"", r"it does not accept the credentials \(407\)"),
        (SECRET, b"HTTP/1.1 403 Forbidden\r\n\r\n", "it answered 403 to CONNECT"),
        (SECRET, b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "what it answered is not HTTP"),
        (SECRET, b"HTTP/1.1 200 OK\r\nx: " + b"x" * 9000, "its answer is too long"),
        (SECRET, b"HTTP/1.1 200", "it hung up"),
    ],
    ids=["no credentials", "wrong credentials", "forbidden", "no proxy", "endless", "cut"],
)
async def test_a_proxy_that_refuses_is_named_with_its_answer_and_without_the_credentials(
    agent: Peer, ca: Ca, proxy: ConnectProxy, authorization: str, answer: bytes, words: str
) -> None:
    proxy.wants, proxy.answer = SECRET, answer
    request = link_request("203.0.113.7:443", ca.issue("agent"))
    request.MergeFrom(proxy.request(authorization))
    with pytest.raises(errors.UnreachableError, match=words) as caught:
        await agent.core.dial(request)
    assert proxy.address in caught.value.message
    assert "Basic" not in caught.value.message


async def test_a_proxy_that_says_nothing_costs_the_dial_s_own_time(agent: Peer, ca: Ca) -> None:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as silent:
        host, port = silent.sockets[0].getsockname()
        request = link_request("203.0.113.7:443", ca.issue("agent"))
        request.MergeFrom(ConnectProxy(address=f"{host}:{port}").request())
        request.timeout_ms = 300
        words = rf"no answer .* \(TCP, through the proxy {host}:{port}\) within 0.3 s"
        with pytest.raises(errors.UnreachableError, match=words):
            await agent.core.dial(request)


@pytest.mark.parametrize(
    "request_of",
    [
        core_pb2.DialRequest(proxy=core_pb2.Proxy(address="p:1")),
        core_pb2.DialRequest(transport=core_pb2.TRANSPORT_TCP, proxy=core_pb2.Proxy()),
        core_pb2.DialRequest(
            transport=core_pb2.TRANSPORT_TCP, proxy=core_pb2.Proxy(address="p:1", authorization="a\r\nb: c")
        ),
    ],
    ids=["over QUIC", "no address", "a second header"],
)
async def test_a_proxy_that_cannot_work_is_rejected(agent: Peer, ca: Ca, request_of: core_pb2.DialRequest) -> None:
    request = link_request("203.0.113.7:443", ca.issue("agent"))
    request.MergeFrom(request_of)
    with pytest.raises(errors.RejectedError):
        await agent.core.dial(request)
