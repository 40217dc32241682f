"""The shell of backhaul over a core that is a script: which calls follow from links and frames of peers."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from hawse_api import names
from hawse_api.ir import core_pb2, frames_pb2
from hawse_exitnode import keys
from hawse_exitnode.backhaul import Backhaul
from hawse_exitnode.dispatcher import Dispatcher
from hawse_exitnode.node import Listeners, Node
from hawse_exitnode.peer_state import PeersListed, Phase, ServingChanged
from hawse_exitnode.session_state import Link, State
from hawse_exitnode.session_state import Phase as SessionPhase
from hawse_tunnel import errors
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import EndedBy, Event, FrameReceived, LinkDown, LinkUp
from support.peer_script import DOMAIN, FAR, NODE, SELF

IDENTITY = keys.NodeIdentity(
    "default", DOMAIN, SELF.exit_node, SELF.region, SELF.pod, (b"chain",), b"key", (b"root",), *[datetime.now(UTC)] * 2
)

NOBODY = errors.UnreachableError("nobody answers")


class Core:
    """Answers dials, remembers calls, shows events."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.waiting: asyncio.Queue[Event] = asyncio.Queue()
        self.dials: asyncio.Queue[core_pb2.DialRequest] = asyncio.Queue()
        self.answers: asyncio.Queue[LinkUp | errors.TunnelError] = asyncio.Queue()

    async def dial(self, request: core_pb2.DialRequest) -> LinkUp:
        self.dials.put_nowait(request)
        answer = await self.answers.get()
        if isinstance(answer, errors.TunnelError):
            raise answer
        return answer

    async def events(self) -> AsyncIterator[Event]:
        while True:
            yield await self.waiting.get()
            self.waiting.task_done()

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.calls.append((name, *args))


class Scene:
    """A dispatcher that reads, and a backhaul that runs."""

    def __init__(self) -> None:
        self.core = Core()
        data_plane = cast("TunnelCore", self.core)
        self.backhaul = Backhaul(data_plane, NODE)
        self.dispatcher = Dispatcher(data_plane, State(NODE), lambda _: False, self.backhaul)

    async def see(self, *events: Event) -> None:
        """The core tells; returns when all of it was taken."""
        for event in events:
            self.core.waiting.put_nowait(event)
        await asyncio.wait_for(self.core.waiting.join(), 5)

    async def dialled(self, answer: LinkUp | errors.TunnelError) -> core_pb2.DialRequest:
        """The next dial, once this answer was taken."""
        self.core.answers.put_nowait(answer)
        request = await asyncio.wait_for(self.core.dials.get(), 5)
        for _ in range(3):
            await asyncio.sleep(0)
        return request

    def named(self, *calls: str) -> list[tuple[Any, ...]]:
        return [call for call in self.core.calls if call[0] in calls]


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(keys, "exit_node_of", lambda certificate: certificate.decode())
    made = Scene()
    made.backhaul.use_identity(IDENTITY, NODE)
    made.backhaul.feed(PeersListed((FAR, SELF)))
    tasks = [asyncio.ensure_future(made.dispatcher.run()), asyncio.ensure_future(made.backhaul.run())]
    yield made
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def link(number: int, *, dialed: bool, who: str = FAR.spiffe_id) -> LinkUp:
    return LinkUp(number, names.ALPN_PEER, "10.0.0.1:7443", who.encode(), b"", dialed, core_pb2.TRANSPORT_QUIC)


async def test_a_peer_is_dialled_with_our_certificate_at_its_own_address(scene: Scene) -> None:
    request = await scene.dialled(link(7, dialed=True))
    assert (request.address, request.server_name) == (FAR.address, f"connect.{DOMAIN}")
    assert (request.alpn, request.identity.key, request.transport) == ("hawse-peer/1", b"key", core_pb2.TRANSPORT_QUIC)
    assert scene.backhaul.state.links[7].phase is Phase.AWAIT_WELCOME
    await scene.see(
        link(7, dialed=True),
        FrameReceived(7, frames_pb2.Frame(peer_welcome=frames_pb2.PeerWelcome(version=1))),
        FrameReceived(7, frames_pb2.Frame(announce=frames_pb2.Announce(reset=True, add=["u1"]))),
    )
    assert scene.named("announce_peer") == [("announce_peer", 7, 1, ("u1",), ())]
    await scene.see(LinkDown(7, 0, "gone", EndedBy.TIMEOUT))
    assert not scene.backhaul.knows(7)


