"""Fleet, exit nodes, placements → records."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given

from hawse_operator.dns import plan
from hawse_operator.dns.plan import Near, Placed, PlanInput, Policy, build_plan
from hawse_operator.dns.records import Answer, Pool, Tier
from hawse_operator.dns.weights import Node
from support.dns_inputs import inputs

DOMAIN = "t.example.com"
WILDCARD = f"*.{DOMAIN}"
EU, US, AP = (52.4, 4.9), (39.0, -77.5), (1.3, 103.8)


def node(name: str, region: str, last: int, **more: Any) -> Node:
    addresses = more.pop("addresses", (ip_address(f"192.0.2.{last}"),))
    fields = {"weight": 100, "drains": False, "ready": 1, "wanted": 1, "port": 443} | more
    return Node(name=name, region=region, addresses=addresses, **fields)


NODES = (
    node("eu-1", "eu", 1, location=EU),
    node("us-1", "us", 2, weight=300, location=US),
    node("ap-1", "ap", 3, location=AP),
)
NEAR = (Near("eu", (ip_network("10.1.0.0/16"),)), Near("us", (ip_network("10.2.0.0/16"),)))


def pool(name: str, *nodes: Node, **more: Any) -> Pool:
    found = build_plan(PlanInput(DOMAIN, 20, nodes or NODES, **more)).record(name)
    assert found is not None
    return found.pool


def shape(tiers: tuple[Tier, ...]) -> list[dict[int, int]]:
    """Last byte of the address → weight, by tier."""
    return [{int(one.address) & 0xFF: one.weight for one in tier} for tier in tiers]


def placed(policy: Policy, *regions: tuple[str, int]) -> Pool:
    one = Placed("uid", f"shop.{DOMAIN}", policy, regions)
    return pool(one.hostname, near=NEAR, placed=(one,))


def test_a_fleet_costs_three_records_however_many_tunnels_it_has() -> None:
    names = [record.name for record in build_plan(PlanInput(DOMAIN, 20, NODES)).records]
    assert names == [DOMAIN, WILDCARD, f"connect.{DOMAIN}"]


def test_the_wildcard_spreads_by_the_weights_of_exit_nodes() -> None:
    assert shape(pool(WILDCARD).tiers) == [{1: 1, 2: 3, 3: 1}]


def test_a_node_with_two_addresses_gets_its_weight_once() -> None:
    two = node("eu-1", "eu", 0, addresses=(ip_address("192.0.2.8"), ip_address("192.0.2.9")))
    assert shape(pool(WILDCARD, two, NODES[1]).tiers) == [{2: 6, 8: 1, 9: 1}]


def test_draining_unready_and_weightless_nodes_are_spare() -> None:
    others = (node("d", "eu", 7, drains=True), node("e", "eu", 8, ready=0), node("f", "eu", 9, weight=0))
    found = pool(WILDCARD, NODES[0], *others)
    assert shape(found.tiers) == [{1: 1}]
    assert shape((found.spare,)) == [{7: 1, 8: 1, 9: 1}]


def test_when_nobody_is_ready_those_who_are_wanted_answer() -> None:
    found = pool(
        WILDCARD, node("a", "eu", 1, ready=0, weight=200), node("b", "us", 2, ready=0), node("c", "eu", 3, drains=True)
    )
    assert shape(found.tiers) == [{1: 2, 2: 1}]
    assert shape((found.spare,)) == [{3: 1}]


def test_when_everybody_drains_all_answer() -> None:
    found = pool(WILDCARD, node("a", "eu", 1, drains=True), node("b", "us", 2, drains=True))
    assert shape(found.tiers) == [{1: 1, 2: 1}]
    assert found.spare == ()


def test_weighted_placement_multiplies_and_leaves_others_out() -> None:
    assert shape(placed(Policy.WEIGHTED, ("eu", 80), ("us", 20)).tiers) == [{1: 4, 2: 3}]


def test_failover_placement_keeps_its_order() -> None:
    assert shape(placed(Policy.FAILOVER, ("us", 100), ("eu", 100)).tiers) == [{2: 1}, {1: 1}]


def test_nearest_placement_goes_from_near_to_far() -> None:
    found = placed(Policy.NEAREST)
    assert [shape(view.tiers) for view in found.views] == [[{1: 1}, {2: 1}, {3: 1}], [{2: 1}, {1: 1}, {3: 1}]]
    assert shape(found.tiers) == [{1: 1, 2: 3, 3: 1}]


def test_nearest_among_some_regions_knows_where_the_others_are() -> None:
    found = placed(Policy.NEAREST, ("us", 1), ("ap", 1))
    assert shape(found.views[0].tiers) == [{2: 1}, {3: 1}]


def test_regions_without_a_place_come_last_together() -> None:
    strangers = (node("x", "x", 8), node("y", "y", 9, weight=50))
    found = pool(f"connect.{DOMAIN}", *NODES[:2], *strangers, near=NEAR)
    assert shape(found.views[0].tiers) == [{1: 1}, {2: 1}, {8: 1, 9: 1}]


def test_agents_get_every_ready_exit_node_whatever_its_weight() -> None:
    found = pool(
        f"connect.{DOMAIN}", NODES[0], node("b", "us", 2, weight=0), node("c", "us", 3, drains=True), near=NEAR
    )
    assert found.answer is Answer.ALL
    assert shape(found.tiers) == [{1: 1, 2: 1}]
    assert shape((found.spare,)) == [{3: 1}]


def test_two_exit_nodes_at_one_address_are_one_endpoint() -> None:
    assert shape(pool(WILDCARD, node("a", "eu", 1), node("b", "eu", 1), node("c", "us", 2)).tiers) == [{1: 2, 2: 1}]


def test_a_fleet_without_addresses_has_empty_pools() -> None:
    assert pool(WILDCARD, node("a", "eu", 0, addresses=())) == Pool(())


@given(inputs())
def test_an_answer_is_never_empty_and_weight_0_gets_nothing_beside_others(given_input: PlanInput) -> None:
    by_address = {address: one for one in given_input.nodes for address in one.addresses}
    several = {address for address in by_address if sum(address in one.addresses for one in given_input.nodes) > 1}
    for record in build_plan(given_input).records:
        found, regions = record.pool, {name for placed in given_input.placed for name, _ in placed.regions}
        reachable = [one for one in given_input.nodes if one.addresses]
        if record.holders and regions:
            reachable = [one for one in reachable if one.region in regions]
        assert bool(found.tiers) == bool(reachable)
        assert all(tier for tier in found.tiers)
        assert all(endpoint.weight >= 1 for endpoint in found.endpoints())
        chosen = {endpoint.address for tier in found.tiers for endpoint in tier}
        assert not chosen & {endpoint.address for endpoint in found.spare}
        if any(plan._effective(by_address[address]) for address in chosen - several) and not record.holders:
            others = (by_address[address] for address in chosen - several)
            weigh = plan._ready if found.answer is Answer.ALL else plan._effective
            assert all(weigh(one) for one in others)


@pytest.mark.parametrize("policy", list(Policy))
def test_a_placement_never_leads_outside_its_regions(policy: Policy) -> None:
    found = placed(policy, ("eu", 1), ("us", 1))
    assert {int(one.address) & 0xFF for one in found.endpoints()} == {1, 2}
