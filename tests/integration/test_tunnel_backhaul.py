"""Backhaul through the core's Python face: visitors at one exit node, the agent at another, and the app behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from hawse_api import names
from hawse_api.ir import core_pb2
from hawse_tunnel import errors
from hawse_tunnel.events import LinkDown, LinkUp
from support.cores import Ca, Peer, ask, free_port, hello, link_request, linked, peer, publish_shop, serve_visitors


@pytest.fixture
async def other() -> AsyncIterator[Peer]:
    """An exit node that has the agent."""
    async with peer() as made:
        yield made


def peer_request(address: str, ca: Ca) -> core_pb2.DialRequest:
    request = link_request(address, ca.issue())
    request.alpn = names.ALPN_PEER
    return request


@contextlib.asynccontextmanager
async def app(agent: Peer, link: LinkUp) -> AsyncIterator[None]:
    """What the agent's link leads to: says which path was asked for."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(path), path))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        agent.core.attach(link.link, {"uid-1": server.sockets[0].getsockname()})
        yield


async def test_a_visitor_reaches_an_agent_of_another_exit_node(node: Peer, other: Peer, agent: Peer, ca: Ca) -> None:
    address = f"127.0.0.1:{free_port()}"
    identity = ca.issue()
    await other.core.serve_links(address, identity)
    ours, theirs = await linked(other, agent, address, ca)
    other.core.bind_link(ours.link, ["uid-1"])
    publish_shop(node, ca)
    edge = await serve_visitors(node)
    async with app(agent, theirs):
        assert (await ask(edge, ca))[1]["x-hawse-error"] == "hawse-1002"

        dialled = await node.core.dial(peer_request(address, ca))
        node.core.send(dialled.link, hello())
        accepted = await other.wait(LinkUp, lambda event: event.alpn == names.ALPN_PEER)
        assert (dialled.alpn, dialled.dialed, dialled.peer_certificate) == (names.ALPN_PEER, True, identity.chain[0])
        assert not accepted.dialed
        assert accepted.peer_certificate

        other.core.admit_peer(accepted.link)
        node.core.announce_peer(dialled.link, 1, ["uid-1"], [])
        assert (await ask(edge, ca, "/cart"))[::2] == (200, b"/cart")
        assert [(link.link, link.peer) for link in node.core.snapshot().links] == [(dialled.link, True)]
        assert not any(link.peer for link in other.core.snapshot().links)

    assert (await ask(edge, ca))[1]["x-hawse-error"] == "hawse-1003", "the agent's own word of the app"
    other.core.bind_link(ours.link, [])
    assert (await ask(edge, ca))[1]["x-hawse-error"] == "hawse-1002", "the announcement is out of date"
    other.core.bind_link(ours.link, ["uid-1"])
    node.core.announce_peer(dialled.link, 1, [], ["uid-1"])
    assert (await ask(edge, ca))[1]["x-hawse-error"] == "hawse-1002", "it was taken back"
    other.core.close_link(accepted.link, 2003, "not of this fleet")
    assert (await node.wait(LinkDown)).code == 2003


async def test_exit_nodes_reach_each_other_over_quic_alone(node: Peer, ca: Ca) -> None:
    request = peer_request("127.0.0.1:1", ca)
    request.transport = core_pb2.TRANSPORT_TCP
    with pytest.raises(errors.RejectedError, match="over QUIC"):
        await node.core.dial(request)
