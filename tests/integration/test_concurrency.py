"""maxConcurrent on the real path: visitors from several addresses, exit node, agent, and an app that sees who is there.

The queue itself is tested in Rust (exitnode/core/edge/src/fair_queue); here it is that apps get what it promises.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.client import connect as websocket
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from support import loopback
from support.loopback import Loopback, TunnelSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MOST = 2
PATIENCE_S = 20.0


@dataclass
class Counting:
    """An app that notes who came, and answers when it is told to."""

    running: int = 0
    peak: int = 0
    came: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.running += 1
                self.peak = max(self.peak, self.running)
                self.came.append(re.findall(r"x-forwarded-for: (\S+)", head)[0])
                self.arrived.set()
                await self.answers.acquire()
                self.running -= 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
        writer.close()

    async def until(self, count: int) -> None:
        """Until so many have come."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.came) < count:
                self.arrived.clear()
                await self.arrived.wait()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """An exit node whose tunnel takes two requests at once; each test brings its app."""
    with loopback.fleet(tmp_path_factory.mktemp("concurrency")) as made:
        made.trial.tunnels = (TunnelSpec("shop", max_concurrent=MOST),)
        made.add_exit_node()
        yield made


@contextlib.asynccontextmanager
async def serving(node: Loopback, app: asyncio.Server) -> AsyncIterator[None]:
    """An agent that leads to `app`, which is closed at the end."""
    host, port = app.sockets[0].getsockname()
    agent = await asyncio.to_thread(node.start_agent, "http", f"{host}:{port}")
    try:
        yield
    finally:
        await asyncio.to_thread(agent.stop)
        app.close()


@pytest.fixture
async def app(node: Loopback) -> AsyncIterator[Counting]:
    made = Counting()
    async with serving(node, await asyncio.start_server(made.serve, "127.0.0.1", 0)):
        yield made


async def ask(node: Loopback, source: str = "127.0.0.1") -> int:
    """One request on a connection of its own; its status."""
    place, context = node.nodes[0].place, ssl.create_default_context(cafile=str(node.ca_file))
    reader, writer = await asyncio.open_connection(
        place.address, place.https_port, ssl=context, server_hostname=node.host, local_addr=(source, 0)
    )
    try:
        writer.write(f"GET / HTTP/1.1\r\nhost: {node.host}\r\nconnection: close\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE_S):
            return int((await reader.read()).split()[1])
    finally:
        writer.transport.abort()


async def queued(node: Loopback, matches: Callable[[int], bool]) -> None:
    """Until the exit node's metrics say that so many wait."""
    async with asyncio.timeout(PATIENCE_S):
        while not matches(await asyncio.to_thread(node.metric, "tunnel_requests_queued")):  # noqa: ASYNC110 - a metric is asked for
            await asyncio.sleep(0.02)


async def test_the_app_never_sees_more_than_it_may_and_all_are_served(node: Loopback, app: Counting) -> None:
    async with asyncio.TaskGroup() as group:
        visits = [group.create_task(ask(node, f"127.0.1.{1 + number % 5}")) for number in range(20)]
        await queued(node, lambda count: count == 20 - MOST)
        await app.until(MOST)
        for _ in visits:
            app.answers.release()
    assert [visit.result() for visit in visits] == [200] * 20
    assert (app.peak, app.running) == (MOST, 0)
    await queued(node, lambda count: count == 0)


async def test_an_address_with_many_requests_does_not_starve_another(node: Loopback, app: Counting) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(ask(node, "127.0.2.1"))
        await queued(node, lambda count: count == 30 - MOST)
        for _ in range(3):
            group.create_task(ask(node, "127.0.2.2"))
        await queued(node, lambda count: count == 33 - MOST)
        await app.until(MOST)
        for _ in range(33):
            app.answers.release()
    # The greedy one's turn, then the other's, by turns.
    assert [at for at, source in enumerate(app.came) if source == "127.0.2.2"] == [MOST + 1, MOST + 3, MOST + 5]


async def test_a_visitor_that_leaves_gives_its_turn_up(node: Loopback, app: Counting) -> None:
    async with asyncio.TaskGroup() as group:
        kept = [group.create_task(ask(node, "127.0.3.1")) for _ in range(MOST)]
        await app.until(MOST)
        leaves = group.create_task(ask(node, "127.0.3.2"))
        await queued(node, lambda count: count == 1)
        leaves.cancel()
        await queued(node, lambda count: count == 0)
        for _ in kept:
            app.answers.release()
    assert "127.0.3.2" not in app.came


async def test_websockets_hold_their_places_while_they_live(node: Loopback) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    place, context = node.nodes[0].place, ssl.create_default_context(cafile=str(node.ca_file))

    def visit() -> websocket:
        return websocket(
            f"wss://{node.host}/", host=place.address, port=place.https_port, ssl=context, open_timeout=PATIENCE_S
        )

    server = await serve_websockets(echo, "127.0.0.1", 0)
    async with serving(node, server.server):
        first, second = await visit(), await visit()
        third = asyncio.ensure_future(visit().__aenter__())
        await queued(node, lambda count: count == 1)
        await second.send("still here")
        assert await second.recv() == "still here"
        assert not third.done()
        await first.close()
        await (await third).close()
        await second.close()
