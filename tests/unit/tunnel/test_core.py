"""The asyncio face against a core that is a script: events in, answers and calls out. No socket, no thread."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hawse_api import names
from hawse_api.ir import core_pb2, frames_pb2
from hawse_tunnel import core as tunnel_core
from hawse_tunnel import errors
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import CoreFailed, EndedBy, Event, FrameReceived, LinkDown, LinkUp

REQUEST = core_pb2.DialRequest(address="203.0.113.7:7443", server_name="connect.example.test", alpn=names.ALPN_LINK)


class ScriptedCore:
    """Stands in for the Rust class: remembers calls, drains what the test has put there."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.waiting: list[tuple[str, int, bytes]] = []
        self.closed = False

    def fileno(self) -> int:
        return -1

    def drain(self) -> list[tuple[str, int, bytes]]:
        drained, self.waiting = self.waiting, []
        return drained

    def close(self) -> None:
        self.closed = True

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> None:
            if self.closed:
                raise RuntimeError("the core is closed")
            self.calls.append((name, *args))

        return call

    def tickets(self, command: str) -> list[int]:
        return [call[1] for call in self.calls if call[0] == command]


class Script:
    """One TunnelCore over a ScriptedCore."""

    def __init__(self) -> None:
        self.core = TunnelCore()
        self.rust: Any = self.core._core

    def tell(self, kind: str, ident: int, payload: bytes = b"") -> None:
        self.rust.waiting.append((kind, ident, payload))
        self.core._drain()

    def link_up(self, link: int, ticket: int, alpn: str = names.ALPN_LINK) -> None:
        self.tell("link_up", link, core_pb2.LinkUp(ticket=ticket, alpn=alpn, remote="r").SerializeToString())

    def seen(self) -> list[Event]:
        return list(self.core._events)

    async def start(self, command: str, coroutine: Any) -> tuple[asyncio.Task[Any], int]:
        """Begin an awaitable command; its task and its ticket."""
        task = asyncio.ensure_future(coroutine)
        await asyncio.sleep(0)
        return task, self.rust.tickets(command)[-1]


@pytest.fixture
async def script(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Script]:
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(tunnel_core, "Core", ScriptedCore)
    monkeypatch.setattr(loop, "add_reader", lambda *_: None)
    monkeypatch.setattr(loop, "remove_reader", lambda *_: None)
    made = Script()
    yield made
    await made.core.close()


async def test_a_dial_is_answered_by_its_own_link(script: Script) -> None:
    dial, ticket = await script.start("dial", script.core.dial(REQUEST))
    script.tell("done", ticket + 100)  # nobody waits for that one
    script.link_up(7, ticket)
    up = await dial
    assert (up.link, up.dialed) == (7, True)
    assert script.seen() == [up]


async def test_who_dials_knows_the_link_before_the_reader_of_events_does(script: Script) -> None:
    """Else the link's first frame, which comes with it, would be a stranger's to whoever tells links apart."""
    order: list[str] = []
    see = order.append

    async def dials() -> None:
        see(f"dialled {(await script.core.dial(REQUEST)).link}")

    async def reads() -> None:
        async for event in script.core.events():
            see(type(event).__name__)

    reader = asyncio.ensure_future(reads())
    dial, ticket = await script.start("dial", dials())
    up = core_pb2.LinkUp(ticket=ticket, alpn=names.ALPN_PEER, remote="r").SerializeToString()
    frame = frames_pb2.Frame(refused=frames_pb2.Refused()).SerializeToString()
    script.rust.waiting.append(("link_up", 7, up))
    script.tell("frame", 7, frame)
    await dial
    for _ in range(3):
        await asyncio.sleep(0)
    assert order == ["dialled 7", "LinkUp", "FrameReceived"]
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)


async def test_a_link_that_comes_up_as_its_dial_is_cancelled_is_closed(script: Script) -> None:
    dial, ticket = await script.start("dial", script.core.dial(REQUEST))
    script.link_up(7, ticket)
    dial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dial
    assert ("close_link", 7, 0, "not wanted any more") in script.rust.calls


