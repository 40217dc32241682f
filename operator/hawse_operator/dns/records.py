"""What DNS should answer, without saying how a server is told: endpoints, pools, records.

Plain values. Made by plan, read by lua, ownership and the providers.
"""

from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IpAddress = IPv4Address | IPv6Address
RECORD_TYPES = {4: "A", 6: "AAAA"}
"""Type of the records by version of the address."""
IpNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address at which visitors reach an exit node."""

    address: IpAddress
    port: int
    """TCP port whose answer says that it is up."""
    weight: int
    """Share of answers among the endpoints beside it; at least 1."""
    exit_node: str = ""
    """For identifiers at providers; never becomes part of a Lua text."""


Tier = tuple[Endpoint, ...]
"""Endpoints that share the answers; the next tier is asked when none of them is up."""


@dataclass(frozen=True, slots=True)
class View:
    """Another order of tiers for some client networks."""

    networks: tuple[IpNetwork, ...]
    tiers: tuple[Tier, ...]


class Answer(Enum):
    """How many addresses an answer carries."""

    ONE = auto()
    """One, by weight: visitors."""
    ALL = auto()
    """Every one of the tier that is up: agents."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Who answers for a name. There is at least one tier and no tier is empty, or the pool is empty altogether."""

    tiers: tuple[Tier, ...]
    spare: Tier = ()
    """Weight 0 (draining, not ready): answered only when nothing else is up."""
    views: tuple[View, ...] = ()
    answer: Answer = Answer.ONE
    sticky: bool = False
    """One client network gets the same endpoint as long as that is up."""

    def endpoints(self) -> tuple[Endpoint, ...]:
        """All of them, each address once."""
        tiers = (*self.tiers, *(tier for view in self.views for tier in view.tiers), self.spare)
        return tuple({endpoint.address: endpoint for tier in tiers for endpoint in tier}.values())

    def first_choice(self, version: int) -> Tier:
        """Endpoints of an address family in the first tier that has any: for servers that take one set and no order."""
        tiers = (tuple(one for one in tier if one.address.version == version) for tier in (*self.tiers, self.spare))
        return next((tier for tier in tiers if tier), ())


@dataclass(frozen=True, slots=True)
class Record:
    """A name and who answers for it."""

    name: str
    """Absolute, in lower case, without the last dot: `*.tunnels.example.com`."""
    pool: Pool
    """Empty: nothing is known that could be answered; what the zone has stays."""
    holders: tuple[str, ...] = ()
    """UIDs of the Tunnels that asked for a record of their own; empty: the fleet's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one fleet wants of DNS."""

    domain: str
    ttl_s: int
    records: tuple[Record, ...]

    def record(self, name: str) -> Record | None:
        """The record of a name."""
        return next((record for record in self.records if record.name == name), None)
