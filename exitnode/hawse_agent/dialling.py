"""Connects to an exit node over the transport that gets there first. Shell around racing.py.

Used by runner.py for sessions and by login.py for enrolments; every dial that lost is cancelled, which closes what may
still come of it (TunnelCore.dial).
"""

import asyncio
import time
from dataclasses import dataclass

from hawse_agent import incoming, racing
from hawse_agent.endings import Failure
from hawse_agent.networks import Memory, network_towards
from hawse_agent.proxy import Proxies
from hawse_agent.racing import Transport
from hawse_api.ir import core_pb2
from hawse_tunnel import errors as tunnel_errors
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import LinkUp

_WIRE = {Transport.QUIC: core_pb2.TRANSPORT_QUIC, Transport.TCP: core_pb2.TRANSPORT_TCP}


@dataclass(frozen=True, slots=True)
class Place:
    """One exit node."""

    address: str
    """For QUIC."""
    tcp_address: str


class Dialler:
    """What all dials of one process share."""

    def __init__(self, core: TunnelCore, proxies: Proxies, memory: Memory | None = None) -> None:
        self._core = core
        self._proxies = proxies
        self._memory = memory

    async def dial(self, place: Place, request: core_pb2.DialRequest) -> tuple[LinkUp, Transport] | Failure:
        """Race to `place`; address and transport of `request` are set here.

        Raises:
            CoreClosedError: the core ends.
        """
        network = network_towards(place.address)
        tcp_at_once = self._memory is not None and self._memory.prefers_tcp(network, _unix())
        try:
            answer = await _Race(self, place, request).run(tcp_at_once=tcp_at_once)
        except BaseExceptionGroup as group:  # a dial raises nothing else
            raise tunnel_errors.CoreClosedError("the core ended while it was dialling") from group
        if self._memory is not None and not isinstance(answer, Failure):
            self._memory.learn(network, _unix(), tcp_won=answer[1] is Transport.TCP)
        return answer

    async def upgrade(self, place: Place, request: core_pb2.DialRequest) -> tuple[LinkUp, Transport] | Failure:
        """Over QUIC only, for a session over TCP.

        Raises:
            CoreClosedError: the core ends.
        """
        answer = await self.attempt(Transport.QUIC, place, request)
        if isinstance(answer, Failure):
            return answer
        if self._memory is not None:
            self._memory.learn(network_towards(place.address), _unix(), tcp_won=False)
        return answer, Transport.QUIC

    async def attempt(self, transport: Transport, place: Place, request: core_pb2.DialRequest) -> LinkUp | Failure:
        """One dial over one transport.

        Raises:
            CoreClosedError: the core ends.
        """
        made = core_pb2.DialRequest()
        made.CopyFrom(request)
        made.transport = _WIRE[transport]
        made.address = place.address
        if transport is Transport.TCP:
            made.address = place.tcp_address
            if (proxy := self._proxies.towards(place.tcp_address)) is not None:
                made.proxy.address, made.proxy.authorization = proxy.address, proxy.authorization
        try:
            return await self._core.dial(made)
        except tunnel_errors.CoreClosedError:
            raise
        except tunnel_errors.TunnelError as exc:
            return incoming.of_dial_error(exc)

    def close(self, up: LinkUp) -> None:
        """A link that came second."""
        self._core.close_link(up.link, 0, "another transport was faster")


class _Race:
    """The tasks of one race; racing.py says what to do."""

    def __init__(self, dialler: Dialler, place: Place, request: core_pb2.DialRequest) -> None:
        self._dialler, self._place, self._request = dialler, place, request
        self._running: dict[Transport, asyncio.Task[LinkUp | Failure]] = {}
        self._links: dict[Transport, LinkUp] = {}

    async def run(self, *, tcp_at_once: bool) -> tuple[LinkUp, Transport] | Failure:
        """Until a link is up or no transport is left."""
        race, commands = racing.begin(time.monotonic(), tcp_at_once=tcp_at_once)
        async with asyncio.TaskGroup() as group:
            try:
                while True:
                    for command in commands:
                        match command:
                            case racing.Start(transport):
                                attempt = self._dialler.attempt(transport, self._place, self._request)
                                self._running[transport] = group.create_task(attempt, name=f"dial {transport.value}")
                            case racing.Won(transport):
                                return self._links.pop(transport), transport
                            case racing.Lost(failure):
                                return failure
                    race, commands = racing.step(race, await self._next(race), time.monotonic())
            finally:
                self._end()

    async def _next(self, race: racing.Race) -> racing.Event:
        left_s = None if race.tcp_at is None else max(race.tcp_at - time.monotonic(), 0.0)
        await asyncio.wait(self._running.values(), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        for transport in Transport:  # QUIC first, if both came at once
            task = self._running.get(transport)
            if task is None or not task.done():
                continue
            del self._running[transport]
            answer = task.result()
            if isinstance(answer, Failure):
                return racing.Failed(transport, answer)
            self._links[transport] = answer
            return racing.Linked(transport)
        return racing.Waited()

    def _end(self) -> None:
        """Nothing of the losers stays, nor of anybody if the race itself is cancelled."""
        for task in self._running.values():
            if not task.done():
                task.cancel()
            elif task.exception() is None and not isinstance(second := task.result(), Failure):
                self._dialler.close(second)
        for link in self._links.values():
            self._dialler.close(link)


def _unix() -> float:
    return time.time_ns() / 1e9
