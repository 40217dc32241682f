"""Runs an agent: feeds the tables of session.py and renewal.py with what happens and executes their commands. Shell.

One task reads the core's events, one a dial, one draws, one looks for the apps; the main coroutine owns both states and
is the only one that steps them. Order of ending: close links, wait for their LinkDown, end the tasks, close the core,
remove the record. Called by cli/http.py and cli/start.py.
"""

import asyncio
import contextlib
import functools
import hashlib
import random
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from hawse_agent import credentials as logins
from hawse_agent import (
    dialling,
    endings,
    errors,
    identity,
    incoming,
    moves,
    networks,
    notices,
    probe,
    render,
    renewal,
    running,
    session,
    version,
    views,
)
from hawse_agent import picture as pictures
from hawse_agent.choice import Wanted
from hawse_agent.proxy import NO_PROXIES, Proxies
from hawse_api import names
from hawse_api.ir import core_pb2, frames_pb2
from hawse_tunnel import errors as tunnel_errors
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import CoreFailed, Event, FrameReceived, LinkDown, LinkUp

DIAL_S = 5.0
_DRAW_S = 1.0
_WAKE_S = 15.0
"""At least this often: the wall clock jumps while a laptop sleeps, the monotonic one does not."""
_CLOSE_S = 2.0
_HOSTNAME_MOST = 253
_MOST_WAITING = 256
_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Settings:
    """What one `hawse http`, `hawse tcp` or `hawse start` was asked to do."""

    directory: Path
    credentials: logins.Credentials
    wanted: Wanted
    epoch: int
    patience_s: float
    """How long the first connection may take."""
    proxies: Proxies = NO_PROXIES


@dataclass(frozen=True, slots=True)
class _Stop:
    """End: a signal (no ending), or the core died."""

    ending: endings.Ending | None = None


@dataclass(frozen=True, slots=True)
class _Renewal:
    """An event of the renewal table."""

    event: renewal.Event


_Happening: TypeAlias = moves.Event | _Renewal | _Stop


async def run(settings: Settings, view: views.View) -> endings.Ending | None:
    """Serve until a signal (None) or until there is no use in going on (the ending)."""
    with running.record(settings.directory, lambda text: view.tell(notices.Note(text))) as record:
        async with TunnelCore() as core:
            try:
                return await _Runner(settings, view, core, record).run()
            except BaseExceptionGroup as group:
                if (told := errors.inside(group)) is not None:
                    raise told from group
                raise


