"""An exit node under an operator: starts, wires and ends everything. Shell.

Start: what was kept is restored and served at once; without it the node enrols, receives its configuration and serves
at EndOfSnapshot. End, on SIGTERM or SIGINT: readiness off, served on until nobody is led here any more, drain (see
`node`), the operator's stream, the core. kill -9 loses nothing that the operator or the agents would not bring again.
Called by `__main__`.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from datetime import UTC, datetime

from hawse_api.ir import control_pb2
from hawse_exitnode import keys
from hawse_exitnode.admin import serve_admin
from hawse_exitnode.metrics import build_registry
from hawse_exitnode.node import Listeners, Node
from hawse_exitnode.operator_link import OperatorLink
from hawse_exitnode.session_state import NodeFacts, OperatorChanged, RelayAnswered
from hawse_exitnode.settings import Settings
from hawse_exitnode.staleness_guard import StalenessGuard
from hawse_exitnode.store import Kept, Store
from hawse_tunnel.core import TunnelCore

logger = logging.getLogger(__name__)

SAVE_PAUSE_S = 1.0
"""Changes within it are written once; what is lost in a crash the operator sends again."""

SAVE_RETRY_S = 5.0
"""After a write that failed: the disk may have room again, and the next change may be days away."""


class Supervisor:
    """Owner of the process's parts."""

    def __init__(self, settings: Settings, core: TunnelCore, *, version: str) -> None:
        self._settings = settings
        self._store = Store(settings.state_dir)
        self._keeps = True
        """The last write to the state directory succeeded."""
        self._changed = asyncio.Event()
        identity = self._kept_identity()
        facts = NodeFacts(version=version, exit_node="", region="", pod=settings.pod_name, domain="")
        listeners = Listeners(
            settings.pod_ip, settings.https_port, settings.agents_port, settings.admin_port, http3=settings.http3
        )
        self.node = Node(core, listeners, facts, relay=self._relay, static=False, state_dir=settings.state_dir)
        self.guard = StalenessGuard(self.node, self._store)
        self.link = OperatorLink(settings, self.node.holdings, self, identity, version=version)
        if identity is not None:
            self.node.use_identity(identity)
        self._restore()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT.

        Raises:
            StartError: a port is taken, or the data plane failed.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stop.set)
        self.node.check_ports()
        registry = build_registry(lambda: self.node.reading(synced=self.link.synced, age_s=self.guard.age_s))
        admin = serve_admin(self._settings.pod_ip, self._settings.admin_port, reasons=self.reasons, registry=registry)
        async with admin, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.node.dispatcher.run(), name="core-events"),
                group.create_task(self.node.run_directory(), name="directory"),
                group.create_task(self.node.run_ticks(), name="ticks"),
                group.create_task(self.node.run_backhaul(), name="backhaul"),
                group.create_task(self.node.run_announcements(), name="announcements"),
                group.create_task(self.node.run_signing_in(), name="signing-in"),
                group.create_task(self._run_listeners(), name="listeners"),
                group.create_task(self._run_saves(), name="saves"),
                group.create_task(self.link.run(), name="operator"),
                group.create_task(self.guard.run(), name="staleness"),
            ]
            await stop.wait()
            await self.node.turn_away(self._settings.min_drain_s)
            await self.node.drain(self._settings.drain_timeout_s, "the pod is stopped")
            for task in tasks:
                task.cancel()

    def reasons(self) -> Sequence[str]:
        """Why the node is not ready; empty = ready. The operator's absence is one only once no visitor is served."""
        if self.node.draining:
            return ["the exit node is draining"]
        if self.node.listening:
            if self.guard.is_too_old and not self.node.holdings.dials_itself():
                return [f"the operator has been silent for too long to serve agents: {self.link.trouble}"]
            return []
        if self.link.identity is None:
            return [f"not enrolled: {self.link.trouble}"]
        if not self.node.holdings.complete:
            return [f"no configuration yet: {self.link.trouble or 'the operator is sending it'}"]
        return ["the listeners are not up yet"]

    # --- the operator link's owner -----------------------------------------------------------------------------------
    def on_identity(self, identity: keys.NodeIdentity) -> None:
        """Enrolled or renewed."""
        self.node.use_identity(identity)
        self._changed.set()

    def on_synced(self, synced: bool) -> None:
        """The configuration is in force, or the stream ended."""
        self.node.dispatcher.feed(OperatorChanged(synced))
        self.guard.on_synced(synced)
        self._changed.set()

    def on_relay_reply(self, reply: control_pb2.RelayReply) -> None:
        """For an agent."""
        self.node.dispatcher.feed(RelayAnswered(reply))

    def session_report(self) -> control_pb2.SessionReport:
        """For the operator."""
        return self.node.dispatcher.session_report()

    def target_report(self) -> control_pb2.TargetReport:
        """For the operator."""
        return self.node.dispatcher.target_report()

    def ended_report(self) -> control_pb2.RevokeSessions:
        """For the operator."""
        return self.node.ended_report()

    # --- inside ------------------------------------------------------------------------------------------------------
    def _relay(self, request: control_pb2.RelayRequest) -> bool:
        return self.link.relay(request)

    async def _run_listeners(self) -> None:
        """Listeners come up once there is an identity and a whole configuration."""
        while True:
            if self.link.identity is not None and self.node.holdings.complete:
                await self.node.listen()
            await self._changed.wait()
            self._changed.clear()

    async def _run_saves(self) -> None:
        """Keep what changed, and what could not be kept before; writes are in a thread, at most one a second."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._keeps else SAVE_RETRY_S):
                    await self.node.unsaved.wait()
            await asyncio.sleep(SAVE_PAUSE_S)
            self.node.unsaved.clear()
            await self._save()

    async def _save(self) -> None:
        identity, holdings, heard_unix = self.link.identity, self.node.holdings, self.guard.heard_unix()
        kept = None
        if holdings.complete:
            kept = Kept(holdings.term, dict(holdings.objects), list(holdings.materials.values()))

        def write() -> None:
            if identity is not None:
                self._store.save_identity(identity)
            if heard_unix is not None:
                self._store.save_heard(heard_unix)  # first: a configuration without it is of an unknown age
            if kept is not None:
                self._store.save_configuration(kept)

        try:
            await asyncio.to_thread(write)
            if not self._keeps:
                logger.info("the configuration is kept again", extra={"directory": str(self._settings.state_dir)})
            self._keeps = True
        except OSError as exc:
            if self._keeps:  # once, not at every change
                logger.warning(
                    "cannot keep the configuration: after a restart this node has what it kept before",
                    extra={"directory": str(self._settings.state_dir), "cause": str(exc)},
                )
            self._keeps = False

    def _kept_identity(self) -> keys.NodeIdentity | None:
        identity = self._store.load_identity()
        if identity is None:
            return None
        if identity.pod != self._settings.pod_name:
            logger.warning("what is kept is another pod's and is forgotten", extra={"pod": identity.pod})
            self._store.forget()
            return None
        if not identity.is_valid(datetime.now(UTC)):
            logger.warning("the kept certificate has expired; enrolling anew")
            return None
        return identity

    def _restore(self) -> None:
        kept = self._store.load_configuration()
        if kept is None:
            return
        for error in self.node.holdings.restore(kept.objects, kept.materials, term=kept.term):
            logger.warning("a kept object is not accepted any more", extra={"error": error})
        logger.info("restored the kept configuration", extra={"objects": len(kept.objects), "term": kept.term})
        self.guard.restore()
