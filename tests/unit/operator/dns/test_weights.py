"""Effective weights in whole numbers."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawse_operator.dns import weights
from hawse_operator.dns.weights import Node, RegionWeight


def node(name: str = "a", **more: object) -> Node:
    fields: dict[str, object] = {
        "region": "eu",
        "weight": 100,
        "drains": False,
        "ready": 1,
        "wanted": 1,
        "addresses": (ip_address("192.0.2.1"),),
        "port": 443,
    }
    return Node(name, **(fields | more))  # type: ignore[arg-type]  # a table of tests


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 100),
        ({"drains": True}, 0),
        ({"ready": 0}, 0),
        ({"weight": 0}, 0),
        ({"ready": 1, "wanted": 2}, 50),
        ({"ready": 2, "wanted": 3, "weight": 300}, 199),
        ({"ready": 1, "wanted": 100, "weight": 1}, 1),
        ({"ready": 3, "wanted": 1}, 100),
        ({"ready": 1, "wanted": 0}, 100),
    ],
    ids=[
        "whole",
        "drains",
        "not-ready",
        "weight-0",
        "half",
        "two-thirds",
        "never-rounded-to-0",
        "surge",
        "scaled-to-0",
    ],
)
def test_a_weight_counts_readiness_and_drain(change: dict[str, object], expected: int) -> None:
    assert weights.effective_weight(node(**change)) == expected


def test_a_region_is_the_sum_of_its_exit_nodes_times_its_own_weight() -> None:
    nodes = [node("a"), node("b", ready=0), node("c", region="us", weight=7), node("d", region="ap")]
    assert weights.of_regions(nodes, {"eu": 3, "us": 2, "mars": 5}) == {
        "eu": RegionWeight(600, 300, (ip_address("192.0.2.1"),)),
        "mars": RegionWeight(0, 0, ()),
        "us": RegionWeight(14, 14, (ip_address("192.0.2.1"),)),
    }
    assert set(weights.of_regions(nodes, None)) == {"ap", "eu", "us"}


@given(st.lists(st.integers(0, 10**12), max_size=80))
def test_scaled_weights_are_small_and_lose_nobody(given_weights: list[int]) -> None:
    result = weights.scaled(given_weights)
    assert sum(result) <= weights.TOTAL_MAX
    assert [bool(weight) for weight in result] == [bool(weight) for weight in given_weights]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20), st.integers(1, 10**6))
def test_a_common_factor_changes_nothing(given_weights: list[int], factor: int) -> None:
    assert weights.scaled([weight * factor for weight in given_weights]) == weights.scaled(given_weights)
