"""PowerDNS Authoritative Server: LUA records, one zone for each fleet on every server, all signed with one key.

Whatever a look-up needs stands in the records: weights, tiers, networks, health checks. So DNS keeps failing over while
the operator is away. The zone is made and signed (NSEC3, narrow: names cannot be listed) if it is not there; in one
that is there only our own names are touched. Called by reconcile.dns.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
from pydantic import SecretStr

from hawse_operator import errors
from hawse_operator.dns import lua, ownership
from hawse_operator.dns.ownership import Owner, Rrset
from hawse_operator.dns.providers.base import Outcome
from hawse_operator.dns.providers.powerdns_api import Api, JsonObject, to_rrsets
from hawse_operator.dns.records import Plan

Result = TypeVar("Result")
NEGATIVE_TTL_S = 60
"""How long resolvers believe that a name does not exist. Few do not: there is a wildcard."""
NSEC3 = "1 0 0 -"
"""No extra iterations, no salt (RFC 9276)."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the fleet."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class _Synced:
    writes: int
    foreign: tuple[str, ...]
    hints: tuple[str, ...]


class PowerDns:
    """The servers of one fleet."""

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        nameservers: Sequence[str],
        key: SecretStr,
        known_ds: Sequence[str] = (),
    ) -> None:
        """`known_ds`: what the fleet's status says, which the parent zone may have; that key is the one that stays."""
        self._servers = servers
        self._nameservers = tuple(nameservers)
        self._key = key
        self._known_ds = frozenset(known_ds)

    async def sync(self, plan: Plan, owner: Owner) -> Outcome:
        """Bring every server to the plan; one that fails does not keep the others waiting for it."""
        async with aiohttp.ClientSession() as session:
            apis = [Api(session, server.name, server.url, self._key) for server in self._servers]
            synced = await _each(apis, lambda api: self._sync_one(api, plan, owner))
            ds_records = await self._share_keys(apis, plan.domain)
        hints = {hint for one in synced for hint in one.hints}
        if not self._nameservers:
            hints.add("Name these servers in powerDNS.nameservers before the parent zone delegates to them.")
        return Outcome(
            writes=sum(one.writes for one in synced),
            foreign=tuple(sorted({name for one in synced for name in one.foreign})),
            ds_records=ds_records,
            hints=tuple(sorted(hints)),
        )

    async def withdraw(self, domain: str, owner: Owner) -> int:
        """Remove our records; the zone and its keys stay."""
        async with aiohttp.ClientSession() as session:
            apis = [Api(session, server.name, server.url, self._key) for server in self._servers]
            return sum(await _each(apis, lambda api: self._withdraw_one(api, domain, owner)))

    # --- one server --------------------------------------------------------------------------------------------------
    async def _sync_one(self, api: Api, plan: Plan, owner: Owner) -> _Synced:
        hints = _hints_of(api.name, await api.settings(), plan)
        zone = await api.zone(plan.domain)
        created = zone is None
        if zone is None:
            await api.create_zone(self._new_zone(plan))
            zone = await api.zone(plan.domain) or {}
        rrsets = to_rrsets(zone)
        found = ownership.difference(rrsets, self._wanted(plan), owner, ttl_s=plan.ttl_s)
        if plan.domain not in found.foreign:
            found = self._with_nameservers(found, rrsets, plan)
        await api.change(plan.domain, found)
        return _Synced(int(created) + len(found.replace) + len(found.remove), found.foreign, hints)

    async def _withdraw_one(self, api: Api, domain: str, owner: Owner) -> int:
        zone = await api.zone(domain)
        found = ownership.difference(to_rrsets(zone or {}), {}, owner, ttl_s=0)
        await api.change(domain, found)
        return len(found.remove)

    def _wanted(self, plan: Plan) -> dict[str, tuple[Rrset, ...]]:
        result: dict[str, tuple[Rrset, ...]] = {}
        for record in plan.records:
            contents = lua.render(record.pool)
            result[record.name] = (Rrset(record.name, "LUA", plan.ttl_s, tuple(sorted(contents))),) if contents else ()
        return result

    def _with_nameservers(
        self, found: ownership.Difference, rrsets: Sequence[Rrset], plan: Plan
    ) -> ownership.Difference:
        if not self._nameservers:
            return found
        wanted = Rrset(plan.domain, "NS", 3_600, tuple(sorted(f"{name}." for name in self._nameservers)))
        if wanted in rrsets:
            return found
        return ownership.Difference((*found.replace, wanted), found.remove, found.foreign)

    def _new_zone(self, plan: Plan) -> JsonObject:
        first = self._nameservers[0] if self._nameservers else plan.domain
        soa = f"{first}. hostmaster.{plan.domain}. 0 10800 3600 604800 {NEGATIVE_TTL_S}"
        return {
            "name": f"{plan.domain}.",
            "kind": "Native",
            "nameservers": [],
            "dnssec": True,
            "nsec3param": NSEC3,
            "nsec3narrow": True,
            "soa_edit_api": "DEFAULT",
            "rrsets": [
                {
                    "name": f"{plan.domain}.",
                    "type": "SOA",
                    "ttl": 3_600,
                    "records": [{"content": soa, "disabled": False}],
                }
            ],
        }

    # --- keys --------------------------------------------------------------------------------------------------------
    async def _share_keys(self, apis: Sequence[Api], domain: str) -> tuple[str, ...]:
        """Make all servers sign with the same key, or an answer of one would not fit the DNSKEY of another.

        Each makes a key of its own with the zone. The one whose DS the fleet's status names stays, else the first.
        """
        keys = await _each(apis, lambda api: _active_keys(api, domain))
        if not any(keys):
            return ()
        source = next((index for index, found in enumerate(keys) if self._known_ds & set(_ds_of(found, domain))), None)
        if source is None:
            source = next(index for index, found in enumerate(keys) if found)
        wanted = {str(key["dnskey"]) for key in keys[source]}
        for api, found in zip(apis, keys, strict=True):
            if {str(key["dnskey"]) for key in found} != wanted:
                await _copy_keys(apis[source], keys[source], api, found, domain)
        return _ds_of(keys[source], domain)


