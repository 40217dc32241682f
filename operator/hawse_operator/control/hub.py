"""Hub: what every exit node of a fleet shall hold, and what each of them answered.

Reconcile publishes objects and reads acknowledgements; the gRPC service attaches one `Outbox` per connected exit node
and reports what it hears. All methods are called on the event loop and return at once. The hub decides nothing about
resources, does no I/O, and forgets everything with the process: after a restart reconcile publishes again and exit
nodes say what they have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hawse_api.ir import control_pb2, ir_pb2
from hawse_operator.control import sign_ins
from hawse_operator.control.outbox import MATERIAL, Desired, Outbox

SNAPSHOT_KEY = "snapshot"
"""Key of the ack that says: everything up to EndOfSnapshot is in force."""
SESSIONS_KEPT_FOR = timedelta(seconds=30)
"""A pod silent for longer no longer counts as carrying sessions (silent for 30 s = left out)."""
NODE_KEPT_FOR = timedelta(minutes=10)
"""A pod that is gone for longer is forgotten, with its acks."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """One exit node process as the operator knows it."""

    exit_node: str
    region: str
    pod: str
    version: str
    connected: bool
    snapshot_done: bool
    """It acknowledged everything up to EndOfSnapshot of its current or last stream."""
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class AckView:
    """What a pod said about one object; compare `hash` with `Hub.hash_of`."""

    hash: str
    error: str
    """Empty: in force. Otherwise the data plane's own words."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """One agent's session on one exit node."""

    token_uid: str
    agent_id: str
    agent_version: str
    transport: str
    rtt_ms: int
    connected_at: datetime
    tunnel_uids: tuple[str, ...]
    hostname: str
    pod: str
    exit_node: str
    region: str


@dataclass(frozen=True, slots=True)
class TargetView:
    """A Tunnel whose standby answers at an exit node."""

    tunnel_uid: str
    reason: str
    exit_node: str


@dataclass(frozen=True, slots=True)
class AcksChanged:
    """Exit nodes answered for these objects; or what they hold became known when they connected."""

    fleet: str
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class NodesChanged:
    """An exit node of the fleet connected, finished its snapshot, left or was forgotten."""

    fleet: str


@dataclass(frozen=True, slots=True)
class SessionsChanged:
    """Sessions of these AgentTokens appeared, changed or ended."""

    fleet: str
    token_uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class TargetsChanged:
    """These Tunnels turned to their standby or back, at an exit node."""

    fleet: str
    tunnel_uids: frozenset[str]


Change = AcksChanged | NodesChanged | SessionsChanged | TargetsChanged


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who an exit node process is: proved by its ServiceAccount token, later by its certificate."""

    exit_node: str
    pod: str
    region: str
    fleet: str
    domain: str


@dataclass(slots=True)
class _Node:
    identity: NodeIdentity
    version: str
    last_seen: datetime
    outbox: Outbox | None = None
    snapshot_done: bool = False
    acks: dict[str, AckView] = field(default_factory=dict)
    sessions: tuple[SessionView, ...] = ()
    standbys: tuple[TargetView, ...] = ()


@dataclass(slots=True)
class _Fleet:
    desired: Desired = field(default_factory=Desired)
    nodes: dict[str, _Node] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    """Sign-ins of visitors that are over."""

    def outboxes(self) -> Iterable[Outbox]:
        return [node.outbox for node in self.nodes.values() if node.outbox is not None]


def hash_object(obj: ir_pb2.Object) -> str:
    """Hex SHA-256 of the deterministic serialisation: equal content, equal hash."""
    return hashlib.sha256(obj.SerializeToString(deterministic=True)).hexdigest()


def hash_material(*parts: bytes) -> str:
    """Hex SHA-256 of a certificate and its key, or of other secret bytes (control.proto, Material)."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _ignore(_change: Change) -> None:
    """What happens to changes until reconcile has set `on_change`."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


MAX_REASON = 200


