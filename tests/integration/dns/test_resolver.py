"""The operator's resolver asks a real name server where load balancers are."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from hawse_operator.policies.balancers import Found
from hawse_operator.resolver import Resolver
from support import powerdns

DOMAIN = "elb.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[powerdns.PowerDns]:
    with powerdns.running(tmp_path_factory.mktemp("elb")) as running:
        running.make_zone(DOMAIN)
        running.put(DOMAIN, f"eu.{DOMAIN}", "A", "203.0.113.9", "203.0.113.7")
        running.put(DOMAIN, f"eu.{DOMAIN}", "AAAA", "2001:db8::7")
        running.put(DOMAIN, f"alias.{DOMAIN}", "CNAME", f"eu.{DOMAIN}.")
        running.put(DOMAIN, f"text.{DOMAIN}", "TXT", '"nothing"')
        yield running


def resolver(server: powerdns.PowerDns) -> Resolver:
    return Resolver([f"{server.address}:{server.port}"])


@pytest.mark.parametrize("name", ["eu", "alias"])
async def test_every_address_of_a_name_is_found_with_its_ttl(server: powerdns.PowerDns, name: str) -> None:
    found = await resolver(server).addresses(f"{name}.{DOMAIN}")
    expected = tuple(ip_address(text) for text in ("203.0.113.7", "203.0.113.9", "2001:db8::7"))
    assert found == Found(expected, 60.0)


async def test_a_name_without_an_address_is_no_error(server: powerdns.PowerDns) -> None:
    assert await resolver(server).addresses(f"text.{DOMAIN}") == Found()


@pytest.mark.parametrize("name", [f"gone.{DOMAIN}", "x" * 70 + ".example"], ids=["no such name", "no name at all"])
async def test_what_went_wrong_is_said(server: powerdns.PowerDns, name: str) -> None:
    found = await resolver(server).addresses(name)
    assert found.addresses == ()
    assert found.problem


async def test_a_server_that_is_not_there_ends_in_words(tmp_path: Path) -> None:
    found = await Resolver([f"127.0.0.1:{powerdns.free_port()}"]).addresses(f"eu.{DOMAIN}")
    assert found.addresses == ()
    assert found.problem
