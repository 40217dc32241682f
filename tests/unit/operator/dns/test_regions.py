"""Regions in a Tunnel's status: who serves it, and with which weight look-ups lead there."""

from ipaddress import ip_address

from hawse_api import v1alpha1
from hawse_operator.dns import regions
from hawse_operator.dns.weights import Node
from support import objects

NODES = (
    Node("eu-1", "eu", 60, False, 1, 1, (ip_address("192.0.2.1"),), 443),
    Node("us-1", "us", 40, True, 1, 1, (ip_address("192.0.2.2"),), 443),
)
SERVED = tuple(v1alpha1.RegionStatus(name=name, ready=True) for name in ("eu", "us"))


def told(**spec: object) -> dict[str, tuple[bool, int | None, int | None]]:
    tunnel = objects.tunnel(spec=spec)
    found = regions.with_weights(SERVED, tunnel, NODES)
    return {region.name: (region.ready, region.weight, region.effective_weight) for region in found}


def test_without_a_placement_regions_have_the_weights_of_their_exit_nodes() -> None:
    assert told() == {"eu": (True, 60, 60), "us": (True, 40, 0)}


def test_a_weighted_placement_multiplies_and_names_regions_that_do_not_serve_it() -> None:
    listed = [{"name": "eu", "weight": 2}, {"name": "mars", "weight": 5}]
    assert told(placement={"policy": "Weighted", "regions": listed}) == {
        "eu": (True, 120, 120),
        "mars": (False, 0, 0),
        "us": (True, 0, 0),
    }


def test_other_policies_take_no_weights_of_regions() -> None:
    listed = [{"name": "eu", "weight": 7}]
    assert told(placement={"policy": "Failover", "regions": listed})["eu"] == (True, 60, 60)
    assert told(placement={"policy": "Nearest"})["eu"] == (True, 60, 60)


def test_addresses_are_those_of_the_region() -> None:
    found = regions.with_weights(SERVED, objects.tunnel(), NODES)
    assert [region.addresses for region in found] == [("192.0.2.1",), ("192.0.2.2",)]