class Hub:
    """Desired objects per fleet, connected exit nodes, their acks and sessions."""

    on_change: Callable[[Change], None]
    """Set by reconcile; called synchronously, must not block. Keys repeat: feed a queue that drops duplicates."""

    def __init__(self, clock: Callable[[], datetime] = _utc_now) -> None:
        self._clock = clock
        self._fleets: dict[str, _Fleet] = {}
        self.on_change = _ignore

    # --- reconcile's side --------------------------------------------------------------------------------------------
    def publish(self, fleet: str, obj: ir_pb2.Object) -> None:
        """Upsert an object for all exit nodes of the fleet; nothing happens if its hash is unchanged."""
        if not obj.key or obj.key.startswith(MATERIAL):
            raise ValueError(f"an ir.Object needs a key that is not material's, got {obj.key!r}")
        state = self._fleet(fleet)
        if state.desired.put_object(obj, hash_object(obj)):
            for outbox in state.outboxes():
                outbox.mark(obj.key)

    def retract(self, fleet: str, key: str) -> None:
        """Take an object, or material, away from all exit nodes of the fleet; unknown keys are ignored."""
        state = self._fleet(fleet)
        if state.desired.drop(key):
            for outbox in state.outboxes():
                outbox.mark(key)

    def put_certificate(self, fleet: str, id: str, chain_pem: bytes, key_pem: bytes) -> None:  # noqa: A002
        """Give all exit nodes of the fleet a certificate with its key; `id` is "certificate/<name>"."""
        digest = hash_material(chain_pem, key_pem)
        self._put(fleet, control_pb2.Material(id=id, sha256=digest, chain_pem=chain_pem, key_pem=key_pem))

    def put_material(self, fleet: str, id: str, data: bytes) -> None:  # noqa: A002
        """Give all exit nodes of the fleet secret bytes that are no certificate."""
        self._put(fleet, control_pb2.Material(id=id, sha256=hash_material(data), data=data))

    def complete(self, fleet: str) -> None:
        """The fleet's first snapshot is whole: from now on exit nodes get EndOfSnapshot. Idempotent."""
        state = self._fleet(fleet)
        state.desired.complete = True
        for outbox in state.outboxes():
            outbox.wake()

    def forget_fleet(self, fleet: str) -> None:
        """A Fleet was deleted: drop what it desired; its exit nodes are told to leave."""
        state = self._fleets.pop(fleet, None)
        if state is not None:
            for outbox in state.outboxes():
                outbox.end("the Fleet was deleted")

    def forget_node(self, fleet: str, pod: str) -> None:
        """A pod does not exist any more: drop its acks and sessions without waiting for time to pass."""
        node = self._fleet(fleet).nodes.get(pod)
        if node is None:
            return
        if node.outbox is not None:
            node.outbox.end("the pod was deleted")
        self._drop_node(fleet, node)

    def nodes(self, fleet: str) -> Mapping[str, NodeView]:
        """Pod name -> what is known of it; pods that left stay for ten minutes with connected=False."""
        return {
            pod: NodeView(
                node.identity.exit_node,
                node.identity.region,
                pod,
                node.version,
                node.outbox is not None,
                node.snapshot_done,
                node.last_seen,
            )
            for pod, node in self._fleet(fleet).nodes.items()
        }

    def acks(self, fleet: str, key: str) -> Mapping[str, AckView]:
        """Pod name -> its last word on an object; after a removal empty once no pod holds it."""
        return {pod: node.acks[key] for pod, node in self._fleet(fleet).nodes.items() if key in node.acks}

    def hash_of(self, fleet: str, key: str) -> str | None:
        """Hash of the object that exit nodes shall hold; None if there is none."""
        return self._fleet(fleet).desired.hash_of(key)

    def sessions(self, fleet: str) -> Sequence[SessionView]:
        """All sessions of agents on the fleet's exit nodes, as last reported."""
        return [session for node in self._fleet(fleet).nodes.values() for session in node.sessions]

    def standbys(self, fleet: str, tunnel_uid: str) -> Sequence[TargetView]:
        """Exit nodes at which a Tunnel's standby answers, as last reported."""
        nodes = self._fleet(fleet).nodes.values()
        return [view for node in nodes for view in node.standbys if view.tunnel_uid == tunnel_uid]

    # --- the gRPC service's side -------------------------------------------------------------------------------------
    def connect(self, identity: NodeIdentity, hello: control_pb2.NodeHello, wake: Callable[[], None]) -> Outbox:
        """A node said hello: its outbox, filled with what it lacks. The pod's older outbox, if any, is ended."""
        state = self._fleet(identity.fleet)
        old = state.nodes.get(identity.pod)
        if old is not None and old.outbox is not None:
            old.outbox.end("a newer stream of the same pod took over")
        outbox = Outbox(state.desired, dict(hello.have), wake)
        acks = {key: AckView(value, "") for key, value in hello.have.items() if not key.startswith(MATERIAL)}
        node = _Node(identity, hello.version, self._clock(), outbox, acks=acks)
        if old is not None:
            node.sessions, node.standbys = old.sessions, old.standbys
        state.nodes[identity.pod] = node
        self.on_change(NodesChanged(identity.fleet))
        if acks:
            self.on_change(AcksChanged(identity.fleet, frozenset(acks)))
        return outbox

    def disconnect(self, identity: NodeIdentity, outbox: Outbox) -> None:
        """The stream of this outbox ended. An outbox that was replaced changes nothing."""
        node = self._node(identity, outbox)
        if node is not None:
            node.outbox = None
            node.last_seen = self._clock()
            self.on_change(NodesChanged(identity.fleet))

    def seen(self, identity: NodeIdentity, outbox: Outbox) -> None:
        """Anything came from the node."""
        node = self._node(identity, outbox)
        if node is not None:
            node.last_seen = self._clock()

    def acknowledge(self, identity: NodeIdentity, outbox: Outbox, ack: control_pb2.Ack) -> None:
        """The node put an object in force, removed it, refused it, or finished its snapshot."""
        node = self._node(identity, outbox)
        if node is None:
            return
        if ack.key == SNAPSHOT_KEY:
            node.snapshot_done = True
            self.on_change(NodesChanged(identity.fleet))
            return
        if ack.hash or ack.error:
            if ack.key not in node.acks and not outbox.knows(ack.key):
                return  # never asked for: a node cannot make the table grow
            node.acks[ack.key] = AckView(ack.hash, ack.error)
        else:
            node.acks.pop(ack.key, None)
        self.on_change(AcksChanged(identity.fleet, frozenset({ack.key})))

    def report(self, identity: NodeIdentity, outbox: Outbox, report: control_pb2.SessionReport) -> None:
        """All sessions of the node, replacing what was known of it."""
        node = self._node(identity, outbox)
        if node is None:
            return
        before = node.sessions
        node.sessions = tuple(_session_view(identity, session) for session in report.sessions)
        changed = {session.token_uid for session in set(before) ^ set(node.sessions)}
        if changed:
            self.on_change(SessionsChanged(identity.fleet, frozenset(changed)))

    def report_targets(self, identity: NodeIdentity, outbox: Outbox, report: control_pb2.TargetReport) -> None:
        """What answers at the node, of Tunnels with a standby; replaces what was known of it."""
        node = self._node(identity, outbox)
        if node is None:
            return
        before = node.standbys
        node.standbys = tuple(
            TargetView(target.tunnel_uid, target.reason[:MAX_REASON], identity.exit_node)
            for target in report.targets
            if target.standby
        )
        changed = {view.tunnel_uid for view in set(before) ^ set(node.standbys)}
        if changed:
            self.on_change(TargetsChanged(identity.fleet, frozenset(changed)))

    def end_sign_ins(self, identity: NodeIdentity, outbox: Outbox, said: control_pb2.RevokeSessions) -> None:
        """Sign-ins of visitors are over, as the node knows: all nodes of the fleet have to."""
        if self._node(identity, outbox) is None:
            return
        ended = self._fleet(identity.fleet).ended
        if sign_ins.merge(ended, said.ended, now=int(self._clock().timestamp())):
            self.publish(identity.fleet, ir_pb2.Object(key=sign_ins.KEY, revoked=ir_pb2.Revoked(ended=ended)))

    def end_all(self, reason: str) -> None:
        """This operator stops serving: every stream sends GoAway and closes."""
        for state in self._fleets.values():
            for outbox in state.outboxes():
                outbox.end(reason)

    def sweep(self) -> None:
        """Forget sessions of pods silent for 30 s, and pods that left ten minutes ago. Call every few seconds."""
        now = self._clock()
        for fleet, state in self._fleets.items():
            for node in list(state.nodes.values()):
                if node.outbox is not None:
                    continue
                if now - node.last_seen >= NODE_KEPT_FOR:
                    self._drop_node(fleet, node)
                elif now - node.last_seen >= SESSIONS_KEPT_FOR and (node.sessions or node.standbys):
                    self._drop_sessions(fleet, node)

    # --- inside ------------------------------------------------------------------------------------------------------
    def _put(self, fleet: str, material: control_pb2.Material) -> None:
        state = self._fleet(fleet)
        if state.desired.put_material(material):
            for outbox in state.outboxes():
                outbox.mark(MATERIAL + material.id)

    def _fleet(self, name: str) -> _Fleet:
        return self._fleets.setdefault(name, _Fleet())

    def _node(self, identity: NodeIdentity, outbox: Outbox) -> _Node | None:
        node = self._fleet(identity.fleet).nodes.get(identity.pod)
        return node if node is not None and node.outbox is outbox else None

    def _drop_sessions(self, fleet: str, node: _Node) -> None:
        gone = frozenset(session.token_uid for session in node.sessions)
        turned = frozenset(view.tunnel_uid for view in node.standbys)
        node.sessions, node.standbys = (), ()
        if gone:
            self.on_change(SessionsChanged(fleet, gone))
        if turned:
            self.on_change(TargetsChanged(fleet, turned))

    def _drop_node(self, fleet: str, node: _Node) -> None:
        self._fleet(fleet).nodes.pop(node.identity.pod, None)
        self._drop_sessions(fleet, node)
        if node.acks:
            self.on_change(AcksChanged(fleet, frozenset(node.acks)))
        self.on_change(NodesChanged(fleet))


def _session_view(identity: NodeIdentity, session: control_pb2.Session) -> SessionView:
    return SessionView(
        token_uid=session.token_uid,
        agent_id=session.agent_id,
        agent_version=session.agent_version,
        transport=session.transport,
        rtt_ms=session.rtt_ms,
        connected_at=datetime.fromtimestamp(max(0, min(session.connected_at, 253402300799)), UTC),
        tunnel_uids=tuple(session.tunnel_uids),
        hostname=session.hostname,
        pod=identity.pod,
        exit_node=identity.exit_node,
        region=identity.region,
    )
