"""What both ways of running an exit node share: core, session table, holdings, listeners, admin, drain. Shell.

`supervisor` adds the operator, `static` a file. Order of the end: readiness off, agents are told to leave, requests in
flight finish until the drain timeout, the core closes its listeners and links.
"""

import asyncio
import dataclasses
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hawse_api import names
from hawse_api.ir import control_pb2, core_pb2
from hawse_exitnode import backhaul, descriptors, keys, memory, metrics, pages, peers, sessions
from hawse_exitnode.backhaul import Backhaul
from hawse_exitnode.dispatcher import Dispatcher
from hawse_exitnode.errors import StartError
from hawse_exitnode.holdings import Holdings
from hawse_exitnode.peer_state import PeersListed, ServingChanged
from hawse_exitnode.peer_traffic import PeerTraffic
from hawse_exitnode.session_state import ConfigurationAged, DirectoryChanged, DrainStarted, NodeFacts, NodeNamed, State
from hawse_exitnode.signing_in import SigningIn, ended_object
from hawse_tunnel import errors as tunnel_errors
from hawse_tunnel.core import TunnelCore

logger = logging.getLogger(__name__)

DIRECTORY_PAUSE_S = 0.02
"""Changes within it are one: a snapshot of thousands of tunnels is offered once."""
TICK_S = 0.5
DRAIN_POLL_S = 0.1
MIN_DRAIN_S = 0.5
"""Long enough for Drain frames to leave."""
_PORT_IN_USE = names.BY_NAME["PORT_IN_USE"].code


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where the node listens."""

    host: str
    https_port: int
    agents_port: int
    admin_port: int
    http3: bool = True
    """Visitors may speak HTTP/3, on the UDP port of the same number as `https_port`."""

    @property
    def serves_http3(self) -> bool:
        """Not if agents have that port."""
        return self.http3 and self.https_port != self.agents_port

    def address(self, port: int) -> str:
        """For the core."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


