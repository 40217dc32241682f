"""Any name server that takes dynamic updates: RFC 2136 with TSIG, the zone read by transfer (AXFR) with the same key.

A record set has no weights and the server checks nobody, so the ready exit nodes of the first choice are published,
all alike, and every change waits for the operator. The zone has to exist. Called by reconcile.dns.
"""

import asyncio
import binascii
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataset
import dns.rdatatype
import dns.tsig
import dns.update
import dns.xfr
import dns.zone
from pydantic import SecretStr

from hawse_operator import errors
from hawse_operator.dns import ownership
from hawse_operator.dns.ownership import Difference, Owner, Rrset
from hawse_operator.dns.providers.base import Outcome
from hawse_operator.dns.records import RECORD_TYPES, Plan, Pool

Result = TypeVar("Result")
TIMEOUT_S = 5.0
TRANSFER_TIMEOUT_S = 20.0
BATCH = 200
"""Record sets in one update: far below the 64 KiB of a message."""
ALGORITHMS = frozenset({"hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"})
KEY_ERRORS = (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadKey, dns.tsig.BadTime, dns.message.UnknownTSIGKey)


@dataclass(frozen=True, slots=True)
class TsigKey:
    """What updates and transfers are signed with."""

    name: str
    algorithm: str
    secret: SecretStr


class Rfc2136:
    """The primary of one fleet's zone."""

    def __init__(self, server: str, port: int, key: TsigKey) -> None:
        self._server = server
        self._port = port
        self._key = key

    async def sync(self, plan: Plan, owner: Owner) -> Outcome:
        """Bring the zone to the plan."""
        wanted = {record.name: _rrsets_of(record.name, record.pool, plan.ttl_s) for record in plan.records}
        found = ownership.difference(await self._zone(plan.domain), wanted, owner, ttl_s=plan.ttl_s)
        await self._change(plan.domain, found)
        return Outcome(writes=len(found.replace) + len(found.remove), foreign=found.foreign)

    async def withdraw(self, domain: str, owner: Owner) -> int:
        """Remove our records."""
        found = ownership.difference(await self._zone(domain), {}, owner, ttl_s=0)
        await self._change(domain, found)
        return len(found.remove)

    async def _zone(self, domain: str) -> list[Rrset]:
        origin = dns.name.from_text(domain)

        async def transfer() -> list[Rrset]:
            zone = dns.zone.Zone(origin, relativize=False)
            query, _ = dns.xfr.make_query(zone, keyring=self._keyring())
            await dns.asyncquery.inbound_xfr(
                await self._address(), zone, query, port=self._port, timeout=TIMEOUT_S, lifetime=TRANSFER_TIMEOUT_S
            )
            return _read(zone)

        return await self._translated(domain, "transfer", transfer)

    async def _change(self, domain: str, difference: Difference) -> None:
        changes = [*((rrset, True) for rrset in difference.replace), *((rrset, False) for rrset in difference.remove)]
        for start in range(0, len(changes), BATCH):
            update = dns.update.UpdateMessage(domain, keyring=self._keyring())
            for rrset, is_wanted in changes[start : start + BATCH]:
                name = dns.name.from_text(rrset.name)
                if is_wanted:
                    update.replace(name, dns.rdataset.from_text_list("IN", rrset.type, rrset.ttl_s, rrset.contents))
                else:
                    update.delete(name, rrset.type)
            await self._send(domain, update)

    async def _send(self, domain: str, update: dns.update.UpdateMessage) -> None:
        async def send() -> dns.message.Message:
            return await dns.asyncquery.tcp(update, await self._address(), port=self._port, timeout=TIMEOUT_S)

        answer = await self._translated(domain, "update", send)
        if (rcode := answer.rcode()) is not dns.rcode.NOERROR:
            raise self._refused(domain, "update", dns.rcode.to_text(rcode))

    async def _translated(self, domain: str, what: str, ask: Callable[[], Awaitable[Result]]) -> Result:
        where = f"Server {self._server} port {self._port}"
        try:
            return await ask()
        except KEY_ERRORS as exc:
            raise errors.DnsKeyRefused(
                f"{where} refuses the TSIG key ({type(exc).__name__}). Compare the entries of the Secret "
                "that rfc2136.tsigKeyRef names with the server's configuration, and both clocks."
            ) from exc
        except dns.xfr.TransferError as exc:
            raise self._refused(domain, what, dns.rcode.to_text(exc.rcode)) from exc
        except (TimeoutError, dns.exception.Timeout) as exc:
            raise errors.DnsUnavailable(f"{where} does not answer within {TIMEOUT_S:.0f} s.") from exc
        except (OSError, EOFError) as exc:
            raise errors.DnsUnavailable(f"{where} cannot be reached over TCP: {exc}.") from exc
        except dns.exception.DNSException as exc:
            raise errors.DnsRefused(f"{where} gives an answer to the {what} that cannot be read: {exc}.") from exc

    def _refused(self, domain: str, what: str, rcode: str) -> errors.DnsRefused:
        return errors.DnsRefused(
            f"Server {self._server} port {self._port} answers {rcode} to the {what} of {domain}. It must be the "
            f'primary of that zone, know the TSIG key "{self._key.name}" with the same algorithm and secret, and allow '
            "it to transfer and to update the zone."
        )

    def _keyring(self) -> dns.tsig.Key:
        if self._key.algorithm not in ALGORITHMS:
            raise errors.DnsRefused(f"The TSIG key's algorithm must be one of {', '.join(sorted(ALGORITHMS))}.")
        try:
            return dns.tsig.Key(self._key.name, self._key.secret.get_secret_value(), self._key.algorithm)
        except (binascii.Error, ValueError, dns.exception.DNSException):
            # Without its cause: that could carry parts of the secret.
            raise errors.DnsRefused("The TSIG key's secret must be base64, and its name a name of DNS.") from None

    async def _address(self) -> str:
        """The server's address; dnspython takes no names."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT_S):
            found = await loop.getaddrinfo(self._server, self._port, type=socket.SOCK_STREAM)
        return str(found[0][4][0])


def _read(zone: dns.zone.Zone) -> list[Rrset]:
    return [
        Rrset(
            name=name.to_text(omit_final_dot=True).lower(),
            type=dns.rdatatype.to_text(rdataset.rdtype),
            ttl_s=rdataset.ttl,
            contents=tuple(sorted(rdata.to_text() for rdata in rdataset)),
        )
        for name, rdataset in zone.iterate_rdatasets()
    ]


def _rrsets_of(name: str, pool: Pool, ttl_s: int) -> tuple[Rrset, ...]:
    """Addresses of the first choice; a family that it lacks comes from the next."""
    result = []
    for version, type_ in RECORD_TYPES.items():
        addresses = sorted(str(one.address) for one in pool.first_choice(version))
        if addresses:
            result.append(Rrset(name, type_, ttl_s, tuple(addresses)))
    return tuple(result)
