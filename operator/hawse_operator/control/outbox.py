"""Outbox: what one connected exit node still has to be told, coalesced by key.

A node that reads slowly costs one dictionary entry per object that changed, however often it changed, and never holds
up another node. The gRPC service takes messages one at a time, in the only safe order: material before the objects
that name it, everything before EndOfSnapshot. Made by the hub, used by `stream`; no I/O here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hawse_api.ir import control_pb2, ir_pb2

MATERIAL = "material/"
"""Prefix of material's keys in NodeHello.have and EndOfSnapshot.keys."""
MAX_REPLIES = 256
"""Answers to relays and renewals waiting for one node; beyond it the oldest is dropped and the agent asks again."""


class Desired:
    """What all exit nodes of one fleet shall hold. Owned by the hub, read by outboxes."""

    def __init__(self) -> None:
        self.complete = False
        self._objects: dict[str, tuple[str, ir_pb2.Object]] = {}
        self._materials: dict[str, control_pb2.Material] = {}

    def put_object(self, obj: ir_pb2.Object, digest: str) -> bool:
        """Store a copy; False if it was held already."""
        if self.hash_of(obj.key) == digest:
            return False
        copy = ir_pb2.Object()
        copy.CopyFrom(obj)
        self._objects[obj.key] = (digest, copy)
        return True

    def drop(self, key: str) -> bool:
        """Drop an object or, by "material/<id>", material. False if it was not held."""
        if key.startswith(MATERIAL):
            return self._materials.pop(key.removeprefix(MATERIAL), None) is not None
        return self._objects.pop(key, None) is not None

    def put_material(self, material: control_pb2.Material) -> bool:
        """False if it was held already."""
        old = self._materials.get(material.id)
        if old is not None and old.sha256 == material.sha256:
            return False
        self._materials[material.id] = material
        return True

    def hash_of(self, key: str) -> str | None:
        """Hash of an object or, for "material/<id>", of material."""
        if key.startswith(MATERIAL):
            material = self._materials.get(key.removeprefix(MATERIAL))
            return None if material is None else material.sha256
        held = self._objects.get(key)
        return None if held is None else held[0]

    def all_keys(self) -> list[str]:
        """All keys: material, then the fleet and tokens before the tunnels (alphabetical does it)."""
        return [MATERIAL + id_ for id_ in sorted(self._materials)] + sorted(self._objects)

    def message(self, key: str) -> control_pb2.FromOperator | None:
        """The upsert or the material of a key; None if it is not desired any more."""
        if key.startswith(MATERIAL):
            material = self._materials.get(key.removeprefix(MATERIAL))
            return None if material is None else control_pb2.FromOperator(material=material)
        held = self._objects.get(key)
        return None if held is None else control_pb2.FromOperator(upsert=held[1], hash=held[0])


class Outbox:
    """What one node has still to be told."""

    def __init__(self, desired: Desired, have: dict[str, str], wake: Callable[[], None]) -> None:
        self._desired = desired
        self._held = have
        """Key -> hash that the node holds or was sent."""
        self._wake = wake
        self._materials: dict[str, None] = {}
        self._objects: dict[str, None] = {}
        self._replies: deque[control_pb2.FromOperator] = deque(maxlen=MAX_REPLIES)
        self._snapshot_sent = False
        self._end_reason: str | None = None
        for key in desired.all_keys():
            self.mark(key)

    @property
    def end_reason(self) -> str | None:
        """Why the stream has to end now; None while it may live."""
        return self._end_reason

    def end(self, reason: str) -> None:
        """Ask the stream to send GoAway and close."""
        if self._end_reason is None:
            self._end_reason = reason
        self._wake()

    def wake(self) -> None:
        """Something that is not a key changed."""
        self._wake()

    def knows(self, key: str) -> bool:
        """Whether the node was ever told about the key, or said that it has it."""
        return key in self._held

    def mark(self, key: str) -> None:
        """A key changed; whatever it is when its turn comes is sent."""
        digest = self._desired.hash_of(key)
        pending = self._materials if key.startswith(MATERIAL) else self._objects
        if self._held.get(key) == digest:
            pending.pop(key, None)  # changed and changed back, or the node has it from before
        else:
            pending[key] = None
            self._wake()

    def reply(self, message: control_pb2.FromOperator) -> None:
        """Queue the answer to something that the node asked."""
        self._replies.append(message)
        self._wake()

    def take(self) -> control_pb2.FromOperator | None:
        """The next message without term and sequence; None if there is nothing to say now."""
        if self._replies:
            return self._replies.popleft()
        message = self._take_key(self._materials) or self._take_key(self._objects)
        if message is not None:
            return message
        if self._desired.complete and not self._snapshot_sent:
            self._snapshot_sent = True
            return control_pb2.FromOperator(end_of_snapshot=control_pb2.EndOfSnapshot(keys=self._desired.all_keys()))
        return None

    def _take_key(self, pending: dict[str, None]) -> control_pb2.FromOperator | None:
        while pending:
            key = next(iter(pending))
            del pending[key]
            message = self._desired.message(key)
            if message is not None:
                self._held[key] = self._desired.hash_of(key) or ""
                return message
            if self._held.pop(key, None) is not None and self._snapshot_sent:
                return control_pb2.FromOperator(remove=key)
            # Before EndOfSnapshot removals are said by its list of keys.
        return None