class _Runner:
    """State of one run; see the module."""

    def __init__(self, settings: Settings, view: views.View, core: TunnelCore, record: running.Record) -> None:
        self._settings = settings
        self._credentials = settings.credentials
        self._view = view
        self._core = core
        self._record = record
        self._dialler = dialling.Dialler(core, settings.proxies, networks.Memory(settings.directory))
        self._queue: asyncio.Queue[_Happening] = asyncio.Queue()
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: dict[int, bytes] = {}  # -> the key it was dialled with
        self._down_early: dict[int, LinkDown] = {}
        self._renewal_key: identity.NewKey | None = None
        self._started = time.monotonic()
        self._stop: _Stop | None = None
        self._sessions = session.begin(
            settings.wanted,
            settings.credentials.addresses,
            self._moment(),
            slot=_slot(settings.wanted),
            token=f"{settings.credentials.namespace}/{settings.credentials.token_name}",
            epoch=settings.epoch,
            patience_s=settings.patience_s,
        )
        self._renewals = renewal.begin(settings.credentials)

    async def run(self) -> endings.Ending | None:
        """The whole life of the agent."""
        async with self._group:
            self._spawn(self._read_events(), "core events")
            self._spawn(self._draw(), "view")
            self._spawn(probe.run_watch([to for _, to in self._settings.wanted.routes], self._view.tell), "apps")
            try:
                with self._signals():
                    await self._step_until_stopped()
                    await self._close_links()
            finally:
                for task in self._tasks:
                    task.cancel()
        self._view.close()
        return self._stop.ending if self._stop else None

    # --- the two tables --------------------------------------------------------------------------------------------
    async def _step_until_stopped(self) -> None:
        happening: _Happening = moves.Tick()
        while True:
            match happening:
                case _Stop():
                    self._stop = happening
                case _Renewal(event):
                    self._step_renewal(event)
                case _:
                    self._step_sessions(happening)
                    self._step_renewal(renewal.Tick())
            if self._stop is not None:
                return
            happening = await self._next()

    async def _next(self) -> _Happening:
        wake = session.next_wake(self._sessions)
        left_s = _WAKE_S if wake is None else min(max(wake - time.monotonic(), 0.0), _WAKE_S)
        try:
            async with asyncio.timeout(left_s):
                return await self._queue.get()
        except TimeoutError:
            return moves.Tick()

    def _step_sessions(self, event: moves.Event) -> None:
        self._sessions, commands = session.step(self._sessions, event, self._moment())
        for command in commands:
            self._execute(command)

    def _step_renewal(self, event: renewal.Event) -> None:
        links = session.live_links(self._sessions)
        self._renewals, commands = renewal.step(self._renewals, event, _unix(), links)
        for command in commands:
            match command:
                case renewal.Ask(link):
                    self._ask_renewal(link)
                case renewal.Tell(notice):
                    self._view.tell(notice)
                case renewal.Finish(ending):
                    self._stop = _Stop(ending)

    def _execute(self, command: moves.Command) -> None:
        match command:
            case moves.Dial(address, upgrade):
                self._spawn(self._dial(address, upgrade=upgrade), f"dial {address}")
            case moves.Greet(link, slot, epoch):
                self._keep(functools.partial(logins.write_epoch, self._settings.directory, epoch))
                frame = incoming.hello(version=version.text(), hostname=_hostname(), slot=slot, epoch=epoch)
                self._core.send(link, frame)
            case moves.Serve(link, routes):
                self._core.attach(link, {one.tunnel.uid: (one.target.host, one.target.port) for one in routes})
                self._core.send(link, incoming.register(routes))
            case moves.Close(link, code, reason):
                number = names.BY_CODE[code].number if code in names.BY_CODE else 0
                self._core.close_link(link, number, reason)
            case moves.Tell(notice):
                self._view.tell(notice)
                self._view.refresh(self._picture())
            case moves.LearnAddresses():
                self._queue.put_nowait(_Renewal(renewal.AddressesWanted(self._moment().luck)))
            case moves.RememberAddresses(addresses, tcp_ports):
                self._credentials = self._credentials.joined_by(addresses, tcp_ports)
                self._keep(functools.partial(logins.save, self._settings.directory, self._credentials, self._note))
            case moves.Finish(ending):
                self._stop = _Stop(ending)

    # --- the core --------------------------------------------------------------------------------------------------
    async def _dial(self, address: str, *, upgrade: bool) -> None:
        login = self._credentials
        own = core_pb2.Identity(chain=login.chain, key=login.key, roots=login.roots)
        request = incoming.dial_request(login.connect_name, own, DIAL_S)
        try:
            dial = self._dialler.upgrade if upgrade else self._dialler.dial
            answer = await dial(dialling.Place(address, login.tcp_address(address)), request)
        except tunnel_errors.CoreClosedError:
            return
        if isinstance(answer, endings.Failure):
            self._queue.put_nowait(moves.NotDialled(address, answer, upgrade))
            return
        up, transport = answer
        self._links[up.link] = login.key
        self._queue.put_nowait(moves.Dialled(address, up.link, transport, upgrade))
        if (down := self._down_early.pop(up.link, None)) is not None:  # it came and went before this task ran
            self._on_core_event(down)

    async def _read_events(self) -> None:
        async for event in self._core.events():
            self._on_core_event(event)
            if self._queue.qsize() > _MOST_WAITING:  # a node that floods us waits in the core, which closes its link
                await asyncio.sleep(_PAUSE_S)

    def _on_core_event(self, event: Event) -> None:
        match event:
            case FrameReceived(link, frame) if frame.WhichOneof("frame") == "renewed":
                self._on_renewed(frame.renewed)
            case FrameReceived(link, frame):
                if (happened := incoming.of_frame(link, frame)) is not None:
                    self._queue.put_nowait(happened)
            case LinkDown(link=link) if link in self._links:
                del self._links[link]
                self._queue.put_nowait(incoming.of_link_down(event))
            case LinkDown(link=link):
                self._down_early[link] = event
            case CoreFailed(what):
                message = f"the data plane of this agent ended: {what}. Start hawse again."
                self._queue.put_nowait(_Stop(endings.Ending("", message)))
            case LinkUp():
                pass  # dial() returns it

    async def _close_links(self) -> None:
        """Say goodbye, so that the exit nodes do not have to find out."""
        for link in self._links:
            self._core.close_link(link, 0, "the agent stops")
        deadline = time.monotonic() + _CLOSE_S
        while self._links and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._queue.get()

    # --- renewal ---------------------------------------------------------------------------------------------------
    def _ask_renewal(self, link: int) -> None:
        if (own_key := self._links.get(link)) is None:
            return  # gone since: the table hears of it in a moment and asks another session
        self._renewal_key = identity.make_key(self._credentials.agent_id)
        csr = self._renewal_key.csr
        proof = identity.sign(own_key, csr)
        self._core.send(link, frames_pb2.Frame(renew=frames_pb2.RenewRequest(csr=csr, proof=proof)))

    def _on_renewed(self, response: frames_pb2.RenewResponse) -> None:
        key, self._renewal_key = self._renewal_key, None
        if key is None:
            return  # an answer after its time
        accepted = renewal.accept(self._credentials, key, response)
        if isinstance(accepted, endings.Failure):
            self._queue.put_nowait(_Renewal(renewal.Refused(accepted)))
            return
        moved = accepted.addresses != self._credentials.addresses
        self._credentials = accepted
        self._keep(functools.partial(logins.save, self._settings.directory, accepted, self._note))
        due, ends = accepted.half_life.timestamp(), accepted.expires.timestamp()
        self._queue.put_nowait(_Renewal(renewal.Answered(due, ends, moved)))
        self._view.tell(notices.Renewed(renewal.expiry_text(accepted)))
        if moved:
            self._queue.put_nowait(moves.AddressesChanged(accepted.addresses))

    def _keep(self, write: Callable[[], None]) -> None:
        """Write to the login's directory; where that fails (a full disk) it is said, and visitors are served on.

        What is lost by it is little: the next start proposes an epoch by the clock, and renews an older certificate.
        """
        try:
            write()
        except errors.AgentError as exc:
            self._note(f"{exc} This agent goes on; the next start will not know of it.")

    def _note(self, text: str) -> None:
        self._view.tell(notices.Note(text))

    # --- around ----------------------------------------------------------------------------------------------------
    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = self._group.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._queue.put_nowait, _Stop())
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def _draw(self) -> None:
        told = False  # it is tried every second, and told once
        while True:
            now = self._picture()
            self._view.refresh(now)
            try:
                self._record.write(render.picture_json(now))
                told = False
            except errors.AgentError as exc:
                if not told:
                    self._note(f"{exc} This agent goes on; `hawse status` does not show how it is now.")
                told = True
            await asyncio.sleep(_DRAW_S)

    def _picture(self) -> render.Picture:
        return pictures.build_picture(
            self._sessions,
            self._core.snapshot(),
            uptime_s=time.monotonic() - self._started,
            certificate_expires=self._credentials.expires.isoformat(),
        )

    def _moment(self) -> moves.Moment:
        return moves.Moment(at=time.monotonic(), unix_ms=int(_unix() * 1000), luck=random.random())  # noqa: S311 - jitter


def _slot(wanted: Wanted) -> str:
    """What tells this command's sessions from another one's with the same login; the same again after a restart."""
    named = ",".join(sorted(wanted.names))
    return hashlib.sha256(named.encode()).hexdigest()[:8] if named else ""


def _unix() -> float:
    return time.time_ns() / 1e9


def _hostname() -> str:
    return socket.gethostname()[:_HOSTNAME_MOST]
