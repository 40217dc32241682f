"""How often enrolment may be tried: per address, per token, in total (design 0002, 5). Time is an argument.

The generic cell rate algorithm: one number per key. Tables are bounded and forget the key that was unused longest, so
an attacker with many addresses meets the limit in total instead. Used by `relay`.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` at once, then `per_minute`."""

    burst: int
    per_minute: float


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """Defaults leave room for an office of laptops behind one address; a 256-bit secret needs no tighter ones."""

    address: Limit = Limit(burst=30, per_minute=30)
    token: Limit = Limit(burst=30, per_minute=30)
    total: Limit = Limit(burst=300, per_minute=600)
    max_keys: int = 10_000


class Attempts:
    """Counts attempts. `allow` is asked once per attempt."""

    def __init__(self, limits: AttemptLimits | None = None) -> None:
        self._limits = limits or AttemptLimits()
        self._tables: dict[str, OrderedDict[str, float]] = {name: OrderedDict() for name in ("address", "token", TOTAL)}

    def allow(self, address: str, token_id: str, now: float) -> float:
        """0 = go on (and counted), else seconds to wait. `now` is any clock that never goes back."""
        asked = (
            (self._tables["address"], address_key(address), self._limits.address),
            (self._tables["token"], token_id[:64], self._limits.token),
            (self._tables[TOTAL], TOTAL, self._limits.total),
        )
        wait_s = max(_wait(table.get(key, 0.0), limit, now) for table, key, limit in asked)
        if wait_s > 0:
            return wait_s
        for table, key, limit in asked:
            table[key] = max(table.get(key, 0.0), now) + 60.0 / limit.per_minute
            table.move_to_end(key)
            while len(table) > self._limits.max_keys:
                table.popitem(last=False)
        return 0.0

    def __len__(self) -> int:
        return sum(len(table) for table in self._tables.values())


def _wait(earliest: float, limit: Limit, now: float) -> float:
    return max(0.0, earliest - now - (limit.burst - 1) * 60.0 / limit.per_minute)


def address_key(text: str) -> str:
    """What counts as one address: an IPv4 address, a /64 of IPv6, and one bucket for everything unreadable."""
    host = text.rpartition(":")[0].strip("[]") if text.count(":") == 1 or text.startswith("[") else text
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "unreadable"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
