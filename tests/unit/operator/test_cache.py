"""The cache: newest wins, the dead stay dead, indexes follow."""

import pytest

from hawse_operator.k8s import resources
from hawse_operator.reconcile import cache as cache_module
from hawse_operator.reconcile.cache import Cache, Key, Store, key_of, version_of

KEY = Key("tunnels", "ns", "a")


def body(version: int, label: str = "x") -> dict[str, object]:
    return {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": str(version)}, "label": label}


def store() -> Store:
    return Store({"label": lambda found: [found["label"]]})


def test_the_newest_version_stays_in_whatever_order_they_arrive() -> None:
    found = store()
    assert [found.put(KEY, body(version)) for version in (5, 3, 5, 6)] == [True, False, False, True]
    assert found.get(KEY) == body(6)


def test_an_older_list_does_not_bring_back_what_was_deleted() -> None:
    found = store()
    found.put(KEY, body(5))
    assert found.drop(KEY, 7)
    assert not found.put(KEY, body(5))
    assert not found.put(KEY, body(7))
    assert found.put(KEY, body(8)), "it was made anew"


def test_a_deletion_older_than_what_is_known_is_no_news() -> None:
    found = store()
    found.put(KEY, body(9))
    assert not found.drop(KEY, 7)
    assert found.get(KEY) is not None


def test_a_deletion_of_something_unknown_is_remembered() -> None:
    found = store()
    assert not found.drop(KEY, 7)
    assert not found.put(KEY, body(6))


def test_the_memory_of_deletions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "GONE_REMEMBERED", 2)
    found = store()
    keys = [Key("tunnels", "ns", name) for name in "abc"]
    for key in keys:
        found.drop(key, 7)
    assert found.put(keys[0], body(1))
    assert not found.put(keys[2], body(1))


def test_an_index_knows_its_members() -> None:
    found = store()
    keys = [Key("tunnels", "ns", name) for name in "abc"]
    for version, key in enumerate(keys):
        found.put(key, body(version + 1, "x" if key.name != "c" else "y"))
    assert found.members("label", "x") == set(keys[:2])
    assert found.members("label", "nobody") == set()


def test_indexes_follow_changes_and_deletions() -> None:
    found = store()
    found.put(KEY, body(1, "x"))
    assert found.select("label", "x") == [body(1, "x")]
    found.put(KEY, body(2, "y"))
    assert (found.select("label", "x"), found.select("label", "y")) == ([], [body(2, "y")])
    found.drop(KEY, 3)
    assert found.select("label", "y") == []
    assert len(found) == 0


def test_revision_counts_changes_only() -> None:
    found = store()
    found.put(KEY, body(1))
    found.put(KEY, body(1))
    assert found.revision == 1
    found.drop(KEY, 2)
    found.drop(KEY, 2)
    assert found.revision == 2


def test_keys_and_versions_are_read_from_metadata() -> None:
    assert key_of(resources.TUNNELS, body(1)) == KEY
    assert key_of(resources.FLEETS, {"metadata": {"name": "f"}}) == Key("fleets", "", "f")
    assert version_of({"metadata": {}}) == 0
    assert version_of({"metadata": {"resourceVersion": "opaque"}}) == 0


def test_a_cache_has_a_store_per_resource() -> None:
    found = Cache([resources.TUNNELS, resources.FLEETS], {})
    found[resources.TUNNELS].put(KEY, body(1))
    assert found.sizes() == {"tunnels": 1, "fleets": 0}
    assert found[resources.TUNNELS].names() == (KEY,)
    assert found[resources.TUNNELS].bodies() == [body(1)]