async def test_a_dial_that_fails_is_remembered_for_the_next(scene: Scene) -> None:
    await scene.dialled(NOBODY)
    dial = scene.backhaul.state.dials[FAR.spiffe_id]
    assert (dial.failures, dial.due is not None) == (1, True)


async def test_a_renewed_certificate_is_that_of_later_dials(scene: Scene) -> None:
    assert (await scene.dialled(NOBODY)).identity.key == b"key"
    renewed = keys.NodeIdentity(
        "default", DOMAIN, SELF.exit_node, SELF.region, SELF.pod, (b"c",), b"new", (b"r",), *[datetime.now(UTC)] * 2
    )
    scene.backhaul.use_identity(renewed, NODE)
    scene.backhaul.feed(PeersListed((SELF,)))
    scene.backhaul.feed(PeersListed((FAR,)))
    assert (await scene.dialled(NOBODY)).identity.key == b"new"


async def test_a_listed_peer_is_let_in_and_an_agent_is_not(scene: Scene) -> None:
    hello = frames_pb2.Frame(peer_hello=frames_pb2.PeerHello(min_version=1, max_version=1))
    await scene.see(link(1, dialed=False), FrameReceived(1, hello), link(2, dialed=False, who=""))
    assert scene.named("admit_peer") == [("admit_peer", 1)]
    assert scene.backhaul.is_accepted(1)
    assert scene.named("close_link") == [("close_link", 2, 2016, "HAWSE-2016")]


async def test_before_it_runs_nobody_is_dialled_or_let_in() -> None:
    made = Scene()
    made.backhaul.use_identity(IDENTITY, NODE)
    made.backhaul.feed(PeersListed((FAR,)))
    made.backhaul.link_up(link(1, dialed=False))
    assert [call[0] for call in made.core.calls] == ["send", "close_link"]
    assert made.core.dials.empty()


async def test_links_of_agents_are_still_the_session_tables(scene: Scene) -> None:
    await scene.see(LinkUp(3, names.ALPN_LINK, "r", b"", b"", False, core_pb2.TRANSPORT_QUIC))
    assert 3 in scene.dispatcher.state.links
    assert not scene.backhaul.knows(3)


async def test_the_log_has_each_peer_that_comes_and_goes(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await scene.dialled(link(7, dialed=True))
    welcome = frames_pb2.Frame(peer_welcome=frames_pb2.PeerWelcome(version=1, node_version="0.1.0"))
    await scene.see(FrameReceived(7, welcome), LinkDown(7, 0, "silent", EndedBy.TIMEOUT))
    told = [(one.message, one.__dict__["peer"], one.__dict__.get("why", "")) for one in caplog.records]
    assert told == [("peer reached", FAR.pod, ""), ("peer lost", FAR.pod, "silent (by timeout)")]


async def test_the_first_change_is_told_at_once_and_a_storm_is_gathered() -> None:
    core = cast("TunnelCore", Core())
    node = Node(core, Listeners("127.0.0.1", 1, 2, 3), NODE, relay=lambda _: False, static=False)
    told: list[frozenset[str]] = []

    last = asyncio.Event()

    def remember(event: ServingChanged) -> None:
        told.append(event.tunnel_uids)
        if event.tunnel_uids == {"u299"}:
            last.set()

    node.backhaul.feed = remember  # type: ignore[assignment, method-assign]
    announcing = asyncio.ensure_future(node.run_announcements())

    def serve(*uids: str) -> None:
        agent = Link(1, SessionPhase.ACTIVE, "r", None, registered=uids)
        node.dispatcher.state = dataclasses.replace(node.dispatcher.state, links={1: agent})
        node.dispatcher.served.set()

    await asyncio.sleep(0)
    serve("u0")
    for _ in range(3):  # no time passes
        await asyncio.sleep(0)
    assert told == [{"u0"}]
    for number in range(300):
        serve(f"u{number}")
        await asyncio.sleep(0)
    await asyncio.wait_for(last.wait(), 5)
    assert len(told) < 30
    announcing.cancel()
    await asyncio.gather(announcing, return_exceptions=True)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(LinkDown(3, 0, "gone", EndedBy.TIMEOUT), id="an agent is gone"),
        pytest.param(FrameReceived(3, frames_pb2.Frame(register=frames_pb2.Register())), id="an agent registers"),
    ],
)
async def test_what_agents_register_and_leave_is_to_be_told(scene: Scene, event: Event) -> None:
    agent = Link(3, SessionPhase.ACTIVE, "r", None, registered=("u1",))
    scene.dispatcher.state = dataclasses.replace(scene.dispatcher.state, links={3: agent})
    await scene.see(event)
    assert scene.dispatcher.served.is_set()
