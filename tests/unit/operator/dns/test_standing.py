"""What Fleet, ExitNode and Tunnel say of their DNS."""

import pytest

from hawse_api import names, v1alpha1
from hawse_operator.dns import standing
from hawse_operator.dns.standing import Standing
from support import objects

Reason = names.Reason
DOMAIN = "t.example.com"
WILDCARD, SHOP = f"*.{DOMAIN}", f"shop.{DOMAIN}"
GOOD = Standing(True, Reason.PUBLISHED, "A hint.", published=frozenset({WILDCARD, SHOP}))
BAD = Standing(False, Reason.KEY_REFUSED, "The key is wrong.")


def told(judgement: v1alpha1.Judgement) -> tuple[str, str]:
    assert judgement.type == "DNSReady"
    return judgement.status.value, judgement.reason


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (GOOD, ("True", "Published")),
        (BAD, ("False", "KeyRefused")),
        (Standing(True, Reason.PUBLISHED, foreign=(WILDCARD,)), ("False", "ForeignRecord")),
        (Standing(True, Reason.PUBLISHED, foreign=(SHOP,)), ("True", "Published")),
        (Standing(True, Reason.PUBLISHED, unknown=frozenset({WILDCARD})), ("False", "NoExitNode")),
    ],
)
def test_a_fleet(given: Standing, expected: tuple[str, str]) -> None:
    judgement = standing.judge_fleet(given, DOMAIN)
    assert told(judgement) == expected
    if SHOP in given.foreign:
        assert SHOP in judgement.message, "a Tunnel's trouble is told to the platform team too"


@pytest.mark.parametrize(
    ("given", "has_placement", "expected"),
    [
        (GOOD, False, ("True", "Published")),
        (GOOD, True, ("True", "Published")),
        (BAD, True, ("False", "KeyRefused")),
        (Standing(True, Reason.PUBLISHED, published=frozenset({WILDCARD})), True, ("Unknown", "Pending")),
        (Standing(True, Reason.PUBLISHED, foreign=(SHOP,)), True, ("False", "ForeignRecord")),
        (Standing(True, Reason.PUBLISHED, foreign=(WILDCARD,)), False, ("False", "ForeignRecord")),
        (Standing(True, Reason.PUBLISHED, unknown=frozenset({SHOP})), True, ("False", "NoExitNode")),
    ],
)
def test_a_tunnel(given: Standing, has_placement: bool, expected: tuple[str, str]) -> None:
    assert told(standing.judge_tunnel(given, SHOP, DOMAIN, has_placement=has_placement)) == expected


@pytest.mark.parametrize(
    ("given", "addresses", "usable", "expected"),
    [
        (GOOD, ("192.0.2.1",), ("192.0.2.1",), ("True", "Published")),
        (GOOD, (), (), ("False", "NoAddress")),
        (GOOD, ("lb.example.com",), (), ("False", "NoAddress")),
        (BAD, ("192.0.2.1",), ("192.0.2.1",), ("False", "KeyRefused")),
    ],
)
def test_an_exit_node(
    given: Standing, addresses: tuple[str, ...], usable: tuple[str, ...], expected: tuple[str, str]
) -> None:
    assert told(standing.judge_exit_node(given, addresses, usable)) == expected


def test_a_load_balancers_name_is_told() -> None:
    assert "lb.example.com" in standing.judge_exit_node(GOOD, ("lb.example.com",), ()).message


def test_who_never_managed_dns_gets_no_condition() -> None:
    assert standing.judge_unmanaged(v1alpha1.FleetStatus(), objects.fleet()) == []


def test_long_lists_of_foreign_names_are_cut() -> None:
    names_ = [f"n{number}.{DOMAIN}" for number in range(9)]
    assert "and 5 more" in standing.foreign_message(names_)


def test_only_what_all_tunnels_say_wakes_all_of_them() -> None:
    more = Standing(True, Reason.PUBLISHED, "A hint.", published=frozenset({WILDCARD}), foreign=(SHOP,))
    assert not standing.differ_for_all(GOOD, more)
    assert standing.differ_for_all(GOOD, BAD)
    assert standing.differ_for_all(None, GOOD)
    assert standing.differ_for_all(GOOD, Standing(True, Reason.PUBLISHED, "A hint.", foreign=(WILDCARD,)))