async def _active_keys(api: Api, domain: str) -> Sequence[JsonObject]:
    return [key for key in await api.keys(domain) if key.get("active")]


async def _copy_keys(
    source: Api, source_keys: Sequence[JsonObject], target: Api, target_keys: Sequence[JsonObject], domain: str
) -> None:
    there = {str(key["dnskey"]) for key in target_keys}
    wanted = {str(key["dnskey"]) for key in source_keys}
    for key in source_keys:
        if str(key["dnskey"]) not in there:
            await target.add_key(domain, await source.private_key(domain, int(key["id"])))
    for key in target_keys:
        if str(key["dnskey"]) not in wanted:
            await target.remove_key(domain, int(key["id"]))


def _ds_of(keys: Sequence[JsonObject], domain: str) -> tuple[str, ...]:
    """DS records with SHA-256 (digest type 2): the one that every registry takes."""
    found = (str(text) for key in keys for text in key.get("ds", ()))
    return tuple(sorted(f"{domain}. IN DS {text}" for text in found if text.split()[2:3] == ["2"]))


def _hints_of(name: str, settings: dict[str, str], plan: Plan) -> tuple[str, ...]:
    if settings.get("enable-lua-records", "no") == "no":
        raise errors.DnsRefused(
            f'Server "{name}" does not answer LUA records: set enable-lua-records=yes in its pdns.conf and restart it.'
        )
    pools = [record.pool for record in plan.records]
    if settings.get("edns-subnet-processing", "no") == "no" and any(pool.views or pool.sticky for pool in pools):
        return (
            f'Server "{name}" does not look at client networks (ECS): set edns-subnet-processing=yes; until then the '
            "address of the resolver decides.",
        )
    return ()


async def _each(apis: Sequence[Api], ask: Callable[[Api], Awaitable[Result]]) -> list[Result]:
    """Ask all at the same time. Raises once all have answered, the errors of all in one."""

    async def one(api: Api) -> Result | errors.DnsError:
        try:
            return await ask(api)
        except errors.DnsError as exc:
            return exc

    answers = await asyncio.gather(*(one(api) for api in apis))
    failed = [answer for answer in answers if isinstance(answer, errors.DnsError)]
    if failed:
        raise type(failed[0])(" ".join(str(problem) for problem in failed)) from failed[0]
    return [answer for answer in answers if not isinstance(answer, errors.DnsError)]
