"""Carries events of the core into the session table and the table's commands back. Shell; decides nothing.

One per process, on the event loop: `run` reads the core, everybody else calls `feed`. Links of other exit nodes are
`backhaul`'s. A command for a link that is gone
is ignored by the core.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import assert_never

from hawse_api import names
from hawse_api.ir import control_pb2, core_pb2
from hawse_exitnode import keys, peer_state, sessions, takeovers
from hawse_exitnode.backhaul import Backhaul
from hawse_exitnode.errors import StartError
from hawse_exitnode.session_state import (
    Bind,
    Close,
    Command,
    Event,
    FrameCame,
    LinkClosed,
    LinkOpened,
    Moment,
    Relay,
    RelayFailed,
    Send,
    State,
    Tick,
)
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import CoreFailed, FrameReceived, LinkDown, LinkUp, TargetsTurned

logger = logging.getLogger(__name__)


class Dispatcher:
    """Owner of the session state."""

    def __init__(
        self,
        core: TunnelCore,
        state: State,
        relay: Callable[[control_pb2.RelayRequest], bool],
        backhaul: Backhaul,
    ) -> None:
        self._core = core
        self.state = state
        self.served = asyncio.Event()
        """Set when what agents serve here may have changed."""
        self._backhaul = backhaul
        self._relay = relay
        self._targets = core_pb2.Targets()

    async def run(self) -> None:
        """Until the core is closed.

        Raises:
            StartError: a long-lived task of the core died; only a new process helps.
        """
        async for event in self._core.events():
            match event:
                case LinkUp() if event.alpn == names.ALPN_PEER:
                    self._backhaul.link_up(event)
                case FrameReceived(link, frame) if self._backhaul.knows(link):
                    self._backhaul.feed(peer_state.FrameCame(link, frame))
                case LinkDown() if self._backhaul.knows(event.link):
                    self._backhaul.link_down(event)
                case LinkUp():
                    agent = keys.agent_of(event.peer_certificate) if event.peer_certificate else None
                    certificate, nonce = event.peer_certificate, secrets.token_bytes(32)
                    self.feed(
                        LinkOpened(event.link, event.alpn, event.remote, agent, certificate, nonce, event.transport)
                    )
                case FrameReceived():
                    self.feed(FrameCame(event.link, event.frame))
                case LinkDown():
                    self._log_down(event)
                    self.feed(LinkClosed(event.link))
                case TargetsTurned(turned):
                    self._take_targets(turned)
                case CoreFailed(what):
                    raise StartError(f"the data plane failed: {what}")
                case _:
                    assert_never(event)

    def feed(self, event: Event) -> None:
        """One step of the table, carried out at once."""
        now = Moment(time.monotonic(), datetime.now(UTC).timestamp())
        if isinstance(event, LinkClosed):
            self.served.set()
        self.state, commands = sessions.step(self.state, event, now)
        for command in commands:
            self._carry_out(command)

    def tick(self) -> None:
        """Let deadlines pass."""
        busy: frozenset[int] = frozenset()
        if takeovers.any_yields(self.state):
            links = self._core.snapshot().links
            busy = frozenset(link.link for link in links if link.streams_open and not link.suspect)
        self.feed(Tick(busy))
        self._backhaul.feed(peer_state.Tick())

    def session_report(self) -> control_pb2.SessionReport:
        """All sessions now, with what the core measured of their links."""
        return sessions.report(self.state, {link.link: link for link in self._core.snapshot().links})

    def target_report(self) -> control_pb2.TargetReport:
        """Tunnels whose standby answers here now."""
        return control_pb2.TargetReport(
            targets=[
                control_pb2.TargetState(tunnel_uid=one.tunnel_uid, standby=one.standby, reason=one.reason)
                for one in self._targets.targets
                if one.standby
            ]
        )

    def _take_targets(self, turned: core_pb2.Targets) -> None:
        before = {one.tunnel_uid: one.standby for one in self._targets.targets}
        self._targets = turned
        for one in turned.targets:
            if one.standby != before.get(one.tunnel_uid, False):
                to = "standby" if one.standby else "primary"
                logger.warning("target turned", extra={"tunnel": one.tunnel_uid, "to": to, "why": one.reason})

    def _carry_out(self, command: Command) -> None:
        match command:
            case Send(link, frame):
                if frame.WhichOneof("frame") == "refused":
                    self._log_refusal(link, frame.refused.code, frame.refused.message)
                self._core.send(link, frame)
            case Close(link, code, reason):
                self._core.close_link(link, code, reason)
            case Bind(link, tunnel_uids):
                self._core.bind_link(link, tunnel_uids)
                self.served.set()
            case Relay(request):
                if not self._relay(request):
                    self.feed(RelayFailed(request.id))
            case _:
                assert_never(command)

    def _log_refusal(self, link: int, code: str, message: str) -> None:
        known = self.state.links.get(link)
        agent = str(known.identity) if known is not None and known.identity is not None else ""
        logger.info("link refused", extra={"link": link, "agent": agent, "code": code, "why": message})

    def _log_down(self, event: LinkDown) -> None:
        known = self.state.links.get(event.link)
        if known is not None and known.identity is not None:
            extra = {"agent": str(known.identity), "by": str(event.by), "code": event.code, "why": event.reason[:200]}
            logger.info("session ended", extra=extra)
