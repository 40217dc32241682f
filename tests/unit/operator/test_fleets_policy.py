"""Fleets: domains do not overlap, and which Fleet a name or a token belongs to."""

import pytest

from hawse_operator.policies import fleets
from support.objects import fleet

OLD = fleet("old", "example.com", creationTimestamp="2025-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a.com", "a.com", True),
        ("x.a.com", "a.com", True),
        ("a.com", "x.a.com", True),
        ("xa.com", "a.com", False),
        ("a.com", "b.com", False),
    ],
)
def test_domains_overlap_when_they_are_the_same_or_nested(one: str, other: str, expected: bool) -> None:
    assert fleets.overlaps(one, other) is expected


def test_the_newer_of_two_overlapping_fleets_is_refused() -> None:
    new = fleet("new", "dev.example.com")
    (found,) = fleets.violations_of_fleet(fleets.FleetInput(new, (OLD,)))
    assert found.reason == "DomainOverlap"
    assert found.message == (
        'The domain dev.example.com overlaps example.com of Fleet "old". Fleets neither share nor nest domains: choose '
        "another domain."
    )
    assert fleets.violations_of_fleet(fleets.FleetInput(OLD, (new,))) == ()


def test_of_two_fleets_of_the_same_second_the_name_decides() -> None:
    one, two = fleet("a", "x.com"), fleet("b", "x.com")
    assert fleets.violations_of_fleet(fleets.FleetInput(one, (two,))) == ()
    assert fleets.violations_of_fleet(fleets.FleetInput(two, (one,))) != ()


def test_a_host_belongs_to_the_fleet_of_its_parent_domain() -> None:
    assert fleets.fleet_of_host("shop.example.com", [OLD]) is OLD
    assert fleets.fleet_of_host("a.b.example.com", [OLD]) is None


@pytest.mark.parametrize(
    ("wanted", "existing", "expected"),
    [
        pytest.param(["eu"], ["default", "eu"], "eu", id="the Fleet that its Tunnels name"),
        pytest.param(["us", "eu"], ["eu", "us"], "eu", id="of several the first by name"),
        pytest.param(["gone"], ["default", "eu"], "default", id="a Fleet that is gone does not count"),
        pytest.param([], ["default", "eu"], "default", id="the one called default"),
        pytest.param([], ["eu"], "eu", id="the only one"),
        pytest.param([], ["eu", "us"], None, id="of two none"),
        pytest.param([], [], None, id="none"),
    ],
)
def test_the_fleet_of_a_token(wanted: list[str], existing: list[str], expected: str | None) -> None:
    found = fleets.fleet_of_token(wanted, [fleet(name, f"{name}.com") for name in existing])
    assert (found.name if found else None) == expected
