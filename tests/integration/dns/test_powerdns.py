"""The PowerDNS provider against real servers: large zones, several servers, servers that are not as they should be."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from pydantic import SecretStr

from hawse_operator import errors
from hawse_operator.dns.ownership import Owner
from hawse_operator.dns.providers.powerdns import PowerDns, Server
from hawse_operator.dns.records import Endpoint, Plan, Pool, Record
from support import powerdns

DOMAIN = "t.example.com"
OWNER = Owner("6b2c", "default")
EU, US = (Endpoint(ip_address(text), 443, 1) for text in ("127.0.77.1", "127.0.77.2"))
MANY = 1_500


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[powerdns.PowerDns]:
    with powerdns.running(tmp_path_factory.mktemp("a")) as running:
        yield running


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[powerdns.PowerDns]:
    with powerdns.running(tmp_path_factory.mktemp("b")) as running:
        yield running


def provider(*servers: powerdns.PowerDns, known_ds: tuple[str, ...] = ()) -> PowerDns:
    listed = [Server(f"s{number}", one.url) for number, one in enumerate(servers)]
    key = SecretStr(servers[0].key)
    return PowerDns(listed, nameservers=["ns1.example.net"], key=key, known_ds=known_ds)


def plan(*names: str, domain: str = DOMAIN) -> Plan:
    return Plan(domain, 20, tuple(Record(name, Pool(((EU, US),))) for name in names))


def keys(server: powerdns.PowerDns, domain: str = DOMAIN) -> list[str]:
    return [key["dnskey"] for key in server.api("GET", f"/zones/{domain}./cryptokeys").json()]


async def test_a_zone_of_many_records_is_written_in_batches_and_compared_whole(server: powerdns.PowerDns) -> None:
    wanted = plan(f"*.{DOMAIN}", *(f"n{number}.{DOMAIN}" for number in range(MANY)))
    assert (await provider(server).sync(wanted, OWNER)).writes == 1 + 2 * (MANY + 1) + 1
    assert (await provider(server).sync(wanted, OWNER)).writes == 0
    assert (await provider(server).sync(plan(f"*.{DOMAIN}"), OWNER)).writes == 2 * MANY


async def test_servers_share_the_key_that_the_parent_zone_knows(
    server: powerdns.PowerDns, second: powerdns.PowerDns
) -> None:
    domain = "keys.example.com"
    wanted = plan(f"*.{domain}", domain=domain)
    alone = await provider(second).sync(wanted, OWNER)
    await provider(server).sync(wanted, OWNER)
    assert keys(server, domain) != keys(second, domain)
    both = await provider(server, second, known_ds=alone.ds_records).sync(wanted, OWNER)
    assert both.ds_records == alone.ds_records
    assert len(keys(server, domain)) == 1
    assert keys(server, domain) == keys(second, domain)


async def test_a_server_that_is_down_does_not_keep_the_other_from_its_records(
    server: powerdns.PowerDns, second: powerdns.PowerDns
) -> None:
    domain = "half.example.com"
    second.stop()
    with pytest.raises(errors.DnsUnavailable, match=r'Server "s0".*cannot be reached'):
        await provider(second, server).sync(plan(f"*.{domain}", domain=domain), OWNER)
    assert (f"*.{domain}.", "LUA") in server.rrsets(domain)
    second.start()


async def test_a_zone_that_was_there_keeps_its_records_and_its_state_of_signing(server: powerdns.PowerDns) -> None:
    domain = "old.example.com"
    zone = {"name": f"{domain}.", "kind": "Native", "nameservers": ["ns.old.example."]}
    assert server.api("POST", "/zones", zone).status_code == 201
    server.put(domain, domain, "A", "198.51.100.1")
    server.put(domain, f"mail.{domain}", "MX", "10 mx.example.")
    outcome = await provider(server).sync(plan(domain, f"*.{domain}", domain=domain), OWNER)
    assert outcome.foreign == (domain,)
    assert outcome.ds_records == ()
    found = server.rrsets(domain)
    assert found[f"{domain}.", "A"] == ["198.51.100.1"]
    assert found[f"{domain}.", "NS"] == ["ns.old.example."], "the name is not ours, so its NS records are not either"
    assert found[f"mail.{domain}.", "MX"] == ["10 mx.example."]


async def test_a_server_without_lua_records_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with powerdns.running(tmp_path, enable_lua_records="no") as plain:
        with pytest.raises(errors.DnsRefused, match="set enable-lua-records"):
            await provider(plain).sync(plan(f"*.{DOMAIN}"), OWNER)
        assert plain.rrsets(DOMAIN) == {}


async def test_another_program_at_the_url_is_told(server: powerdns.PowerDns) -> None:
    wrong = PowerDns([Server("s0", f"{server.url}/elsewhere")], nameservers=[], key=SecretStr("x"))
    with pytest.raises(errors.DnsError, match="s0"):
        await wrong.sync(plan(f"*.{DOMAIN}"), OWNER)


async def test_a_wrong_key_is_refused_and_not_shown(server: powerdns.PowerDns) -> None:
    wrong = PowerDns([Server("s0", server.url)], nameservers=[], key=SecretStr("not-the-key"))
    with pytest.raises(errors.DnsKeyRefused) as refusal:
        await wrong.sync(plan(f"*.{DOMAIN}"), OWNER)
    assert "not-the-key" not in f"{refusal.value}{refusal.value.__cause__!r}"
