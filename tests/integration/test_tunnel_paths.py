"""Links whose network does not do what it should: relays and proxies between two cores of this process."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from tests.support.cores import Ca, Peer, free_port, linked, peer

from hawse_tunnel.events import EndedBy, LinkDown


@pytest.fixture
async def node() -> AsyncIterator[Peer]:
    async with peer() as made:
        yield made


@pytest.fixture
async def agent() -> AsyncIterator[Peer]:
    async with peer() as made:
        yield made


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
