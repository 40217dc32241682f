"""Real exit nodes carry each other's visitors: an agent at one of them, visitors at all, no operator needed."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hawse_api import names, spiffe
from hawse_api.ir import core_pb2, frames_pb2, ir_pb2
from hawse_operator.control import books, ca
from support import control
from support.control import ExitNodeProcess, Operator, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

SHOP = f"shop.{control.DOMAIN}"
TEXT = "hello from the app"
SOON_S = 20.0


class Scene:
    """A fleet with a tunnel; exit nodes come as the test wants them."""

    def __init__(self, operator: Operator, directory: Path, stack: contextlib.AsyncExitStack) -> None:
        self.operator = operator
        self.directory = directory
        self.token: books.TokenRecord = operator.add_token("laptop")
        self.tunnel: ir_pb2.Object = operator.add_tunnel("shop", self.token)
        self.app = ("", 0)
        self.nodes: list[ExitNodeProcess] = []
        self._stack = stack

    async def add_node(self, name: str, region: str, *, listed: bool = True) -> ExitNodeProcess:
        """A pod of an exit node of that region, ready."""
        made = control.exit_node(
            self.operator, self._directory_of(name), exit_node=f"{region}-1", pod=name, region=region
        )
        node = await self._stack.enter_async_context(made)
        if listed:
            self.operator.list_peer(node)
        self.nodes.append(node)
        return node

    def _directory_of(self, name: str) -> Path:
        made = self.directory / name
        made.mkdir()
        return made

    async def agent_at(self, *nodes: ExitNodeProcess) -> control.Agent:
        """An agent that serves the tunnel at these."""
        agent = await self._stack.enter_async_context(control.agent(self.operator))
        agent.use_certificate(self.token)
        for node in nodes:
            await agent.connect(node, app=self.app, slot=node.pod)
        return agent

    async def served(self, node: ExitNodeProcess) -> None:
        """Until visitors at a node get the app's answer."""

        async def is_served() -> bool:
            answer = await node.visit(SHOP)
            return answer.status_code == 200 and answer.text == TEXT

        await until(is_served, SOON_S, lambda: f"not served at {node.pod}:\n{node.log[-3000:]}")

    async def reaches(self, node: ExitNodeProcess, count: int) -> None:
        """Until a node holds links with so many peers."""

        async def has() -> bool:
            _, text = await node.ask("/metrics")
            lines = [line for line in text.splitlines() if line.startswith("hawse_peers{")]
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines) == count

        await until(has, SOON_S, lambda: f"{node.pod} does not reach {count} peers:\n{node.log[-3000:]}")


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with contextlib.AsyncExitStack() as stack:
        operator = await stack.enter_async_context(control.operator())
        made = Scene(operator, tmp_path, stack)
        made.app = await stack.enter_async_context(control.app(TEXT))
        operator.publish_fleet()
        yield made


async def test_a_visitor_is_served_where_the_agent_is_not_and_the_agent_may_move(scene: Scene) -> None:
    near = await scene.add_node("near", "eu-west")
    far = await scene.add_node("far", "us-east")
    agent = await scene.agent_at(far)
    await scene.reaches(near, 1)
    await scene.served(near)
    answer = await near.visit(SHOP)
    assert answer.headers["x-hawse-served-by"] == near.exit_node
    assert await near.metric('hawse_peer_streams_total{region="us-east"}') >= 1
    assert await far.metric("hawse_peer_streams_total") == 0, "it has carried nobody to others"
    carried = await near.metric('hawse_peer_bytes_total{direction="out"')
    assert carried >= len(TEXT)

    link, _ = await agent.connect(near, app=scene.app, slot="near")  # the agent is here too: its own link is the first
    await scene.served(near)
    before = await near.metric('hawse_peer_bytes_total{direction="out"')
    for _ in range(5):
        assert (await near.visit(SHOP)).text == TEXT
    assert await near.metric('hawse_peer_bytes_total{direction="out"') == before

    await agent.connect(far, app=scene.app, slot="other")
    agent.core.close_link(link)
    await agent.wait_down(link)
    await scene.served(near)
    await scene.served(far)


class Visits:
    """Somebody at a node who asks without a pause, over a connection that is kept, while inside."""

    def __init__(self, node: ExitNodeProcess) -> None:
        self.node = node
        self.seen: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Visits":
        self._task = asyncio.create_task(self._run())
        await self.more()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def more(self, count: int = 10) -> None:
        """Until so many more were answered."""
        wanted = self.seen.total() + count
        await until(lambda: self.seen.total() >= wanted, SOON_S, lambda: f"visits stand still at {self.seen}")

    async def _run(self) -> None:
        async with self.node.visitor(SHOP) as http:
            while True:
                answer = await http.get("/")
                self.seen[answer.headers.get("x-hawse-error", str(answer.status_code))] += 1
                await asyncio.sleep(0.005)


async def test_an_agent_that_moves_from_node_to_node_costs_visitors_of_a_third_nothing(scene: Scene) -> None:
    visited = await scene.add_node("visited", "eu-west")
    places = [await scene.add_node("first", "eu-west"), await scene.add_node("second", "us-east")]
    agent = await scene.agent_at()
    link, _ = await agent.connect(places[0], app=scene.app, slot="0")
    await scene.reaches(visited, 2)
    await scene.served(visited)
    async with Visits(visited) as visits:
        for number in range(1, 5):
            newer, _ = await agent.connect(places[number % 2], app=scene.app, slot=str(number))
            await visits.more()
            agent.core.close_link(link)
            link = newer
            await visits.more()
    assert set(visits.seen) == {"200"}, visits.seen


