"""Addresses of targets: the operator says the same as the edge. Their table is tests/support/addresses.txt."""

from pathlib import Path

import pytest

from hawse_api import addresses

TABLE = Path(__file__).parents[2] / "support/addresses.txt"
ROWS = [row.split() for row in TABLE.read_text().splitlines() if not row.startswith("#")]


@pytest.mark.parametrize(("address", "tenant", "service"), ROWS, ids=[row[0] for row in ROWS])
def test_operator_and_edge_judge_an_address_alike(address: str, tenant: str, service: str) -> None:
    assert (addresses.refusal(address, (), is_service=False) is None) == (tenant == "yes")
    assert (addresses.refusal(address, (), is_service=True) is None) == (service == "yes")


@pytest.mark.parametrize(
    ("address", "is_refused"),
    [
        ("127.0.0.1", False),
        ("::ffff:127.9.9.9", False),
        ("10.20.255.255", False),
        ("fd00:1::1", False),
        ("10.21.0.0", True),
        ("64:ff9b::127.0.0.1", True),
        ("2002:7f00:1::1", True),
        ("::1", True),
    ],
)
def test_the_platform_team_may_allow_networks(address: str, is_refused: bool) -> None:
    allowed = ("127.0.0.0/8", "10.20.0.0/16", "fd00::/8")
    assert (addresses.refusal(address, allowed, is_service=False) is not None) == is_refused
