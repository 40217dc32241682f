"""Where news comes in: watch events, lists, answers to our own writes, changes at exit nodes.

Cache first, then the queue.
On a standby there is no queue: the cache is kept warm and nothing else happens; a new leader goes through everything
anyway. Called by handlers (through the event loop of this process), runtime and Context. Nothing here awaits.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from hawse_operator.control import hub as control_hub
from hawse_operator.k8s import resources
from hawse_operator.policies import facts
from hawse_operator.reconcile import dependents
from hawse_operator.reconcile.cache import Cache, Key, key_of, version_of
from hawse_operator.reconcile.queue import Queue
from hawse_operator.reconcile.world import World

JsonObject = dict[str, Any]


class Intake:
    """The one writer of the cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._world: World | None = None
        self._queue: Queue | None = None

    def lead(self, world: World, queue: Queue) -> None:
        """From now on changes wake keys."""
        self._world, self._queue = world, queue
        world.hub.on_change = self.changed

    def stand_by(self) -> None:
        """From now on changes go into the cache only."""
        self._world = self._queue = None

    def observe(self, resource: resources.Resource, kind: str | None, body: JsonObject) -> None:
        """A watch event. `kind`: ADDED, MODIFIED, DELETED, or None for the initial list."""
        if kind == "DELETED":
            self.gone(resource, key_of(resource, body), version_of(body))
        else:
            self.learn(resource, body)

    def learn(self, resource: resources.Resource, body: JsonObject, *, wakes_itself: bool = True) -> None:
        """An object as it is now. `wakes_itself` False: its own reconciler wrote it and has nothing left to do."""
        key = key_of(resource, body)
        old = self._cache[resource].get(key)
        body = without_managed_fields(body)
        if self._cache[resource].put(key, body):
            self._wake(resource, old, body, without=None if wakes_itself else key)

    def gone(self, resource: resources.Resource, key: Key, version: int) -> None:
        """An object was deleted at `version`."""
        old = self._cache[resource].get(key)
        if self._cache[resource].drop(key, version):
            if resource is resources.PODS and self._world is not None and old is not None:
                pod = facts.read_pod(old)
                self._world.hub.forget_node(pod.fleet, pod.name)
            self._wake(resource, old, None, without=None)

    def listed(
        self, resource: resources.Resource, bodies: Sequence[JsonObject], version: str, *, namespace: str = ""
    ) -> None:
        """A whole list: what it lacks was deleted, whatever the watch said. `namespace`: of that namespace only."""
        for body in bodies:
            self.learn(resource, body)
        present = {key_of(resource, body) for body in bodies}
        at = int(version) if version.isdigit() else 0
        for key in self._cache[resource].names():
            if key not in present and (not namespace or key.namespace == namespace):
                self.gone(resource, key, at)

    def changed(self, change: control_hub.Change) -> None:
        """Exit nodes said something."""
        if self._world is None:
            return
        if isinstance(change, control_hub.SessionsChanged):
            left = self._world.sessions_changed(change.token_uids)
            self._add(dependents.of_tunnels(self._world, left))
        self._add(dependents.of_change(self._world, change))

    def _wake(
        self, resource: resources.Resource, old: JsonObject | None, new: JsonObject | None, *, without: Key | None
    ) -> None:
        if self._world is not None:
            found = dependents.of_object(self._world, resource, old, new)
            self._add(wake for wake in found if wake[0] != without)

    def _add(self, wakes: Iterable[dependents.Wake]) -> None:
        if self._queue is not None:
            for key, delay_s in wakes:
                self._queue.add(key, delay_s=delay_s)


def without_managed_fields(body: JsonObject) -> JsonObject:
    """The object without the bookkeeping of server-side apply: half of its size, and nobody here reads it."""
    metadata = {field: value for field, value in body["metadata"].items() if field != "managedFields"}
    return {**body, "metadata": metadata}
