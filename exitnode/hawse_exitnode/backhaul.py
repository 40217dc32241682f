"""Backhaul: links with the fleet's other exit nodes, so that a visitor here reaches an agent there. Shell.

Feeds the table of peers (`peers`) and carries its commands out. Until `run` it knows nobody and lets nobody in; without
an operator the list comes from the kept configuration. A static exit node never runs it. Owned by `node`, which also
tells what own agents serve; links of peers are passed on by `dispatcher`.
"""

import asyncio
import logging
import random
import time
from typing import assert_never

from hawse_api import names
from hawse_api.ir import core_pb2
from hawse_exitnode import keys, peers
from hawse_exitnode.peer_state import (
    Admit,
    Close,
    Command,
    DialFailed,
    DialPeer,
    Event,
    LinkAccepted,
    LinkClosed,
    LinkDialled,
    Note,
    Reach,
    SelfNamed,
    Send,
    State,
)
from hawse_exitnode.session_state import NodeFacts
from hawse_tunnel import errors as tunnel_errors
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import LinkDown, LinkUp

logger = logging.getLogger(__name__)

SPACING_S = 0.02
"""Between two announcements: what changes within it is told at once. The first change is told without a pause, since an
agent that moves leaves the other exit node in the next moment ..."""
MAX_SPACING_S = 0.2
"""... and the pauses double up to this while changes keep coming: a peer may then stand still for 12 s until as many
announcements wait for it as the core takes (FRAMES_TO_SEND)."""


class Backhaul:
    """Owner of the state of peers and of the tasks that dial."""

    def __init__(self, core: TunnelCore, facts: NodeFacts) -> None:
        self._core = core
        self._facts = facts
        self._identity: keys.NodeIdentity | None = None
        self._group: asyncio.TaskGroup | None = None
        self.state = State(NodeFacts(version=facts.version, exit_node="", region="", pod=facts.pod, domain=""))

    async def run(self) -> None:
        """Hold links with all peers; needs an identity and the listeners. Ends with its task."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.feed(SelfNamed(self._facts))
            await asyncio.Event().wait()

    def use_identity(self, identity: keys.NodeIdentity, facts: NodeFacts) -> None:
        """The certificate of dials from now on; links stay."""
        self._identity, self._facts = identity, facts
        if self._group is not None:
            self.feed(SelfNamed(facts))

    def knows(self, link: int) -> bool:
        """Whether a link is one with a peer."""
        return link in self.state.links

    def is_accepted(self, link: int) -> bool:
        """Whether a peer has dialled it: streams on it are those of the peer's visitors."""
        known = self.state.links.get(link)
        return known is not None and not known.is_dialled

    def link_up(self, event: LinkUp) -> None:
        """A link of ALPN_PEER. Those that we dialled are known already (TunnelCore.dial)."""
        if not event.dialed:
            self.feed(LinkAccepted(event.link, keys.exit_node_of(event.peer_certificate)))

    def link_down(self, event: LinkDown) -> None:
        """A link that it knows has ended."""
        self.feed(LinkClosed(event.link, f"{event.reason[:200] or 'no reason given'} (by {event.by})"))

    def feed(self, event: Event) -> None:
        """One step of the table, carried out at once."""
        luck = random.random()  # noqa: S311 - jitter
        self.state, commands = peers.step(self.state, event, at=time.monotonic(), luck=luck)
        for command in commands:
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        match command:
            case DialPeer():
                assert self._group is not None  # noqa: S101 - nobody is dialled before `run` has named us
                self._group.create_task(self._dial(command), name=f"dial-{command.peer.pod}")
            case Send(link, frame):
                self._core.send(link, frame)
            case Close(link, code, reason):
                self._core.close_link(link, code, reason)
            case Admit(link):
                self._core.admit_peer(link)
            case Reach(link, distance, add, remove):
                self._core.announce_peer(link, distance, add, remove)
            case Note(event, extra, is_warning):
                logger.log(logging.WARNING if is_warning else logging.INFO, event, extra=dict(extra))
            case _:
                assert_never(command)

    async def _dial(self, command: DialPeer) -> None:
        identity = self._identity
        if identity is None:
            self.feed(DialFailed(command.attempt, "not enrolled yet"))
            return
        request = core_pb2.DialRequest(
            address=command.peer.address,
            server_name=f"connect.{identity.domain}",
            alpn=names.ALPN_PEER,
            identity=identity.to_core(),
            transport=core_pb2.TRANSPORT_QUIC,
        )
        try:
            up = await self._core.dial(request)
        except tunnel_errors.CoreClosedError:
            return
        except tunnel_errors.TunnelError as exc:
            self.feed(DialFailed(command.attempt, str(exc)))
        else:
            self.feed(LinkDialled(command.attempt, up.link, keys.exit_node_of(up.peer_certificate)))
