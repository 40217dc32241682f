"""Merging patches into manifests, and telling whether a live object covers what is wanted."""

from typing import Any

import pytest

from hawse_operator.manifests.merging import covers, merge


@pytest.mark.parametrize(
    ("base", "patch", "expected"),
    [
        pytest.param({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="a new field"),
        pytest.param({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}, id="a field of an object"),
        pytest.param({"a": 1, "b": 2}, {"a": None}, {"b": 2}, id="null removes"),
        pytest.param({"a": [1, 2]}, {"a": [3]}, {"a": [3]}, id="a plain list is replaced"),
        pytest.param(
            {"containers": [{"name": "main", "image": "x", "env": [{"name": "A", "value": "1"}]}]},
            {"containers": [{"name": "main", "env": [{"name": "B", "value": "2"}]}, {"name": "side"}]},
            {
                "containers": [
                    {"name": "main", "image": "x", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                    {"name": "side"},
                ]
            },
            id="containers and env are merged by name",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]},
            {"volumeMounts": [{"name": "v", "mountPath": "/b", "readOnly": True}]},
            {"volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b", "readOnly": True}]},
            id="mounts are told apart by their path when a volume is mounted twice",
        ),
        pytest.param({"a": [{"name": "x"}]}, {"a": []}, {"a": [{"name": "x"}]}, id="an empty list adds nothing"),
        pytest.param({"a": [{"name": "x"}]}, {"a": ["y"]}, {"a": ["y"]}, id="lists of other things are replaced"),
        pytest.param({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="another type replaces"),
    ],
)
def test_a_patch_is_merged(base: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]) -> None:
    before = repr(base)
    assert merge(base, patch) == expected
    assert repr(base) == before, "the base is not changed"


WANTED = {"spec": {"replicas": 1, "containers": [{"name": "main", "image": "x"}], "args": ["a", "b"]}}


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        pytest.param({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1024Mi"}}, True, id="binary units"),
        pytest.param({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1000m"}}, True, id="decimal units"),
        pytest.param({"limits": {"cpu": "2"}}, {"limits": {"cpu": 2}}, True, id="a number"),
        pytest.param({"limits": {"cpu": "1500m"}}, {"limits": {"cpu": "1.5"}}, True, id="a fraction"),
        pytest.param({"limits": {"memory": "10M"}}, {"limits": {"memory": "1e7"}}, True, id="an exponent"),
        pytest.param({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1G"}}, False, id="another amount"),
        pytest.param({"limits": {"memory": "?"}}, {"limits": {"memory": "!"}}, False, id="no quantities"),
        pytest.param(
            {"env": [{"name": "A", "value": "1k"}]}, {"env": [{"name": "A", "value": "1000"}]}, False, id="a text"
        ),
        pytest.param(
            {"metrics": [{"pods": {"target": {"averageValue": "1k"}}}]},
            {"metrics": [{"pods": {"target": {"averageValue": "1000"}}}]},
            True,
            id="in a list",
        ),
    ],
)
def test_quantities_are_compared_by_what_they_amount_to(live: Any, wanted: Any, expected: bool) -> None:
    assert covers(live, wanted) is expected


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        pytest.param(WANTED, True, id="the same"),
        pytest.param(
            {"spec": WANTED["spec"] | {"defaulted": 1}, "status": {}}, True, id="defaults and status do not count"
        ),
        pytest.param(
            {"spec": WANTED["spec"] | {"containers": [{"name": "side"}, {"name": "main", "image": "x", "d": 1}]}},
            True,
            id="a container that others added does not count",
        ),
        pytest.param({"spec": WANTED["spec"] | {"replicas": 2}}, False, id="another value"),
        pytest.param(
            {"spec": WANTED["spec"] | {"containers": [{"name": "main", "image": "y"}]}}, False, id="another image"
        ),
        pytest.param({"spec": WANTED["spec"] | {"containers": []}}, False, id="no container"),
        pytest.param({"spec": WANTED["spec"] | {"args": ["a"]}}, False, id="a shorter plain list"),
        pytest.param({"spec": WANTED["spec"] | {"args": "a"}}, False, id="no list"),
        pytest.param({"spec": None}, False, id="nothing"),
        pytest.param({}, False, id="no field"),
    ],
)
def test_a_live_object_covers_what_is_wanted(live: dict[str, Any], expected: bool) -> None:
    assert covers(live, WANTED) is expected
