"""Visitors who never stop: through every exit node, over HTTP/1.1 and 2, on kept and on new connections.

Requests go out on time whether or not earlier ones were answered, so an outage shows as what it costs; but a stream has
at most UNDER_WAY of them, so a machine too busy for this rate is visited less often, not driven mad. Each one asks the
app to say its number back: an answer to another request is a failure too. Runs an event loop in a thread of its own.
Called by the step "kills" and tests/integration/test_kills.py.
"""

import asyncio
import contextlib
import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import httpx

from demo.outcomes import HANG_S, LOST, NO_ANSWER, REFUSED, SERVED, Loss, Outcome, is_calm, loss_of
from demo.visits import Door, Visitor

WAYS = tuple(itertools.product((False, True), (True, False)))
"""(HTTP/2 or 1.1, kept or new connections): four streams of visitors to each door."""
DEFAULT_RATE = 50.0
"""Requests a second and door. Half of them are TLS handshakes; more would measure this program."""
CALM_S = 1.0
UNDER_WAY = 4
_STOP_S = HANG_S + 5


@dataclass(slots=True)
class Traffic:
    """A context manager: visitors come while it is open."""

    visitor: Visitor
    doors: Sequence[Door]
    log: Path
    """Gets a line for each request."""
    rate: float = DEFAULT_RATE
    find: Callable[[Door], Door] = lambda door: door
    """Where a visitor of a door goes now."""
    _outcomes: list[Outcome] = field(default_factory=list)
    _waiting: dict[int, float] = field(default_factory=dict)
    """Requests under way: number and when it began. Both are changed by the loop's thread only."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _task: asyncio.Task[None] | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Let them come."""
        self._task = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._work, args=(self._task,), name="visitors", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send them home; requests under way are given up."""
        if self._task is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(_STOP_S)

    def since(self, moment: float) -> list[Outcome]:
        """Requests that ended at this moment of time.monotonic() or later."""
        return [one for one in self._outcomes.copy() if one.ended >= moment]

    def losses(self, since: float) -> tuple[Loss, ...]:
        """What each door's visitors saw since then."""
        return self.losses_in([door.region for door in self.doors], since)

    def losses_in(self, regions: Sequence[str], since: float) -> tuple[Loss, ...]:
        """What those saw since then who went to these regions."""
        outcomes = self.since(since)
        return tuple(loss_of(region, outcomes) for region in regions)

    def is_calm(self, since: float) -> bool:
        """Whether everybody was served, and nobody waited, for the last CALM_S, all of it later than `since`."""
        now = time.monotonic()
        if now < since + CALM_S:
            return False
        regions = [door.region for door in self.doors]
        waiting = self._waiting.copy().values()
        return is_calm(self.since(now - CALM_S), waiting, regions, now=now, calm_s=CALM_S)

    def _work(self, task: asyncio.Task[None]) -> None:
        with contextlib.closing(self._loop), contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(task)

    async def _run(self) -> None:
        with self.log.open("w", buffering=1) as log:
            async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
                for second, kept in WAYS:
                    # One context a protocol: the client writes its ALPN into it.
                    context = ssl.create_default_context(cafile=self.visitor.ca)
                    for door in self.doors:
                        client = Client(context, second, kept)
                        stack.push_async_callback(client.close)
                        tasks.create_task(self._send(tasks, door, client, log))

    async def _send(self, tasks: asyncio.TaskGroup, door: Door, client: "Client", log: TextIO) -> None:
        """One stream of visitors, one request after the other on time."""
        pause, free = len(WAYS) / self.rate, asyncio.Semaphore(UNDER_WAY)
        due = time.monotonic()
        while True:
            await free.acquire()
            tasks.create_task(self._visit(door, client, log)).add_done_callback(lambda _: free.release())
            due = max(due + pause, time.monotonic())  # what was missed is not made up for
            await asyncio.sleep(due - time.monotonic())

    async def _visit(self, door: Door, client: "Client", log: TextIO) -> None:
        door = self.find(door)
        number, started, detail = next(self._numbers), time.monotonic(), ""
        self._waiting[number] = started
        try:
            async with asyncio.timeout(HANG_S):
                failure = await self._ask(door, client, number)
        except (TimeoutError, httpx.TimeoutException):
            failure = NO_ANSWER
        except (
            Exception
        ) as exc:  # root of a task, and a client with a broken connection lets anyio's errors through too
            failure, detail = cause_of(exc), repr(exc)
        finally:
            del self._waiting[number]
        one = Outcome(door.region, started, time.monotonic(), failure)
        self._outcomes.append(one)
        took = one.ended - one.started
        log.write(f"{number} {door.region} {client} {one.started:.3f} {took:.3f} {failure or 'served'} {detail}\n")

    async def _ask(self, door: Door, client: "Client", number: int) -> str:
        answer = await client.get(
            f"https://{door.address}:{door.port}/headers?visit={number}",
            headers={"Host": f"{self.visitor.host}:{self.visitor.port}"},
            extensions={"sni_hostname": self.visitor.host},
        )
        if answer.status_code != 200:
            return str(answer.headers.get("x-hawse-error", f"status {answer.status_code}"))
        try:
            said = json.loads(answer.content)["query"]["visit"]
        except (ValueError, KeyError):
            return "wrong answer"
        return SERVED if said == str(number) else "wrong answer"


def cause_of(error: BaseException) -> str:
    """The visitor's words for a connection that failed."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, ConnectionRefusedError):
            return REFUSED
        chain = chain.__cause__ or chain.__context__
    if isinstance(error, httpx.ConnectError) and "refused" in str(error):
        return REFUSED
    return LOST


@dataclass(slots=True)
class Client:
    """A visitor's client: all requests on one connection while that lives, or each on one of its own."""

    context: ssl.SSLContext
    second: bool
    kept: bool
    _open: httpx.AsyncClient | None = None

    def __str__(self) -> str:
        """For the log."""
        return f"{'HTTP/2' if self.second else 'HTTP/1.1'} {'kept' if self.kept else 'new'}"

    async def get(self, url: str, headers: dict[str, str], extensions: dict[str, str]) -> httpx.Response:
        """Send a request and read the whole answer."""
        if not self.kept:
            async with self._new() as client:
                return await client.get(url, headers=headers, extensions=extensions)
        self._open = self._open or self._new()
        return await self._open.get(url, headers=headers, extensions=extensions)

    async def close(self) -> None:
        """Close the kept connections."""
        if self._open is not None:
            await self._open.aclose()

    def _new(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self.context, http1=not self.second, http2=self.second, timeout=HANG_S, trust_env=False
        )
