"""Holdings: the configuration that is in force on this node, and what the data plane said to each part of it.

Applies upserts at once; removals of what a snapshot does not name take effect at its end (design 0002, 2). A bad edit
of a tunnel keeps its last good form, except when who may serve or visit it changed: then the tunnel is closed (design
0002, 10). An access policy has no last good form.
Pure but for the plane it is given. Called by `control` and `static`; kept over a restart of the container by `store`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hawse_api import names
from hawse_api.ir import control_pb2, ir_pb2
from hawse_exitnode.directory import Directory, build_directory
from hawse_exitnode.peer_state import Peer

FEATURES: frozenset[str] = frozenset({names.FEATURE_ACCESS, names.FEATURE_SHIELD, names.FEATURE_TCP})
"""Names that Tunnel.required_features may hold on this version (route.rs of the edge has the same)."""
MATERIAL = "material/"
FLEET = "fleet"
_CLOSED = names.BY_NAME["TUNNEL_CLOSED"]
CERTIFICATE = "certificate/"
_ORDER = {"fleet": 0, "token": 1, "access": 2, "tunnel": 3}


class Plane(Protocol):
    """The part of TunnelCore that holds configuration."""

    def apply(self, obj: ir_pb2.Object) -> str:
        """Upsert: "" or why it was refused."""

    def remove(self, key: str) -> None:
        """Remove by key."""

    def put_certificate(self, id: str, chain_pem: bytes, key_pem: bytes) -> str:  # noqa: A002
        """Install: "" or why it was refused."""

    def put_material(self, id: str, data: bytes) -> str:  # noqa: A002
        """Install: "" or why what names it can't be enforced."""


@dataclass(frozen=True, slots=True)
class Held:
    """One object that is in force."""

    obj: ir_pb2.Object
    hash: str
    """As the operator computed it; "" if another form than the wanted one is in force: it is asked for again."""


@dataclass(slots=True)
class Holdings:
    """Everything the node holds."""

    plane: Plane
    version: str
    features: frozenset[str] = FEATURES
    on_change: Callable[[], None] = lambda: None
    """Something came, changed or went: the directory and the file want renewal."""
    term: int = 0
    """Highest term seen."""
    complete: bool = False
    """A whole snapshot was in force once: the node may serve."""
    objects: dict[str, Held] = field(default_factory=dict)
    materials: dict[str, control_pb2.Material] = field(default_factory=dict)
    _directory: Directory = field(default_factory=Directory)

    @property
    def max_staleness_s(self) -> float:
        """How long the operator may be silent before agents are sent away; 0: there is no bound."""
        held = self.objects.get(FLEET)
        return held.obj.fleet.max_staleness_ms / 1000 if held is not None else 0.0

    def dials_itself(self) -> bool:
        """Whether a tunnel leads to a Service or URL: it needs no agent."""
        tunnels = (held.obj.tunnel for held in self.objects.values() if held.obj.WhichOneof("object") == "tunnel")
        return any(tunnel.HasField("direct") or tunnel.standby.HasField("direct") for tunnel in tunnels)

    def have(self) -> dict[str, str]:
        """NodeHello.have."""
        held = {key: held.hash for key, held in self.objects.items() if held.hash}
        return held | {MATERIAL + name: material.sha256 for name, material in self.materials.items()}

    def upsert(self, obj: ir_pb2.Object, digest: str) -> control_pb2.Ack:
        """Put an object in force, or say why not."""
        error = missing_features(obj, self.features, self.version)
        if error:
            self._close(obj)
        else:
            error = self.plane.apply(obj)
            if not error:
                self.objects[obj.key] = Held(obj, digest)
            elif obj.WhichOneof("object") == "access":
                self.objects[obj.key] = Held(obj, "")  # it refuses everybody, after a restart too
            elif must_close(self.objects.get(obj.key), obj):
                self._close(obj)
                error = f"{error}; the tunnel is closed, because who may serve it has changed"
        self.on_change()
        return control_pb2.Ack(key=obj.key, hash=digest, error=error)

    def remove(self, key: str) -> control_pb2.Ack:
        """Take an object or material out of force."""
        self.plane.remove(key)
        if key.startswith(MATERIAL):
            self.materials.pop(key.removeprefix(MATERIAL), None)
        else:
            self.objects.pop(key, None)
        self.on_change()
        return control_pb2.Ack(key=key)

    def put_material(self, material: control_pb2.Material) -> control_pb2.Ack:
        """Install secret bytes; a refused certificate leaves the last good one in place, anything else counts."""
        if material.id.startswith(CERTIFICATE):
            error = self.plane.put_certificate(material.id, material.chain_pem, material.key_pem)
        else:
            error = self.plane.put_material(material.id, material.data)
        if not error or not material.id.startswith(CERTIFICATE):
            self.materials[material.id] = material
            self.on_change()
        return control_pb2.Ack(key=MATERIAL + material.id, hash=material.sha256, error=error)

    def end_of_snapshot(self, keys: Iterable[str]) -> list[control_pb2.Ack]:
        """Remove what the snapshot did not name; from now on the configuration is whole."""
        named = set(keys)
        stale = [key for key in self.objects if key not in named]
        stale += [MATERIAL + name for name in self.materials if MATERIAL + name not in named]
        acks = [self.remove(key) for key in stale]
        self.complete = True
        self.on_change()
        return acks

    def replace_all(self, objects: Iterable[ir_pb2.Object], materials: Iterable[control_pb2.Material]) -> list[str]:
        """Bring everything in line with a whole configuration (a file's): errors, each with its key."""
        materials, objects = list(materials), sorted(objects, key=apply_order)
        acks = [self.put_material(material) for material in materials] + [self.upsert(obj, "") for obj in objects]
        self.end_of_snapshot([obj.key for obj in objects] + [MATERIAL + material.id for material in materials])
        return [f"{ack.key}: {ack.error}" for ack in acks if ack.error]

    def restore(
        self, objects: Mapping[str, Held], materials: Iterable[control_pb2.Material], *, term: int
    ) -> list[str]:
        """Put in force what was kept over a restart; errors, each with its key."""
        acks = [self.put_material(material) for material in materials]
        ordered = sorted(objects.values(), key=lambda held: apply_order(held.obj))
        acks += [self.upsert(held.obj, held.hash) for held in ordered]
        self.term, self.complete = term, True
        self.on_change()
        return [f"{ack.key}: {ack.error}" for ack in acks if ack.error]

    def directory(self) -> Directory:
        """What agents may serve now."""
        self._directory = build_directory((held.obj for held in self.objects.values()), self._directory)
        return self._directory

    def peers(self) -> tuple[Peer, ...]:
        """The pods of the fleet's exit nodes, this one too."""
        held = (one.obj for one in self.objects.values())
        found = (Peer.of(obj.peer) for obj in held if obj.WhichOneof("object") == "peer")
        return tuple(sorted(found, key=lambda peer: peer.uid))

    def _close(self, obj: ir_pb2.Object) -> None:
        """Serve 503 in place of a form that may not or cannot be served; nothing if not even that is accepted."""
        closed = closed_form(obj)
        if self.plane.apply(closed):
            self.plane.remove(obj.key)
            self.objects.pop(obj.key, None)
        else:
            self.objects[obj.key] = Held(closed, "")


