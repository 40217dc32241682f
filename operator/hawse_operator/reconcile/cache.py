"""What the operator knows of the cluster: plain dicts by resource, filled by watch events, lists and our own writes.

Newest resourceVersion wins (comparable as integers within one resource, KEP-5504), so it does not matter in which
order an event, a list and the answer to a write arrive. Knows nothing of tunnels beyond the indexes it keeps. Called
by intake (fill) and by the reconcilers (read). All calls are made on the event loop; nothing awaits.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, NamedTuple

from hawse_operator.k8s.resources import Resource

JsonObject = dict[str, Any]
GONE_REMEMBERED = 10_000
"""Deletions that are remembered, so that an older list does not bring the dead back."""


class Key(NamedTuple):
    """One object: what the queue holds and reconcilers get."""

    plural: str
    namespace: str
    name: str


def key_of(resource: Resource, body: Mapping[str, Any]) -> Key:
    """The key of an object as the API server sent it."""
    metadata = body.get("metadata") or {}
    return Key(resource.plural, metadata.get("namespace", ""), metadata["name"])


def version_of(body: Mapping[str, Any]) -> int:
    """ResourceVersion as a number; 0 if there is none."""
    text = str((body.get("metadata") or {}).get("resourceVersion", "") or "0")
    return int(text) if text.isdigit() else 0


IndexFn = Callable[[JsonObject], Iterable[str]]


class Store:
    """All objects of one resource."""

    def __init__(self, indexes: Mapping[str, IndexFn] | None = None) -> None:
        self._objects: dict[Key, JsonObject] = {}
        self._gone: OrderedDict[Key, int] = OrderedDict()
        self._index_fns = dict(indexes or {})
        self._indexes: dict[str, defaultdict[str, set[Key]]] = {name: defaultdict(set) for name in self._index_fns}
        self.revision = 0
        """Counts changes: lets readers keep what they derived until something changed."""

    def __len__(self) -> int:
        return len(self._objects)

    def bodies(self) -> list[JsonObject]:
        """All objects."""
        return list(self._objects.values())

    def names(self) -> tuple[Key, ...]:
        """All keys, as a copy: callers may change the store while they go through it."""
        return tuple(self._objects)

    def get(self, key: Key) -> JsonObject | None:
        """The newest known form of an object; callers do not change it."""
        return self._objects.get(key)

    def put(self, key: Key, body: JsonObject) -> bool:
        """Take in an object. False: what is known is as new or newer."""
        version = version_of(body)
        known = self._objects.get(key)
        if known is not None and version <= version_of(known):
            return False
        if known is None and version <= self._gone.get(key, -1):
            return False
        if known is not None:
            self._unindex(key, known)
        self._objects[key] = body
        self.revision += 1
        self._gone.pop(key, None)
        for name, function in self._index_fns.items():
            for value in function(body):
                self._indexes[name][value].add(key)
        return True

    def drop(self, key: Key, version: int) -> bool:
        """Take in a deletion that happened at `version`. False: it was not known, or came back since."""
        known = self._objects.get(key)
        if known is None:
            self._remember(key, version)
            return False
        if version_of(known) > version:
            return False
        del self._objects[key]
        self.revision += 1
        self._unindex(key, known)
        self._remember(key, max(version, version_of(known)))
        return True

    def select(self, index: str, value: str) -> list[JsonObject]:
        """Objects that have `value` in an index, in the order of their names."""
        return [self._objects[key] for key in sorted(self._indexes[index].get(value, ()))]

    def members(self, index: str, value: str) -> Set[Key]:
        """Keys of the objects that have `value` in an index, in no order; for now only: the store goes on."""
        return self._indexes[index].get(value, frozenset())

    def _unindex(self, key: Key, body: JsonObject) -> None:
        for name, function in self._index_fns.items():
            for value in function(body):
                members = self._indexes[name][value]
                members.discard(key)
                if not members:
                    del self._indexes[name][value]

    def _remember(self, key: Key, version: int) -> None:
        self._gone[key] = max(version, self._gone.get(key, 0))
        self._gone.move_to_end(key)
        while len(self._gone) > GONE_REMEMBERED:
            self._gone.popitem(last=False)


class Cache:
    """A store per resource."""

    def __init__(self, resources: Iterable[Resource], indexes: Mapping[str, Mapping[str, IndexFn]]) -> None:
        self._stores = {resource.plural: Store(indexes.get(resource.plural)) for resource in resources}

    def __getitem__(self, resource: Resource) -> Store:
        return self._stores[resource.plural]

    def sizes(self) -> dict[str, int]:
        """Objects by resource, for metrics."""
        return {plural: len(store) for plural, store in self._stores.items()}
