"""Links whose network does not do what it should: relays and proxies between two cores of this process."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from hawse_api import names
from hawse_api.ir import core_pb2, frames_pb2
from hawse_tunnel import errors
from hawse_tunnel.events import EndedBy, FrameReceived, LinkDown, LinkUp
from support.cores import (
    NAME,
    Ca,
    Peer,
    ask,
    bind_shop,
    enrol_request,
    free_port,
    hello,
    link_request,
    linked,
    peer,
    publish_shop,
    serve_visitors,
)

TCP = core_pb2.DialRequest(transport=core_pb2.TRANSPORT_TCP)


@pytest.fixture
async def edge(node: Peer, ca: Ca) -> str:
    """Where an exit node takes visitors, and agents over TCP."""
    publish_shop(node, ca)
    await node.core.serve_links(f"127.0.0.1:{free_port()}", ca.issue())
    return await serve_visitors(node)


@pytest.fixture
async def app() -> AsyncIterator[tuple[str, int]]:
    """Answers with the path that it was asked for."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # not HTTP: hung up
            body = (await reader.readuntil(b"\r\n\r\n")).split()[1]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()


class Relay(asyncio.DatagramProtocol):
    """Carries UDP between one client and `target` until it is told to swallow everything."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.client: tuple[str, int] | None = None
        self.swallows = False

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr != self.target:
            self.client = addr
        to = self.client if addr == self.target else self.target
        if to is not None and not self.swallows:
            self.transport.sendto(data, to)


async def test_a_black_hole_is_left_within_five_seconds_by_both_sides(node: Peer, agent: Peer) -> None:
    ca, port = Ca(), free_port()
    await node.core.serve_links(f"127.0.0.1:{port}", ca.issue())
    loop = asyncio.get_running_loop()
    transport, relay = await loop.create_datagram_endpoint(
        lambda: Relay(("127.0.0.1", port)), local_addr=("127.0.0.1", 0)
    )
    host, relay_port = transport.get_extra_info("sockname")
    ours, theirs = await linked(node, agent, f"{host}:{relay_port}", ca)
    await asyncio.sleep(2)  # longer than a probe waits: the link is not left while the path is good
    assert not [event for event in node.seen + agent.seen if isinstance(event, LinkDown)]
    relay.swallows, since = True, time.monotonic()
    down = await node.wait(LinkDown)
    left = await agent.wait(LinkDown)
    assert time.monotonic() - since < 5.5  # 4.75 s and what a busy machine adds
    transport.close()
    assert (down.link, down.by, down.reason) == (ours.link, EndedBy.TIMEOUT, "the agent has not answered for 3 s")
    assert (left.link, left.by) == (theirs.link, EndedBy.TIMEOUT)
    assert left.reason == "nothing was heard of the exit node for 4.5 s"


def suspected(node: Peer) -> set[int]:
    return {link.link for link in node.core.snapshot().links if link.suspect}


async def test_a_link_that_its_agent_has_left_is_asked_at_once_whether_it_lives(node: Peer, ca: Ca) -> None:
    """An exit node waits for the streams of a live one, and not for those of an agent that was killed."""
    port = free_port()
    await node.core.serve_links(f"127.0.0.1:{port}", ca.issue())
    loop = asyncio.get_running_loop()
    transport, relay = await loop.create_datagram_endpoint(
        lambda: Relay(("127.0.0.1", port)), local_addr=("127.0.0.1", 0)
    )
    host, relay_port = transport.get_extra_info("sockname")
    async with peer() as alive, peer() as dead:
        links = {}
        for one, address in ((alive, f"127.0.0.1:{port}"), (dead, f"{host}:{relay_port}")):
            theirs = await one.core.dial(link_request(address, ca.issue("agent")))
            one.core.send(theirs.link, hello())
            frame = await node.wait(FrameReceived, lambda event: event.link not in links.values())
            links[one.core] = frame.link
            node.core.bind_link(frame.link, ["uid-1"])
        relay.swallows = True
        for link in links.values():
            node.core.bind_link(link, [])
        gone = links[dead.core]
        async with asyncio.timeout(10):
            while not (suspects := suspected(node)):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.02)
        assert suspects == {gone}
        assert not [event for event in node.seen if isinstance(event, LinkDown)], "that is seen before it is lost"
        transport.close()


async def test_agents_and_visitors_share_a_tcp_port(
    node: Peer, agent: Peer, ca: Ca, edge: str, app: tuple[str, int]
) -> None:
    ours, theirs = await linked(node, agent, edge, ca, TCP)
    assert (ours.transport, theirs.transport) == (core_pb2.TRANSPORT_TCP, core_pb2.TRANSPORT_TCP)
    assert (theirs.remote, theirs.dialed, ours.dialed) == (edge, True, False)
    bind_shop(agent, node, app, ours, theirs)
    answers = await asyncio.gather(*(ask(edge, ca, f"/{number}") for number in range(20)))
    assert [(status, body) for status, _, body in answers] == [(200, b"/%d" % number) for number in range(20)]
    snapshot = node.core.snapshot()
    assert [link.transport for link in snapshot.links] == [core_pb2.TRANSPORT_TCP]
    assert (snapshot.connections_total, snapshot.handshakes_failed) == (20, 0), "agents are no visitors"


async def test_over_tcp_too_the_reason_arrives_before_the_end(node: Peer, agent: Peer, ca: Ca, edge: str) -> None:
    ours, _ = await linked(node, agent, edge, ca, TCP)
    refused = frames_pb2.Refused(code="HAWSE-2003", message="the token was deleted", final=True)
    node.core.send(ours.link, frames_pb2.Frame(refused=refused))
    node.core.close_link(ours.link, 2003, "revoked")
    down = await agent.wait(LinkDown)
    assert (down.code, down.reason, down.by) == (2003, "revoked", EndedBy.PEER)
    assert [event.frame.refused for event in agent.seen if isinstance(event, FrameReceived)] == [refused]
    assert (await node.wait(LinkDown)).by is EndedBy.US


async def test_an_agent_enrols_over_tcp(node: Peer, agent: Peer, ca: Ca, edge: str) -> None:
    request = enrol_request(edge, ca.sha256())
    request.MergeFrom(TCP)
    up = await agent.core.dial(request)
    assert (up.ca, up.transport) == (ca.der, core_pb2.TRANSPORT_TCP)
    agent.core.send(up.link, hello())
    ours = await node.wait(LinkUp)
    assert (ours.alpn, ours.peer_certificate) == (names.ALPN_ENROL, b"")
    await node.wait(FrameReceived)


def stranger(ca: Ca) -> core_pb2.Identity:
    """An agent that trusts the exit node, and is not trusted by it."""
    identity = Ca().issue("agent")
    identity.roots[:] = [ca.der]
    return identity


async def test_over_tcp_too_strangers_are_told_apart(agent: Peer, ca: Ca, edge: str) -> None:
    for identity, name, error, words in [
        (Ca().issue("agent"), NAME, errors.UntrustedError, "could not prove that it is"),
        (ca.issue("agent"), "connect.elsewhere.test", errors.UntrustedError, "elsewhere"),
        (stranger(ca), NAME, errors.CertificateError, "HAWSE-2016"),
    ]:
        request = link_request(edge, identity, name)
        request.MergeFrom(TCP)
        with pytest.raises(error, match=words):
            await agent.core.dial(request)


async def test_a_port_without_an_exit_node_is_unreachable_and_one_without_agents_speaks_another_version(
    node: Peer, agent: Peer, ca: Ca, app: tuple[str, int]
) -> None:
    publish_shop(node, ca)
    visitors_only = await serve_visitors(node)
    for address, error in [
        (f"127.0.0.1:{free_port()}", errors.UnreachableError),
        (f"{app[0]}:{app[1]}", errors.UnreachableError),
        (visitors_only, errors.VersionError),
    ]:
        request = link_request(address, ca.issue("agent"))
        request.MergeFrom(TCP)
        request.timeout_ms = 500
        with pytest.raises(error):
            await agent.core.dial(request)