def apply_order(obj: ir_pb2.Object) -> tuple[int, str]:
    """The fleet before tokens before tunnels."""
    return _ORDER.get(obj.key.partition("/")[0], len(_ORDER)), obj.key


def missing_features(obj: ir_pb2.Object, features: frozenset[str], version: str) -> str:
    """Which features of a tunnel this node lacks, or "": it never serves without a check that it does not know."""
    if obj.WhichOneof("object") != "tunnel":
        return ""
    lacking = sorted(set(obj.tunnel.required_features) - features)
    if not lacking:
        return ""
    return f"exit node {version} lacks {', '.join(lacking)}; the tunnel is closed here. Update the exit node."


def must_close(before: Held | None, new: ir_pb2.Object) -> bool:
    """Whether the last good form may not go on.

    Owner, token, hostname or who may come in changed, or the tunnel was to be closed.
    """
    if before is None or new.WhichOneof("object") != "tunnel" or before.obj.WhichOneof("object") != "tunnel":
        return False
    old = before.obj.tunnel
    return (
        _owner(old) != _owner(new.tunnel)
        or sorted(old.required_features) != sorted(new.tunnel.required_features)
        or sorted(old.access_policy_uids) != sorted(new.tunnel.access_policy_uids)
        or new.tunnel.HasField("closed")
    )


def closed_form(obj: ir_pb2.Object) -> ir_pb2.Object:
    """The same tunnel, closed."""
    closed = ir_pb2.Object()
    closed.CopyFrom(obj)
    del closed.tunnel.required_features[
        :
    ]  # a closed tunnel needs none, and the data plane refuses what it does not know
    closed.tunnel.closed.code = _CLOSED.code
    closed.tunnel.closed.message = "This tunnel is closed on this exit node."
    return closed


def _owner(tunnel: ir_pb2.Tunnel) -> tuple[str, ...]:
    tokens = tunnel.agent.token_uid, tunnel.standby.agent.token_uid
    return tunnel.namespace, tunnel.hostname, *tokens, str(tunnel.holder_generation)
