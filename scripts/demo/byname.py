"""Visitors who come by name: the fleet's name server is asked, and its answer kept for as long as it says.

Several resolvers stand between, as between a fleet and its visitors; each asks anew when its TTL is over and not
before, so an exit node that goes too early is missed. Called by kills.
"""

import itertools
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

import powerdns
from demo.visits import Door

RESOLVERS = 6
_TIMEOUT_S = 2.0


@dataclass(slots=True)
class Resolver:
    """One cache between visitors and the name server."""

    server: powerdns.Server
    name: str
    address: str = ""
    until: float = 0.0

    def ask(self) -> str:
        """The address; the last one if the server gives none."""
        if time.monotonic() < self.until:
            return self.address
        query = dns.message.make_query(self.name, dns.rdatatype.A)
        try:
            answer = dns.query.udp(query, self.server.address, port=self.server.port, timeout=_TIMEOUT_S)
        except (dns.exception.DNSException, OSError):
            return self.address
        for rrset in answer.answer:
            self.address, self.until = str(random.choice(list(rrset))), time.monotonic() + rrset.ttl  # noqa: S311
        return self.address


@dataclass(slots=True)
class Led:
    """Where the next visitor goes."""

    server: powerdns.Server
    name: str
    regions: Mapping[str, str]
    """Address -> region, of the exit nodes that are known."""
    others: str
    """Region of every other address."""
    _resolvers: Iterator[Resolver] = field(init=False)

    def __post_init__(self) -> None:
        """Ask once, so that the first visitors have somewhere to go."""
        resolvers = [Resolver(self.server, self.name) for _ in range(RESOLVERS)]
        for one in resolvers:
            one.ask()
        self._resolvers = itertools.cycle(resolvers)

    def __call__(self, door: Door) -> Door:
        """The door that DNS leads to in place of this one."""
        address = next(self._resolvers).ask()
        return replace(door, address=address, region=self.regions.get(address, self.others))
