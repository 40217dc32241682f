"""Asks DNS whether a host name outside the Fleets' domains is proved, and where load balancers are. Shell.

Called by reconcile.lookups and reconcile.balancers, which bound how many look-ups run at the same time.
"""

import asyncio
import ipaddress
from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from hawse_operator import settings
from hawse_operator.policies import balancers, hosts

TIMEOUT_S = 5.0
"""One question, with all its retries."""
MAX_TEXTS = 64
"""TXT values that are read of one record: a foreign server decides how many it sends."""


class Resolver:
    """One for the process."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        """`servers`: "192.0.2.53" or "192.0.2.53:5353"; empty: those of the system."""
        self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            self._resolver.nameservers = [_nameserver(server) for server in servers]
        self._resolver.lifetime = TIMEOUT_S
        self._resolver.timeout = TIMEOUT_S / 2
        self._resolver.cache = None

    async def look_up(self, question: hosts.Question) -> hosts.Seen:
        """The CNAME of a host name, and the TXT values of a record; never raises, always ends."""
        try:
            cname = await self._ask(question.hostname, dns.rdatatype.CNAME)
            texts = await self._ask(question.record, dns.rdatatype.TXT)
        except (dns.exception.DNSException, OSError) as exc:
            return hosts.Seen(problem=f"{type(exc).__name__}: {exc}"[:200])
        return hosts.Seen(tuple(texts), cname[0] if cname else "")

    async def addresses(self, hostname: str) -> balancers.Found:
        """A and AAAA of a name, in order, and how long they may be used."""
        try:
            answers = await asyncio.gather(
                *(
                    self._resolver.resolve(dns.name.from_text(hostname), type_, raise_on_no_answer=False)
                    for type_ in (dns.rdatatype.A, dns.rdatatype.AAAA)
                )
            )
        except (dns.exception.DNSException, OSError) as exc:
            return balancers.Found(problem=f"{type(exc).__name__}: {exc}"[:200])
        found = {ipaddress.ip_address(str(rdata)) for answer in answers for rdata in answer.rrset or ()}
        ttls = [answer.rrset.ttl for answer in answers if answer.rrset]
        ordered = sorted(found, key=lambda one: (one.version, int(one)))
        return balancers.Found(tuple(ordered), float(min(ttls, default=0)))

    async def _ask(self, name: str, type_: dns.rdatatype.RdataType) -> list[str]:
        try:
            answer = await self._resolver.resolve(dns.name.from_text(name), type_, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return []
        return [_text(rdata) for rdata in list(answer.rrset or ())[:MAX_TEXTS]]


def _text(rdata: object) -> str:
    if (strings := getattr(rdata, "strings", None)) is not None:
        return b"".join(strings).decode("ascii", "replace")
    return str(getattr(rdata, "target", "")).rstrip(".").lower()


def _nameserver(server: str) -> dns.nameserver.Do53Nameserver:
    address, port = settings.parse_server(server)
    return dns.nameserver.Do53Nameserver(address, port)
