"""`hawse login`: dials the token's exit nodes, enrols over the first that answers, saves the credentials. Shell.

All addresses are dialled at once; one after the other is asked until one enrols us or the refusal is final. The
table of the exchange is enrolment.py's.
"""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence

from hawse_agent import dialling, enrolment, identity, version, words
from hawse_agent.credentials import Credentials, tcp_address
from hawse_agent.endings import Failure
from hawse_agent.errors import AgentError, NetworkError, error_of, inside
from hawse_agent.jointoken import JoinToken
from hawse_agent.proxy import NO_PROXIES, Proxies
from hawse_api import names
from hawse_api.ir import core_pb2
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import EndedBy, FrameReceived, LinkDown, LinkUp

DIAL_S = 8.0
ANSWER_S = 20.0
"""The exit node asks the operator; a leader election may be under way."""
_NO_EXIT_NODE = names.BY_NAME["NO_EXIT_NODE"].code


async def enrol(token: JoinToken, agent_id: str, proxies: Proxies = NO_PROXIES) -> Credentials:
    """Trade the token for credentials; saves nothing.

    Raises:
        AgentError: why not; of the class that gives the exit code.
    """
    asker = enrolment.Asker(
        token, identity.make_key(agent_id), agent_id, hostname=socket.gethostname()[:253], version=version.text()
    )
    async with TunnelCore() as core:
        inbox = _Inbox()
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(inbox.run(core), name="core events")
                made = await _over_any(group, core, dialling.Dialler(core, proxies), inbox, asker)
                reader.cancel()
        except BaseExceptionGroup as failed:
            if (told := inside(failed)) is not None:
                raise told from failed
            raise
    return made


class _Inbox:
    """Frames of each link, in order; ends with the LinkDown."""

    def __init__(self) -> None:
        self._queues: dict[int, asyncio.Queue[FrameReceived | LinkDown]] = {}

    def of(self, link: int) -> "asyncio.Queue[FrameReceived | LinkDown]":
        return self._queues.setdefault(link, asyncio.Queue())

    async def run(self, core: TunnelCore) -> None:
        async for event in core.events():
            if isinstance(event, FrameReceived | LinkDown):
                self.of(event.link).put_nowait(event)


async def _over_any(
    group: asyncio.TaskGroup, core: TunnelCore, dialler: dialling.Dialler, inbox: _Inbox, asker: enrolment.Asker
) -> Credentials:
    token = asker.token
    ports = dict(zip(token.addresses, token.tcp_ports, strict=False))
    places = [dialling.Place(one, tcp_address(one, ports.get(one, 0))) for one in token.addresses]
    dials = [group.create_task(_dial(dialler, place, token), name=f"dial {place.address}") for place in places]
    try:
        return await _first_that_takes_us(core, inbox, asker, dials)
    finally:
        for dial in dials:
            dial.cancel()


async def _first_that_takes_us(
    core: TunnelCore,
    inbox: _Inbox,
    asker: enrolment.Asker,
    dials: Sequence[asyncio.Task[tuple[str, LinkUp | AgentError]]],
) -> Credentials:
    failures: dict[str, AgentError] = {}
    for dialled in asyncio.as_completed(dials, timeout=DIAL_S + 5):
        address, answer = await dialled
        if isinstance(answer, AgentError):
            failures[address] = answer
            continue
        try:
            async with asyncio.timeout(ANSWER_S):
                result = await _exchange(core, inbox, asker, answer)
        except TimeoutError:
            result = enrolment.lost(0, f"no answer within {ANSWER_S:g} s")
        core.close_link(answer.link, 0, "enrolment is over")
        if isinstance(result, enrolment.Done):
            return result.credentials
        if not result.again:
            raise result.error
        failures[address] = result.error
    raise _summary(failures)


async def _dial(dialler: dialling.Dialler, place: dialling.Place, token: JoinToken) -> tuple[str, LinkUp | AgentError]:
    request = core_pb2.DialRequest(
        server_name=token.connect_name,
        alpn=names.ALPN_ENROL,
        ca_sha256=token.ca_sha256,
        timeout_ms=round(DIAL_S * 1000),
    )
    answer = await dialler.dial(place, request)
    if isinstance(answer, Failure):
        return place.address, error_of(answer.code or _NO_EXIT_NODE, answer.why)
    return place.address, answer[0]


async def _exchange(
    core: TunnelCore, inbox: _Inbox, asker: enrolment.Asker, up: LinkUp
) -> enrolment.Done | enrolment.Failed:
    queue = inbox.of(up.link)
    step: enrolment.Send | enrolment.Done | enrolment.Failed = enrolment.begin(asker)
    while isinstance(step, enrolment.Send):
        core.send(up.link, step.frame)
        event = await queue.get()
        if isinstance(event, LinkDown):
            return enrolment.lost(event.code if event.by is EndedBy.PEER else 0, event.reason)
        now = time.time_ns() / 1e9
        step = enrolment.on_frame(step.phase, event.frame, asker, ca=up.ca, now_unix=now)
    return step


def _summary(failures: Mapping[str, AgentError]) -> AgentError:
    """One failure speaks for all if all are alike or it is about trust; else all are listed."""
    telling = [one for one in failures.values() if one.code != _NO_EXIT_NODE]
    if telling:
        return telling[0]
    reasons = words.listing([f"{address}: {one.message.rstrip('.')}" for address, one in failures.items()])
    text = f"no exit node could be reached. Check the network, and that UDP or TCP to them is let through.\n{reasons}"
    return NetworkError(text, code=_NO_EXIT_NODE)
