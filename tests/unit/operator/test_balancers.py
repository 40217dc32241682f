"""Load balancers that report a name: what is known of each, for how long, and how long is waited for it."""

import asyncio
from datetime import datetime, timedelta
from ipaddress import ip_address

import pytest

from hawse_operator.policies import exitnodes
from hawse_operator.policies.balancers import Found
from hawse_operator.reconcile import balancers
from hawse_operator.reconcile.balancers import ADDRESSES_MAX, LEAST_S, MOST_S, NAMES_MAX, RETRY_S, Balancers
from support.objects import NOW

EU, US = "eu.elb.example", "us.elb.example"
ONE, TWO = ip_address("203.0.113.7"), ip_address("2001:db8::7")


class Scene:
    """A name server that says what the test says, and its clock."""

    def __init__(self) -> None:
        self.says: dict[str, Found] = {EU: Found((ONE,), 60.0), US: Found((TWO,), 60.0)}
        self.asked: list[str] = []
        self.silent: set[str] = set()
        self.now = NOW
        self.balancers = Balancers(self, self.clock)

    def clock(self) -> datetime:
        return self.now

    async def addresses(self, hostname: str) -> Found:
        self.asked.append(hostname)
        if hostname in self.silent:
            await asyncio.Event().wait()
        return self.says.get(hostname, Found(problem="NXDOMAIN"))

    async def refresh(self, *names: str, after_s: float = 0.0) -> list[str]:
        """Who was asked in this round."""
        self.now += timedelta(seconds=after_s)
        self.asked.clear()
        await self.balancers.refresh(names)
        return self.asked


async def test_a_name_is_asked_again_when_its_ttl_is_over_and_not_before() -> None:
    scene = Scene()
    assert await scene.refresh(EU, US) == [EU, US]
    assert scene.balancers.addresses() == {EU: (ONE,), US: (TWO,)}
    assert scene.balancers.again_s() == 60.0
    assert await scene.refresh(EU, US, after_s=59) == []
    scene.says[EU] = Found((ONE, TWO), 30.0)
    assert await scene.refresh(EU, US, after_s=1) == [EU, US]
    assert scene.balancers.addresses()[EU] == (ONE, TWO)
    assert scene.balancers.again_s() == 30.0


@pytest.mark.parametrize(
    "answer", [pytest.param(Found(problem="SERVFAIL"), id="an error"), pytest.param(Found((), 0.0), id="nothing")]
)
async def test_what_was_found_last_stays_while_nothing_is_said(answer: Found) -> None:
    scene = Scene()
    await scene.refresh(EU)
    scene.says[EU] = answer
    await scene.refresh(EU, after_s=60)
    assert scene.balancers.addresses() == {EU: (ONE,)}
    assert scene.balancers.problems() == ()
    assert scene.balancers.again_s() == RETRY_S


async def test_a_name_that_never_had_an_address_says_why() -> None:
    scene = Scene()
    await scene.refresh("typo.example")
    assert scene.balancers.addresses() == {}
    assert scene.balancers.problems() == ("typo.example: NXDOMAIN",)


async def test_a_name_that_nobody_reports_any_more_is_forgotten() -> None:
    scene = Scene()
    await scene.refresh(EU, US)
    assert await scene.refresh(US) == []
    assert scene.balancers.addresses() == {US: (TWO,)}
    await scene.refresh()
    assert scene.balancers.again_s() is None


async def test_a_silent_name_server_costs_a_bounded_time_and_not_the_other_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(balancers, "ROUND_S", 0.02)
    scene = Scene()
    scene.silent = {US}
    await scene.refresh(EU, US)
    assert scene.balancers.addresses() == {EU: (ONE,)}
    assert scene.balancers.problems() == (f"{US}: no answer within 0.02 s",)


async def test_names_addresses_and_times_are_bounded() -> None:
    scene = Scene()
    many = tuple(ip_address(f"198.51.100.{number}") for number in range(100))
    for ttl_s, used_s in ((0.0, LEAST_S), (1e9, MOST_S)):
        scene.says[EU] = Found(many, ttl_s)
        scene.balancers = Balancers(scene, scene.clock)
        await scene.refresh(EU)
        assert len(scene.balancers.addresses()[EU]) == ADDRESSES_MAX
        assert scene.balancers.again_s() == used_s
    assert len(await scene.refresh(*(f"lb-{number}.example" for number in range(200)))) == NAMES_MAX


def test_an_exit_node_has_the_addresses_of_its_names_beside_its_own() -> None:
    reported = ("203.0.113.7", EU, US)
    assert exitnodes.names_among(reported) == (EU, US)
    assert exitnodes.ip_addresses(reported, {EU: (ONE, TWO)}) == (ONE, TWO)
    assert exitnodes.ip_addresses((US,), {}) == ()
