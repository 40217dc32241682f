"""Asyncio face of the Rust data plane: commands become awaitables, events become frozen values.

The core's descriptor is watched with `add_reader`; one `drain()` takes the whole batch, so that no thread of the core
ever waits for the interpreter. This module decides nothing: whom to dial, admit or refuse is with its two users,
hawse_exitnode and hawse_agent. It is the only importer of `_core`.

    async with TunnelCore() as core:
        await core.serve_links("127.0.0.1:7443", identity)
        async for event in core.events():
            match event: ...
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from google.protobuf.message import DecodeError

from hawse_api import names
from hawse_api.ir import core_pb2, frames_pb2, ir_pb2
from hawse_tunnel import errors
from hawse_tunnel._core import Core
from hawse_tunnel.events import CoreFailed, EndedBy, Event, FrameReceived, LinkDown, LinkUp, TargetsTurned

MAX_WAITING_FRAMES = 4096
"""Frames that may wait for the reader of events(); the link of the next one is closed (HAWSE-1010)."""
_CLOSE_TIMEOUT_S = 10.0  # node.rs: about 3 s
_DIAL_TIMEOUT_S = 20.0  # above the core's own default (10 s), which tells more when it strikes
_MARGIN_S = 5.0
_P = ParamSpec("_P")
_R = TypeVar("_R")
_BAD_FRAME = names.BY_NAME["BAD_FRAME"]
_OVERLOADED = names.BY_NAME["OVERLOADED"]


class TunnelCore:
    """One Rust core (a thread of its own) and its asyncio face; made and used on one running loop.

    What is not awaitable returns at once. Methods raise CoreClosedError after close(), RejectedError for an argument
    that the core cannot use.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._core = Core()
        self._tickets = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[LinkUp | str | None]] = {}
        self._listening: set[int] = set()  # tickets of serve_links: their links are not dialed
        self._unseen: set[int] = set()  # links whose dial() was cancelled: closed, and never shown
        self._events: deque[Event] = deque()
        self._frames_waiting = 0
        self._arrived = asyncio.Event()
        self._reading = False
        self._closed = False
        self._loop.add_reader(self._core.fileno(), self._drain)

    async def __aenter__(self) -> Self:
        """Return itself; the core runs since it was made."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    # --- exit node -------------------------------------------------------------------------------------------------
    def bind_ports_at(self, address: str) -> None:
        """Where ports of TCP tunnels are bound from now on, as part of apply(); without it such tunnels are refused.

        Raises:
            RejectedError: `address` is not an IP address.
        """
        self._call(self._core.bind_ports_at, address)

    async def serve_edge(
        self, bind: str, options: core_pb2.EdgeOptions | None = None, *, timeout_s: float = 10.0
    ) -> None:
        """Listen for visitors on `bind` ("127.0.0.1:8443"); returns once it listens.

        Raises:
            ListenError: the address is taken or not ours.
        """
        payload = (options or core_pb2.EdgeOptions()).SerializeToString()
        await self._answer(lambda ticket: self._core.serve_edge(ticket, bind, payload), timeout_s, errors.ListenError)

    async def drain_edge(self, grace_s: float) -> None:
        """Stop accepting visitors and let their requests end; returns when the last has, at the latest after `grace_s`.

        Listeners of visitors are closed at once, for good. Connections are told to finish (`Connection: close`,
        GOAWAY), and what still runs when the grace is over is cut off. Links stay. Cancelling it stops only the
        waiting.

        Raises:
            CoreClosedError: the core ended meanwhile.
        """
        grace_ms = round(grace_s * 1000)
        await self._answer(
            lambda ticket: self._core.drain_edge(ticket, grace_ms), grace_s + _MARGIN_S, errors.CoreClosedError
        )

    async def serve_links(self, bind: str, identity: core_pb2.Identity, *, timeout_s: float = 10.0) -> None:
        """Listen for agents on `bind` (UDP); links come as LinkUp events with `dialed` False.

        From now on the listeners of serve_edge() take agents too, over TCP (told apart by ALPN).

        Raises:
            ListenError: the address is taken or not ours.
            RejectedError: the identity is not usable.
        """
        payload = identity.SerializeToString()

        def listen(ticket: int) -> None:
            self._listening.add(ticket)
            self._core.serve_links(ticket, bind, payload)

        await self._answer(listen, timeout_s, errors.ListenError)

    def rotate_identity(self, identity: core_pb2.Identity) -> None:
        """Certificate and roots of handshakes from now on; links stay.

        Raises:
            RejectedError: the identity is not usable; the old one stays.
        """
        self._call(self._core.rotate_identity, identity.SerializeToString())

    def bind_link(self, link: int, tunnel_uids: Iterable[str]) -> None:
        """Visitors of these tunnels go to this agent's link from now on; replaces the link's last list.

        Links that are unknown, or not an agent's, are ignored.
        """
        self._call(self._core.bind_link, link, list(tunnel_uids))

    def admit_peer(self, link: int) -> None:
        """The exit node that dialled this link (ALPN_PEER) is who it should be: it may reach our agents from now on.

        Before it can open no stream. Links that are unknown, or not dialled to us by a peer, are ignored.
        """
        self._call(self._core.admit_peer, link)

    def announce_peer(self, link: int, distance: int, add: Iterable[str], remove: Iterable[str]) -> None:
        """The peer that we dialled (ALPN_PEER) reaches these tunnels too from now on, and those no longer.

        `remove` comes first. `distance`: 0 own region, 1 another. Tunnels past 20,000 of a link are ignored, and so are
        links that are unknown, or not dialled by us to a peer. What was announced goes with the link.
        """
        self._call(self._core.announce_peer, link, distance, list(add), list(remove))

    def apply(self, obj: ir_pb2.Object) -> str:
        """Upsert of an object: "" or why it was refused (the last good form then stays)."""
        return self._call(self._core.apply, obj.SerializeToString())

    def remove(self, key: str) -> None:
        """Remove an object by its key ("tunnel/<uid>")."""
        self._call(self._core.remove, key)

    def put_certificate(self, id: str, chain_pem: bytes, key_pem: bytes) -> str:  # noqa: A002 - the contract's word
        """Install or replace a certificate that Fleet.certificate_id may name: "" or why it was refused."""
        return self._call(self._core.put_certificate, id, chain_pem, key_pem)

    def set_stale(self, says: str) -> None:
        """From now on visitors reach no agent and are told this (HAWSE-1017); "": they do again."""
        self._call(self._core.set_stale, says)

    def put_material(self, id: str, data: bytes) -> str:  # noqa: A002 - the contract's word
        """Install or replace secret bytes that are no certificate: "" or why what names them can't be enforced."""
        return self._call(self._core.put_material, id, data)

    # --- agent -----------------------------------------------------------------------------------------------------
    async def dial(self, request: core_pb2.DialRequest) -> LinkUp:
        """Connect to an exit node and return once the node has accepted us: one attempt, over one transport.

        The same LinkUp also comes through events(), before the link's frames: use one of the two. Who awaits the dial
        goes on before events() yields it. Cancelling it closes a link that comes up later, unseen. An exit node dials
        another one with ALPN_PEER, over QUIC.

        Raises:
            UnreachableError, UntrustedError, VersionError, CertificateError: see errors.py.
            RejectedError: the request's identity or hashes are not usable.
        """
        payload = request.SerializeToString()
        limit_s = request.timeout_ms / 1000 + _MARGIN_S if request.timeout_ms else _DIAL_TIMEOUT_S
        up = await self._answer(lambda ticket: self._core.dial(ticket, payload), limit_s, errors.DialError)
        if up is None:  # the core answers a dial with link_up or an error, never with an empty done
            raise errors.CoreClosedError("the core ended while it was dialling")
        return up

    def attach(self, link: int, upstreams: Mapping[str, tuple[str, int]]) -> None:
        """Where the app of each tunnel listens, tunnel uid -> (host, port); replaces the link's last list."""
        made = [core_pb2.Upstream(tunnel_uid=uid, host=host, port=port) for uid, (host, port) in upstreams.items()]
        self._call(self._core.attach, link, core_pb2.Attach(upstreams=made).SerializeToString())

    # --- both ------------------------------------------------------------------------------------------------------
    def send(self, link: int, frame: frames_pb2.Frame) -> None:
        """Queue a frame on the link's control stream; a full queue closes the link. Unknown links are ignored."""
        self._call(self._core.send, link, frame.SerializeToString())

    def close_link(self, link: int, code: int = 0, reason: str = "") -> None:
        """Close after the frames queued so far were sent; LinkDown follows. `code` is a HAWSE number or 0."""
        self._call(self._core.close_link, link, code, reason)

    def snapshot(self) -> core_pb2.Snapshot:
        """Counters since the start, and gauges."""
        return core_pb2.Snapshot.FromString(self._call(self._core.snapshot))

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in order, until close(). One reader at a time.

        The reader must not fall behind for long: see MAX_WAITING_FRAMES.
        """
        if self._reading:
            raise RuntimeError("events() already has a reader")
        self._reading = True
        try:
            while True:
                while self._events:
                    event = self._events.popleft()
                    self._frames_waiting -= isinstance(event, FrameReceived)
                    yield event
                if self._closed:
                    return
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            self._reading = False

    async def close(self) -> None:
        """Cut visitors off, close listeners and links, join the core's thread, end events(). Idempotent.

        Who wants visitors' requests to end calls drain_edge() before.
        """
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._core.fileno())
        await asyncio.wait_for(asyncio.to_thread(self._core.close), _CLOSE_TIMEOUT_S)
        self._arrived.set()
        self._fail_waiting("the core was closed")

    # --- inside ----------------------------------------------------------------------------------------------------
    def _call(self, method: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the core, its two exceptions translated."""
        if self._closed:
            raise errors.CoreClosedError("the core is closed")
        try:
            return method(*args, **kwargs)
        except RuntimeError as exc:
            raise errors.CoreClosedError(str(exc)) from exc
        except ValueError as exc:
            raise errors.RejectedError(str(exc)) from exc

    async def _answer(
        self, command: Callable[[int], None], timeout_s: float, otherwise: type[errors.TunnelError]
    ) -> LinkUp | None:
        """Give a command a ticket and wait for its answer; an error without a class of its own becomes `otherwise`."""
        ticket = next(self._tickets)
        answer: asyncio.Future[LinkUp | str | None] = self._loop.create_future()
        self._waiting[ticket] = answer
        try:
            self._call(command, ticket)
            # Not wait_for: Python 3.11's wakes the caller a step later, when events() has shown the link already.
            async with asyncio.timeout(timeout_s):
                outcome = await answer
        except TimeoutError as exc:
            raise otherwise(f"the core gave no answer within {timeout_s:g} s") from exc
        except asyncio.CancelledError:
            self._close_unwanted(answer)
            raise
        finally:
            self._waiting.pop(ticket, None)
        if isinstance(outcome, str):
            raise errors.from_report(outcome, otherwise)
        return outcome

    def _close_unwanted(self, answer: "asyncio.Future[LinkUp | str | None]") -> None:
        """A link that came up in the moment in which its dial was cancelled."""
        if answer.done() and not answer.cancelled() and answer.exception() is None:
            outcome = answer.result()
            if isinstance(outcome, LinkUp):
                self._core.close_link(outcome.link, 0, "not wanted any more")

    def _drain(self) -> None:
        for kind, ident, payload in self._core.drain():
            match kind:
                case "done":
                    self._settle(ident, payload.decode() or None)
                case "link_up":
                    self._on_link_up(ident, core_pb2.LinkUp.FromString(payload))
                case "frame":
                    self._on_frame(ident, payload)
                case "link_down":
                    self._on_link_down(ident, core_pb2.LinkDown.FromString(payload))
                case "targets":
                    self._emit(TargetsTurned(core_pb2.Targets.FromString(payload)))
                case _:
                    self._on_failed(payload.decode())

    def _settle(self, ticket: int, outcome: LinkUp | str | None) -> bool:
        """Answer the waiter of a ticket, if it still waits."""
        answer = self._waiting.pop(ticket, None)
        if answer is None or answer.done():
            return False
        answer.set_result(outcome)
        return True

    def _on_link_up(self, link: int, message: core_pb2.LinkUp) -> None:
        dialed = message.ticket not in self._listening
        proved = message.peer_certificate, message.ca
        up = LinkUp(link, message.alpn, message.remote, *proved, dialed, message.transport)
        if dialed and not self._settle(message.ticket, up):
            self._unseen.add(link)
            self._core.close_link(link, 0, "not wanted any more")
            return
        self._emit(up)

    def _on_frame(self, link: int, payload: bytes) -> None:
        if link in self._unseen:
            return
        if self._frames_waiting >= MAX_WAITING_FRAMES:
            self._core.close_link(link, _OVERLOADED.number, "too many frames wait for their reader")
            return
        try:
            frame = frames_pb2.Frame.FromString(payload)
        except DecodeError:  # the core has parsed it already: only a difference between two parsers ends here
            self._core.close_link(link, _BAD_FRAME.number, _BAD_FRAME.title)
            return
        self._frames_waiting += 1
        self._emit(FrameReceived(link, frame))

    def _on_link_down(self, link: int, message: core_pb2.LinkDown) -> None:
        if link in self._unseen:
            self._unseen.discard(link)
            return
        self._emit(LinkDown(link, message.code, message.reason, EndedBy(message.by)))

    def _on_failed(self, what: str) -> None:
        self._emit(CoreFailed(what))
        self._fail_waiting(what)

    def _fail_waiting(self, why: str) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(errors.CoreClosedError(why))

    def _emit(self, event: Event) -> None:
        self._events.append(event)
        self._arrived.set()
