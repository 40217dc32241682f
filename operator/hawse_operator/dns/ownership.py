"""Which records of a zone are ours, and what has to change: compared with the zone, never with memory.

A TXT record beside each name says whose it is. A name that carries addresses, an alias or Lua without our TXT record
is somebody else's: it is left alone and reported. A name whose pool is empty keeps what it has. Pure. Called by the
providers that write zones (PowerDNS, RFC2136).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

STEERED = frozenset({"A", "AAAA", "CNAME", "LUA"})
"""Types with which somebody answers for a name."""
PREFIX = "_hawse-owner"
ANY = "_any"
"""In place of `*`, below which the owner's TXT record of a wildcard stands."""


@dataclass(frozen=True, slots=True)
class Rrset:
    """Records of one name and type."""

    name: str
    """Absolute, lower case, without the last dot."""
    type: str
    ttl_s: int
    contents: tuple[str, ...]
    """Sorted, in the spelling of the zone file."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes: the cluster, and the fleet within it."""

    cluster_uid: str
    fleet: str

    @property
    def text(self) -> str:
        """Content of the TXT record."""
        return f'"heritage=hawse,owner={self.cluster_uid},fleet={self.fleet}"'


@dataclass(frozen=True, slots=True)
class Difference:
    """What to write, what to remove, and whose records are in the way."""

    replace: tuple[Rrset, ...]
    remove: tuple[Rrset, ...]
    foreign: tuple[str, ...]
    """Names that are somebody else's."""

    @property
    def is_empty(self) -> bool:
        """The zone is as it should be."""
        return not self.replace and not self.remove


def owner_name(name: str) -> str:
    """Where the TXT record of a name stands: beside it, so that an alias at the name does not forbid it."""
    first, _, rest = name.partition(".")
    return f"{PREFIX}.{ANY}.{rest}" if first == "*" else f"{PREFIX}.{name}"


def owned_name(txt_name: str) -> str | None:
    """The name that a TXT record of ours speaks of; None: it is none of ours."""
    prefix, _, rest = txt_name.partition(".")
    if prefix != PREFIX or not rest:
        return None
    first, _, parent = rest.partition(".")
    return f"*.{parent}" if first == ANY else rest


def difference(
    zone: Iterable[Rrset], wanted: Mapping[str, tuple[Rrset, ...]], owner: Owner, *, ttl_s: int
) -> Difference:
    """What makes the zone be as wanted. `wanted`: name → rrsets; without any the name keeps what it has."""
    there = {(rrset.name, rrset.type): rrset for rrset in zone}
    own = {
        name
        for (txt_name, type_), rrset in there.items()
        if type_ == "TXT" and (name := owned_name(txt_name)) is not None and owner.text in rrset.contents
    }
    steered = {name for name, type_ in there if type_ in STEERED}
    foreign = {name for name, rrsets in wanted.items() if rrsets and name in steered - own}
    replace: list[Rrset] = []
    remove: list[Rrset] = []
    for name, rrsets in sorted(wanted.items()):
        if name in foreign or not rrsets:
            continue
        new = (Rrset(owner_name(name), "TXT", ttl_s, (owner.text,)), *rrsets)
        replace += [rrset for rrset in new if there.get((rrset.name, rrset.type)) != rrset]
        types = {rrset.type for rrset in rrsets}
        remove += _steering(there, name, without=types)
    for name in sorted(own - set(wanted)):
        remove += [*_steering(there, name), there[owner_name(name), "TXT"]]
    return Difference(tuple(replace), tuple(remove), tuple(sorted(foreign)))


def _steering(there: Mapping[tuple[str, str], Rrset], name: str, *, without: Iterable[str] = ()) -> list[Rrset]:
    kept = set(without)
    return [there[name, type_] for type_ in sorted(STEERED - kept) if (name, type_) in there]
