"""Dynamic updates against a real server (PowerDNS with dnsupdate=yes), signed with TSIG."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from pydantic import SecretStr

from hawse_operator import errors
from hawse_operator.dns.ownership import Owner
from hawse_operator.dns.providers.rfc2136 import Rfc2136, TsigKey
from hawse_operator.dns.records import Endpoint, Plan, Pool, Record
from support import powerdns

DOMAIN = "t.example.com"
SHOP = f"shop.{DOMAIN}"
OWNER = Owner("6b2c", "default")
EU, US, SIX = (Endpoint(ip_address(text), 443, 1) for text in ("192.0.2.1", "192.0.2.2", "2001:db8::1"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[powerdns.PowerDns]:
    directory = tmp_path_factory.mktemp("dns")
    settings = {"dnsupdate": "yes", "allow_dnsupdate_from": "127.0.0.0/8", "allow_axfr_ips": "", "disable_axfr": "no"}
    with powerdns.running(directory, **settings) as running:
        zone = {"name": f"{DOMAIN}.", "kind": "Master", "nameservers": ["ns1.example.net."]}
        assert running.api("POST", "/zones", zone).status_code == 201
        (directory / "secret").write_text(running.allow_updates(DOMAIN, "hawse"))
        yield running


def key(server: powerdns.PowerDns, **changes: str) -> TsigKey:
    secret = (server.directory / "secret").read_text()
    fields = {"name": "hawse", "algorithm": "hmac-sha256", "secret": secret} | changes
    return TsigKey(fields["name"], fields["algorithm"], SecretStr(fields["secret"]))


@pytest.fixture
def provider(server: powerdns.PowerDns) -> Rfc2136:
    return Rfc2136(server.address, server.port, key(server))


def plan(*records: Record) -> Plan:
    return Plan(DOMAIN, 20, records)


def record(name: str, *tiers: tuple[Endpoint, ...], spare: tuple[Endpoint, ...] = ()) -> Record:
    return Record(name, Pool(tiers, spare))


async def test_the_ready_set_is_published_once(server: powerdns.PowerDns, provider: Rfc2136) -> None:
    wanted = plan(record(f"*.{DOMAIN}", (EU, US, SIX)), record(SHOP, (US,), (EU,)))
    assert (await provider.sync(wanted, OWNER)).writes == 5
    assert server.addresses(f"any.{DOMAIN}") == ["192.0.2.1", "192.0.2.2"]
    assert server.addresses(SHOP) == ["192.0.2.2"], "only the first tier: the server knows no order"
    before = server.serial(DOMAIN)
    assert (await provider.sync(wanted, OWNER)).writes == 0
    assert server.serial(DOMAIN) == before


async def test_a_change_replaces_and_what_is_gone_is_removed(server: powerdns.PowerDns, provider: Rfc2136) -> None:
    await provider.sync(plan(record(f"*.{DOMAIN}", (EU,)), record(SHOP, (US,))), OWNER)
    await provider.sync(plan(record(f"*.{DOMAIN}", (US,))), OWNER)
    assert server.addresses(f"any.{DOMAIN}") == ["192.0.2.2"]
    assert not [name for name, _ in server.rrsets(DOMAIN) if "shop" in name]


async def test_a_name_without_addresses_keeps_what_it_has(server: powerdns.PowerDns, provider: Rfc2136) -> None:
    await provider.sync(plan(record(SHOP, (EU,))), OWNER)
    assert (await provider.sync(plan(record(SHOP)), OWNER)).writes == 0
    assert server.addresses(SHOP) == ["192.0.2.1"]


async def test_spare_addresses_answer_where_a_family_has_no_others(
    server: powerdns.PowerDns, provider: Rfc2136
) -> None:
    await provider.sync(plan(record(SHOP, (EU,), spare=(SIX,))), OWNER)
    answer = server.ask(SHOP, "AAAA").answer
    assert [str(item) for rrset in answer for item in rrset] == ["2001:db8::1"]


async def test_a_foreign_record_is_left_alone(server: powerdns.PowerDns, provider: Rfc2136) -> None:
    server.put(DOMAIN, f"theirs.{DOMAIN}", "A", "198.51.100.1")
    outcome = await provider.sync(plan(record(f"theirs.{DOMAIN}", (EU,))), OWNER)
    assert outcome.foreign == (f"theirs.{DOMAIN}",)
    assert server.addresses(f"theirs.{DOMAIN}") == ["198.51.100.1"]


async def test_withdrawing_leaves_what_is_not_ours(server: powerdns.PowerDns, provider: Rfc2136) -> None:
    await provider.sync(plan(record(f"*.{DOMAIN}", (EU,))), OWNER)
    server.put(DOMAIN, f"kept.{DOMAIN}", "A", "198.51.100.2")
    assert await provider.withdraw(DOMAIN, OWNER) == 2
    left = {name for name, type_ in server.rrsets(DOMAIN) if type_ != "NS"}
    assert f"kept.{DOMAIN}." in left
    assert f"*.{DOMAIN}." not in left


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        # PowerDNS says NOTAUTH for both, which may also mean that it has no such zone: the message names all three.
        ({"secret": "d3Jvbmc="}, errors.DnsRefused, 'know the TSIG key "hawse" with the same algorithm and secret'),
        ({"name": "stranger"}, errors.DnsRefused, 'know the TSIG key "stranger"'),
        ({"secret": "not base64!"}, errors.DnsRefused, "base64"),
        ({"algorithm": "hmac-md5"}, errors.DnsRefused, "algorithm"),
    ],
    ids=["wrong-secret", "unknown-key", "no-base64", "old-algorithm"],
)
async def test_a_wrong_key_is_told_and_never_shown(
    server: powerdns.PowerDns, changes: dict[str, str], error: type[errors.DnsError], said: str
) -> None:
    wrong = key(server, **changes)
    with pytest.raises(error) as refusal:
        await Rfc2136(server.address, server.port, wrong).sync(plan(record(SHOP, (EU,))), OWNER)
    assert said in str(refusal.value)
    assert wrong.secret.get_secret_value() not in f"{refusal.value}{refusal.value.__cause__!r}{wrong!r}"


async def test_a_zone_that_the_server_does_not_have_is_named(server: powerdns.PowerDns, provider: Rfc2136) -> None:
    with pytest.raises(errors.DnsRefused, match=r"transfer of other\.example\.com"):
        await provider.sync(Plan("other.example.com", 20, ()), OWNER)


async def test_a_server_that_is_not_there_is_unavailable(server: powerdns.PowerDns) -> None:
    with pytest.raises(errors.DnsUnavailable, match="cannot be reached over TCP"):
        await Rfc2136("127.0.0.1", powerdns.free_port(), key(server)).sync(plan(), OWNER)


async def test_a_server_is_found_by_its_name(server: powerdns.PowerDns, tmp_path: Path) -> None:
    assert (await Rfc2136("localhost", server.port, key(server)).sync(plan(), OWNER)).foreign == ()
