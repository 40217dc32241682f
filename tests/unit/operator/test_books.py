"""Whose ServiceAccount token it is: names come from the review, never from a request."""

from typing import Any

import pytest

from hawse_operator.control import books
from hawse_operator.reconcile.books import bound_pod, controller_of

GOOD: dict[str, Any] = {
    "authenticated": True,
    "audiences": ["hawse"],
    "user": {
        "username": "system:serviceaccount:hawse-system:hawse-exitnode",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["eu-1-x"],
            "authentication.kubernetes.io/pod-uid": ["uid-1"],
        },
    },
}


def test_a_bound_token_of_an_exit_node_names_its_pod() -> None:
    assert bound_pod(GOOD, namespace="hawse-system") == ("eu-1-x", "uid-1")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param({}, "not valid for the audience", id="not authenticated"),
        pytest.param({**GOOD, "audiences": ["other"]}, "not valid for the audience", id="for somebody else"),
        pytest.param(
            {**GOOD, "user": {**GOOD["user"], "username": "system:serviceaccount:team-a:default"}},
            "belongs to system:serviceaccount:team-a:default",
            id="of another account",
        ),
        pytest.param({**GOOD, "user": {**GOOD["user"], "extra": {}}}, "not bound to a pod", id="of no pod"),
    ],
)
def test_other_tokens_are_refused_with_the_reason(status: dict[str, Any], words: str) -> None:
    found = bound_pod(status, namespace="hawse-system")
    assert isinstance(found, books.NodeRefusal)
    assert words in found.message


def test_the_controlling_owner_counts() -> None:
    owners = [{"kind": "A"}, {"kind": "B", "controller": True}]
    assert controller_of({"metadata": {"ownerReferences": owners}}) == owners[1]
    assert controller_of({"metadata": {}}) is None