async def test_an_exit_node_that_is_killed_is_gone_round_and_comes_back_without_the_operator(scene: Scene) -> None:
    visited = await scene.add_node("visited", "eu-west")
    first = await scene.add_node("first", "eu-west")
    second = await scene.add_node("second", "us-east")
    await scene.agent_at(first, second)
    for node in scene.nodes:
        await scene.reaches(node, 2)
    await scene.served(visited)
    await until(lambda: all(is_kept(node) for node in scene.nodes), 10, "nothing was kept")
    await scene.operator.stop()

    await first.end(signal.SIGKILL)
    await scene.served(visited)

    await first.start()
    await first.wait_ready()
    assert "restored the kept configuration" in first.log
    for node in scene.nodes:
        await scene.reaches(node, 2)
    await visited.end(signal.SIGKILL)
    await visited.start()
    await visited.wait_ready()
    await scene.served(visited)


def is_kept(node: ExitNodeProcess) -> bool:
    path = node.directory / "state" / "configuration.json"
    return path.exists() and sum(f"peer/uid-{name}" in path.read_text() for name in ("visited", "first", "second")) == 3


async def test_a_stranger_with_a_certificate_of_the_ca_is_refused_until_it_is_listed(scene: Scene) -> None:
    has_agent = await scene.add_node("far", "us-east")
    await scene.agent_at(has_agent)
    stranger = await scene.add_node("stranger", "eu-west", listed=False)
    await until(lambda: "peer refused" in has_agent.log, SOON_S, has_agent.log)
    assert "exitnode/eu-west-1/stranger" in has_agent.log
    refused = await stranger.visit(SHOP)
    assert (refused.status_code, "HAWSE-1002" in refused.text) == (503, True)
    assert await stranger.metric("hawse_peers{") == 0

    scene.operator.list_peer(stranger)
    await scene.reaches(stranger, 1)
    await scene.served(stranger)
    scene.operator.unlist_peer(stranger)
    await until(lambda: "peer lost" in stranger.log, SOON_S, stranger.log)
    assert (await stranger.visit(SHOP)).status_code == 503


def identity_of(operator: Operator, who: spiffe.ExitNodeId | spiffe.AgentId) -> core_pb2.Identity:
    """A certificate of the fleet's CA for anybody."""
    key, authority = ec.generate_private_key(ec.SECP256R1()), operator.authority
    issue = ca.issue_exit_node if isinstance(who, spiffe.ExitNodeId) else ca.issue_agent
    leaf = issue(authority, key.public_key(), who, datetime.now(UTC))  # type: ignore[arg-type]  # of its own kind
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return core_pb2.Identity(chain=ca.chain_of(authority, leaf), key=der, roots=ca.roots_der(authority))


@pytest.mark.parametrize(
    ("who", "is_welcome"),
    [
        pytest.param(spiffe.ExitNodeId(control.DOMAIN, "eu-west-1", "friend"), True, id="a listed exit node"),
        pytest.param(spiffe.ExitNodeId(control.DOMAIN, "eu-west-1", "foe"), False, id="another pod of it"),
        pytest.param(spiffe.AgentId(control.DOMAIN, "team-a", "t1", "agent-1"), False, id="an agent"),
    ],
)
async def test_only_a_listed_exit_node_speaks_to_others(
    scene: Scene, who: spiffe.ExitNodeId | spiffe.AgentId, is_welcome: bool
) -> None:
    node = await scene.add_node("far", "us-east")
    friend = ir_pb2.Peer(uid="uid-friend", pod="friend", exit_node="eu-west-1", region="eu-west", address="127.0.0.1:9")
    friend.spiffe_id = str(spiffe.ExitNodeId(control.DOMAIN, "eu-west-1", "friend"))
    scene.operator.hub.publish(control.FLEET, ir_pb2.Object(key="peer/uid-friend", peer=friend))
    await scene.agent_at(node)
    await until(lambda: node.metric('hawse_peers_listed{region="eu-west"}'), SOON_S, "the list did not come")
    async with control.agent(scene.operator) as speaker:
        request = core_pb2.DialRequest(
            address=node.agents_address,
            server_name=f"connect.{control.DOMAIN}",
            alpn=names.ALPN_PEER,
            identity=identity_of(scene.operator, who),
        )
        link = (await speaker.core.dial(request)).link
        speaker.say(link, peer_hello=frames_pb2.PeerHello(min_version=1, max_version=1))
        if is_welcome:
            assert (await speaker.hear(link, "peer_welcome")).peer_welcome.pod == "far"
            assert list((await speaker.hear(link, "announce")).announce.add) == [scene.tunnel.tunnel.uid]
        else:
            refused = (await speaker.hear(link, "refused")).refused
            assert (refused.code, refused.final) == ("HAWSE-2016", False)
            assert (await speaker.wait_down(link)).code == 2016


async def test_a_stopping_exit_node_lets_the_visitors_of_others_finish(scene: Scene) -> None:
    """Its agent is still with it: a request that another exit node carries there ends before the process does."""
    near = await scene.add_node("near", "eu-west")
    far = await scene.add_node("far", "us-east")

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        began.set()
        await asyncio.sleep(2.0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nslow")
        await writer.drain()
        writer.close()

    began = asyncio.Event()
    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    async with server, control.agent(scene.operator) as agent:
        agent.use_certificate(scene.token)
        await agent.connect(far, app=server.sockets[0].getsockname()[:2])
        await scene.reaches(near, 1)
        visit = asyncio.ensure_future(near.visit(SHOP))
        await asyncio.wait_for(began.wait(), SOON_S)
        assert await far.end() == 0
        assert (await visit).text == "slow"
