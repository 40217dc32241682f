"""Which port a TCP Tunnel claims: the one it asks for, has or had, else the lowest that is free."""

import asyncio

import pytest

from hawse_api import names, v1alpha1
from hawse_operator.k8s import resources
from hawse_operator.policies import claims, ports
from hawse_operator.reconcile import ports as reconcile_ports
from hawse_operator.reconcile.context import Context
from support import objects
from support.claiming import context

DOMAIN = "tunnels.example.com"
RANGE = range(20_000, 20_003)
FLEET = objects.fleet(spec={"tcpPorts": "20000-20002"})


@pytest.mark.parametrize(
    ("asked", "kept", "expected"),
    [
        pytest.param(None, (), None, id="none yet"),
        pytest.param(20_001, (), 20_001, id="asked"),
        pytest.param(30_000, (), 30_000, id="asked outside of the range: refused elsewhere"),
        pytest.param(None, ((20_002, True),), 20_002, id="the one that it holds"),
        pytest.param(None, ((30_000, True),), 30_000, id="also outside of a range that was changed"),
        pytest.param(None, ((20_000, False), (20_002, True)), 20_002, id="rather than the one that it held"),
        pytest.param(None, ((20_002, False), (20_001, False)), 20_001, id="the one that it held last"),
        pytest.param(None, ((30_000, False),), None, id="not one that the range has lost"),
        pytest.param(20_001, ((20_002, True),), 20_001, id="asked for another than it was assigned"),
    ],
)
def test_a_tunnel_has_the_port_that(
    asked: int | None, kept: tuple[tuple[int, bool], ...], expected: int | None
) -> None:
    assert ports.own_port(asked, RANGE, [ports.Kept(*one) for one in kept]) == expected


@pytest.mark.parametrize(
    ("taken", "own", "expected"),
    [
        ((), (), 20_000),
        ((20_000, 20_002), (20_000,), 20_001),
        ((20_000, 20_001, 20_002), (20_002, 20_001), 20_001),
        ((20_000, 20_001, 20_002), (), None),
    ],
    ids=["the lowest", "the lowest free one", "a tombstone of its namespace if nothing is free", "nothing"],
)
def test_the_assigned_port_is(taken: tuple[int, ...], own: tuple[int, ...], expected: int | None) -> None:
    assert ports.free_port(RANGE, taken, own) == expected


@pytest.mark.parametrize(
    ("hostname", "port"),
    [("tcp-20017.a.b", 20_017), ("tcp-020.a.b", None), ("tcp-x.a.b", None), ("shop.a.b", None), ("tcp-1", 1)],
)
def test_a_port_is_read_out_of_its_name(hostname: str, port: int | None) -> None:
    assert names.tcp_port_of(hostname) == port


def test_the_message_of_a_full_range_counts_what_is_held_and_what_is_kept() -> None:
    violation = ports.none_left(FLEET, held=2)
    assert violation.reason == "NoPortLeft"
    assert violation.message.startswith(
        "None of the 3 ports 20000-20002 of Fleet default is free: 2 are held, 1 are kept for the namespaces that "
        "released them. Ask the platform team for a wider spec.tcpPorts"
    )


# --- the claim -------------------------------------------------------------------------------------------------------
def reserve(
    found: Context, port: int, *, holder: str = "db", namespace: str = "team-b", released: bool = False
) -> None:
    ended = {"releasedAt": "2026-02-01T00:00:00Z", "expiresAt": "2027-02-01T00:00:00Z"} if released else {}
    host = ports.hostname_of(port, DOMAIN)
    body = objects.reservation_body(host, namespace=namespace, uid=f"uid-{namespace}", name=holder, **ended)
    found.learn(resources.RESERVATIONS, body)


async def claim(found: Context, name: str) -> tuple[str | None, claims.Claim]:
    claimant = claims.Claimant("team-a", "uid-team-a", name, f"uid-{name}", v1alpha1.ReclaimPolicy.RETAIN)
    return await reconcile_ports.claim_any(found, FLEET, claimant)


async def test_tunnels_that_come_at_once_get_ports_of_their_own_until_there_is_none() -> None:
    found = context()
    answers = await asyncio.gather(*(claim(found, f"db{number}") for number in range(4)))
    assigned = sorted(hostname for hostname, _ in answers if hostname)
    assert assigned == [ports.hostname_of(port, DOMAIN) for port in RANGE]
    (refused,) = [one for hostname, one in answers if hostname is None]
    assert claims.is_for_want_of_room(refused)
    assert claims.judge_reserved(refused).reason == "NoPortLeft"


async def test_ports_that_others_hold_or_keep_are_left_alone() -> None:
    found = context()
    reserve(found, 20_000)
    reserve(found, 20_001, released=True)
    assert (await claim(found, "db"))[0] == f"tcp-20002.{DOMAIN}"
    assert reconcile_ports.in_use(found.world, FLEET) == (20_000, 20_002)


def test_the_port_of_a_tunnel_that_was_deleted_is_its_again() -> None:
    found = context()
    reserve(found, 20_002, holder="db", namespace="team-a", released=True)
    reserve(found, 20_001, holder="other", namespace="team-a")
    tunnel = objects.tunnel("db", spec={"protocol": "TCP", "host": None})
    assert reconcile_ports.own_hostname(found.world, tunnel, FLEET, "uid-team-a") == f"tcp-20002.{DOMAIN}"
    assert reconcile_ports.own_hostname(found.world, tunnel, FLEET, "uid-of-another") is None
