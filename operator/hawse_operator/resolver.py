"""Asks DNS whether a host name outside the Fleets' domains is proved. Shell: decides nothing (policies.hosts does).

Called by reconcile.lookups, which bounds how many look-ups run at the same time.
"""

from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from hawse_operator import settings
from hawse_operator.policies import hosts

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

    async def look_up(self, hostname: str, record: str) -> hosts.Seen:
        """The CNAME of a host name, and the TXT values of a record."""
        try:
            cname = await self._ask(hostname, dns.rdatatype.CNAME)
            texts = await self._ask(record, dns.rdatatype.TXT)
        except (dns.exception.DNSException, OSError) as exc:
            return hosts.Seen(problem=f"{type(exc).__name__}: {exc}"[:200])
        return hosts.Seen(tuple(texts), cname[0] if cname else "")

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