async def test_a_dial_that_fails_raises_what_the_report_says(script: Script) -> None:
    dial, ticket = await script.start("dial", script.core.dial(REQUEST))
    script.tell("done", ticket, b"HAWSE-2011 the exit node could not prove who it is")
    with pytest.raises(errors.UntrustedError, match="could not prove"):
        await dial


async def test_links_of_a_listener_are_not_dialed(script: Script) -> None:
    serve, ticket = await script.start("serve_links", script.core.serve_links("127.0.0.1:7443", core_pb2.Identity()))
    script.tell("done", ticket)
    await serve
    script.link_up(3, ticket)
    assert script.seen() == [LinkUp(3, names.ALPN_LINK, "r", b"", b"", False, core_pb2.TRANSPORT_UNSPECIFIED)]


async def test_a_listener_that_fails_raises_listen_error(script: Script) -> None:
    serve, ticket = await script.start("serve_edge", script.core.serve_edge("192.0.2.1:8443"))
    script.tell("done", ticket, b"cannot listen on TCP 192.0.2.1:8443: no such address")
    with pytest.raises(errors.ListenError, match="no such address"):
        await serve


async def test_a_link_whose_dial_was_cancelled_is_closed_and_never_shown(script: Script) -> None:
    dial, ticket = await script.start("dial", script.core.dial(REQUEST))
    dial.cancel()
    await asyncio.sleep(0)
    script.link_up(7, ticket)
    script.tell("frame", 7, frames_pb2.Frame(drain=frames_pb2.Drain()).SerializeToString())
    script.tell("link_down", 7, core_pb2.LinkDown(by="us").SerializeToString())
    assert [call for call in script.rust.calls if call[0] == "close_link"] == [
        ("close_link", 7, 0, "not wanted any more")
    ]
    assert script.seen() == []


async def test_frames_and_ends_become_events_in_order(script: Script) -> None:
    frame = frames_pb2.Frame(drain=frames_pb2.Drain(deadline_ms=5000))
    script.tell("frame", 7, frame.SerializeToString())
    script.tell("link_down", 7, core_pb2.LinkDown(code=2015, reason="stopping", by="peer").SerializeToString())
    assert script.seen() == [FrameReceived(7, frame), LinkDown(7, 2015, "stopping", EndedBy.PEER)]


async def test_frames_that_nobody_reads_close_their_link(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel_core, "MAX_WAITING_FRAMES", 3)
    frame = frames_pb2.Frame(drain=frames_pb2.Drain()).SerializeToString()
    for _ in range(4):
        script.tell("frame", 7, frame)
    assert [call[:3] for call in script.rust.calls] == [("close_link", 7, 1010)]
    reader = script.core.events()
    for _ in range(3):
        await anext(reader)
    script.tell("frame", 7, frame)
    assert isinstance(await anext(reader), FrameReceived)


async def test_a_core_that_dies_fails_everything_that_waits(script: Script) -> None:
    dial, _ = await script.start("dial", script.core.dial(REQUEST))
    script.tell("failed", 0, b"listener for agents: index out of bounds")
    with pytest.raises(errors.CoreClosedError, match="index out of bounds"):
        await dial
    assert script.seen() == [CoreFailed("listener for agents: index out of bounds")]


async def test_events_end_with_close_and_have_one_reader(script: Script) -> None:
    reader = script.core.events()
    waiting = asyncio.ensure_future(anext(reader, None))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="already has a reader"):
        await anext(script.core.events())
    await script.core.close()
    assert await waiting is None
    with pytest.raises(errors.CoreClosedError):
        script.core.send(7, frames_pb2.Frame())


async def test_the_core_that_never_answers_is_not_waited_for_for_ever(script: Script) -> None:
    with pytest.raises(errors.ListenError, match=r"no answer within 0.01 s"):
        await script.core.serve_edge("127.0.0.1:8443", timeout_s=0.01)