class Node:
    """One exit node process around one core."""

    def __init__(
        self,
        core: TunnelCore,
        listeners: Listeners,
        facts: NodeFacts,
        *,
        relay: Callable[[control_pb2.RelayRequest], bool],
        static: bool,
        state_dir: Path | None = None,
    ) -> None:
        """`state_dir`: where this process may write; None: the system's directory for temporary files."""
        core.bind_ports_at(listeners.host)  # before any tunnel comes: a port that cannot be had is its tunnel's refusal
        self._core = core
        self._listeners = listeners
        self._facts = facts
        self._dirty = asyncio.Event()
        self.unsaved = asyncio.Event()
        """Set when there is something new to keep over a restart."""
        self.holdings = Holdings(core, facts.version, on_change=self._on_change)
        self.backhaul = Backhaul(core, facts)
        self.dispatcher = Dispatcher(core, State(facts, static=static), relay, self.backhaul)
        self._peer_traffic = PeerTraffic()
        self._listens = asyncio.Event()
        self._signing_in = SigningIn(self.holdings, state_dir=state_dir, on_ended=self._on_ended)
        self.draining = False
        self._identity: keys.NodeIdentity | None = None

    @property
    def listening(self) -> bool:
        """Visitors and agents may come."""
        return self._listens.is_set()

    def _on_change(self) -> None:
        self._dirty.set()
        self.unsaved.set()

    def _on_ended(self, ended: Mapping[str, int]) -> None:
        """Sign-ins ended at this node: they count no more, at once."""
        self._core.apply(ended_object(ended))

    # --- identity and listeners --------------------------------------------------------------------------------------
    def use_identity(self, identity: keys.NodeIdentity) -> None:
        """The certificate of handshakes from now on."""
        self._identity = identity
        self._facts = dataclasses.replace(
            self._facts, exit_node=identity.exit_node, region=identity.region, domain=identity.domain
        )
        self.dispatcher.feed(NodeNamed(self._facts))
        self.backhaul.use_identity(identity, self._facts)
        self.unsaved.set()
        if self.listening:
            self._core.rotate_identity(identity.to_core())

    async def listen(self) -> None:
        """Serve visitors and agents. Needs an identity and a whole configuration.

        Raises:
            StartError: a port is taken, or the address is not ours.
        """
        if self.listening or self._identity is None:
            return
        options = core_pb2.EdgeOptions(pages=pages.render_pages(), served_by=self._identity.exit_node)
        options.max_connections = descriptors.visitor_cap(descriptors.limit())
        options.max_memory_bytes = memory.limit(os.environ)
        options.identity_socket = str(self._signing_in.socket)
        options.http3_off = not self._listeners.serves_http3
        self.refresh_directory()
        try:
            await self._core.serve_links(self._listeners.address(self._listeners.agents_port), self._identity.to_core())
            await self._core.serve_edge(self._listeners.address(self._listeners.https_port), options)
        except tunnel_errors.TunnelError as exc:
            raise StartError(f"cannot serve: {exc}") from exc
        self._listens.set()
        logger.info(
            "serving",
            extra={
                "https": self._listeners.address(self._listeners.https_port),
                "http3": self._listeners.serves_http3,
                "agents": self._listeners.agents_port,
            },
        )

    def check_ports(self) -> None:
        """Fail at once, and not after minutes of waiting for an operator, if a port is taken.

        Raises:
            StartError: naming the port.
        """
        visitors, agents = self._listeners.https_port, self._listeners.agents_port
        wanted = [(socket.SOCK_STREAM, visitors, "visitors (TCP)"), (socket.SOCK_DGRAM, agents, "agents (UDP)")]
        if self._listeners.serves_http3:
            wanted.append((socket.SOCK_DGRAM, visitors, "visitors with HTTP/3 (UDP)"))
        for kind, port, what in wanted:
            family = socket.AF_INET6 if ":" in self._listeners.host else socket.AF_INET
            with socket.socket(family, kind) as probe:
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self._listeners.host, port))
                except OSError as exc:
                    where = self._listeners.address(port)
                    raise StartError(f"cannot listen on {where} for {what}: {exc.strerror} ({_PORT_IN_USE})") from exc

    # --- tasks -------------------------------------------------------------------------------------------------------
    async def run_directory(self) -> None:
        """Offer agents what the configuration says, whenever it changes."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(DIRECTORY_PAUSE_S)
            self.refresh_directory()

    def refresh_directory(self) -> None:
        """Bring the session table up to the configuration."""
        self._dirty.clear()
        self.dispatcher.feed(DirectoryChanged(self.holdings.directory()))
        self.backhaul.feed(PeersListed(self.holdings.peers()))

    async def run_backhaul(self) -> None:
        """Hold links with the fleet's other exit nodes, as soon as this one serves."""
        await self._listens.wait()
        await self.backhaul.run()

    async def run_announcements(self) -> None:
        """Tell them which tunnels own agents serve, whenever it changes."""
        served, spacing_s = self.dispatcher.served, backhaul.SPACING_S
        while True:
            await served.wait()
            served.clear()
            self.backhaul.feed(ServingChanged(sessions.serving(self.dispatcher.state)))
            await asyncio.sleep(spacing_s)
            spacing_s = min(2 * spacing_s, backhaul.MAX_SPACING_S) if served.is_set() else backhaul.SPACING_S

    def set_stale(self, says: str) -> None:
        """Serve no agent, and tell visitors and agents this; "": serve them again, by the configuration of now."""
        if says:
            self._core.set_stale(says)
            self.dispatcher.feed(ConfigurationAged(says))
        else:
            self.refresh_directory()
            self.dispatcher.feed(ConfigurationAged(""))
            self._core.set_stale("")

    async def run_ticks(self) -> None:
        """Let deadlines pass."""
        while True:
            await asyncio.sleep(TICK_S)
            self.dispatcher.tick()

    def ended_report(self) -> control_pb2.RevokeSessions:
        """For the operator: sign-ins that are over, as far as this node knows."""
        return control_pb2.RevokeSessions(ended=self._signing_in.ended())

    async def run_signing_in(self) -> None:
        """Let visitors sign in, for ever."""
        await self._signing_in.run()

    async def turn_away(self, seconds: float) -> None:
        """Not ready any more, and everything as before for those whom DNS or a load balancer still leads here."""
        self.draining = True
        if self.listening and seconds:
            logger.info("turning away", extra={"seconds": seconds, "sessions": sessions.active(self.dispatcher.state)})
            await asyncio.sleep(seconds)

    async def drain(self, timeout_s: float, reason: str) -> None:
        """Tell agents to leave and let requests finish; returns when nothing is left or the time is over."""
        self.draining = True
        logger.info("draining", extra={"timeout_s": timeout_s, "sessions": sessions.active(self.dispatcher.state)})
        if not self.listening:
            return
        self.dispatcher.feed(DrainStarted(round(timeout_s * 1000), reason))
        started = time.monotonic()
        while (passed_s := time.monotonic() - started) < timeout_s:
            if passed_s >= MIN_DRAIN_S and self._is_idle():
                break
            await asyncio.sleep(DRAIN_POLL_S)
        await self._core.drain_edge(max(0.0, started + timeout_s - time.monotonic()))
        logger.info("drained", extra={"after_s": round(time.monotonic() - started, 1)})

    def _is_idle(self) -> bool:
        """No visitor of ours waits, nor one whom another exit node carried here."""
        snapshot = self._core.snapshot()
        carried = (link for link in snapshot.links if self.backhaul.is_accepted(link.link))
        return not any(tunnel.in_flight for tunnel in snapshot.tunnels) and not any(one.streams_open for one in carried)

    # --- what others see ---------------------------------------------------------------------------------------------
    def reading(self, *, synced: bool, age_s: float = 0.0) -> metrics.Reading:
        """For /metrics."""
        held, snapshot, links = self.holdings.objects, self._core.snapshot(), self.backhaul.state.links
        regions = {link.id: link.peer.region for link in links.values() if link.is_dialled}
        return metrics.Reading(
            snapshot=snapshot,
            peers=peers.reached(self.backhaul.state),
            peer_links=len(links),
            carried=self._peer_traffic.look(snapshot.links, regions),
            tunnels={
                one.obj.tunnel.uid: (one.obj.tunnel.namespace, one.obj.tunnel.name)
                for one in held.values()
                if one.obj.WhichOneof("object") == "tunnel"
            },
            tcp_tunnels=frozenset(one.obj.tunnel.uid for one in held.values() if one.obj.tunnel.tcp_port),
            sessions=sessions.active(self.dispatcher.state),
            synced=synced,
            age_s=age_s,
            term=self.holdings.term,
            objects=Counter(key.partition("/")[0] for key in held),
            sign_ins=self._signing_in.outcomes,
            certificate_expires_at=0.0 if self._identity is None else self._identity.not_after.timestamp(),
        )
