"""A pool → the text of a PowerDNS LUA record, from addresses, networks and integers only.

The text is code that the DNS server runs, so nothing that a person can choose freely ever gets into it: no name, no
label, no annotation. A property test holds it to that.

PowerDNS 4.7.3 has no weighted selector that knows health, and its `ifportup` cannot say "none is up": it answers its
backup selection then (measured). So every call gets an address along that no TCP connection can ever reach; if that one
comes back, none is up, or nothing was checked yet. Called by the PowerDNS provider.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hawse_operator.dns.records import RECORD_TYPES, Answer, Endpoint, IpAddress, Pool, Tier

NEVER_UP = {4: "255.255.255.255", 6: "ff02::1"}
"""TCP refuses broadcast and multicast at once, without a packet."""

_HEALTH = (
    "local U={{}} "
    "local function C(p,a) local r=ifportup(p,a,{{selector='all',backupSelector='all'}}) "
    "for _,v in ipairs(r) do if v=='{never}' then return end end "
    "for _,v in ipairs(r) do U[v]=true end end "
)
_ONE = (
    "local function P(t) local l={{}} for _,e in ipairs(t) do l[#l+1]=e end "
    "while #l>0 do local x={pick}(l) if U[x] then return x end "
    "for i=#l,1,-1 do if l[i][2]==x then table.remove(l,i) end end end end "
    "for _,t in ipairs(T) do local x=P(t) if x then return x end end "
    "return {pick}(T[1])"
)
"""Choose by weight among all; if that one is down, among the rest: the clients of others keep theirs. The last line
answers when nothing is up, or nothing was checked yet."""
_ALL = (
    "for _,t in ipairs(T) do local l={} for _,e in ipairs(t) do if U[e[2]] then l[#l+1]=e[2] end end "
    "if #l>0 then return l end end "
    "local l={} for _,t in ipairs(T) do for _,e in ipairs(t) do l[#l+1]=e[2] end end return l"
)


def render(pool: Pool) -> tuple[str, ...]:
    """Contents of the LUA rrset: one for IPv4, one for IPv6, as far as the pool has such addresses."""
    return tuple(
        f'{RECORD_TYPES[version]} "{_chunk(part, version)}"' for version in (4, 6) if (part := _of(pool, version)).tiers
    )


def _of(pool: Pool, version: int) -> Pool:
    """The part of one address family; its spare endpoints move up where nothing else is left."""
    return Pool(
        tiers=_part(pool.tiers, version) or _part((pool.spare,), version),
        spare=tuple(endpoint for endpoint in pool.spare if endpoint.address.version == version),
        views=tuple(type(view)(view.networks, tiers) for view in pool.views if (tiers := _part(view.tiers, version))),
        answer=pool.answer,
        sticky=pool.sticky,
    )


def _part(tiers: Iterable[Tier], version: int) -> tuple[Tier, ...]:
    parts = (tuple(endpoint for endpoint in tier if endpoint.address.version == version) for tier in tiers)
    return tuple(part for part in parts if part)


def _chunk(pool: Pool, version: int) -> str:
    pick = "pickwhashed" if pool.sticky else "pickwrandom"
    spare = (pool.spare,) if pool.spare else ()
    views = "".join(
        f"{'elseif' if number else 'if'} netmask({{{_quoted(view.networks)}}}) then T={_tiers((*view.tiers, *spare))} "
        for number, view in enumerate(pool.views)
    )
    return (
        ";"
        + _HEALTH.format(never=NEVER_UP[version])
        + _checks(pool.endpoints(), version)
        + f"local T={_tiers((*pool.tiers, *spare))} "
        + (views + "end " if views else "")
        + (_ALL if pool.answer is Answer.ALL else _ONE.format(pick=pick))
    )


def _checks(endpoints: Sequence[Endpoint], version: int) -> str:
    by_port: defaultdict[int, list[IpAddress]] = defaultdict(list)
    for endpoint in endpoints:
        by_port[endpoint.port].append(endpoint.address)
    return "".join(
        f"C({int(port)},{{{_quoted(addresses)},'{NEVER_UP[version]}'}}) " for port, addresses in sorted(by_port.items())
    )


def _tiers(tiers: Iterable[Tier]) -> str:
    rows = (",".join(f"{{{int(one.weight)},'{one.address}'}}" for one in tier) for tier in tiers)
    return "{" + ",".join(f"{{{row}}}" for row in rows) + "}"


def _quoted(values: Iterable[object]) -> str:
    return ",".join(f"'{value}'" for value in values)
