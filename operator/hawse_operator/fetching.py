"""Fetches small public documents that tenants name by URL: key sets of token issuers, descriptions of providers. Shell.

The URL is a tenant's and the operator stands inside the cluster: only https, no redirects, and each address is judged
like a target's, after the look-up that is dialled. Of what comes back nothing but its parsed form goes anywhere.
Called by reconcile.key_sets and discovery.
"""

import functools
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from hawse_api import addresses

TIMEOUT_S = 5.0
"""All of it: look-up, connection, answer."""
MAX_BYTES = 256 * 1024
"""Key sets have a few KiB."""


@functools.cache
def trust() -> ssl.SSLContext:
    """The CAs of the system, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document, or why there is none."""

    body: bytes = b""
    problem: str = ""


async def fetch(url: str, allowed: Sequence[str], *, plain: bool = False) -> Fetched:
    """GET a document; never raises, always ends. `allowed`: networks that may be reached although they are private.

    `plain`: http will do.
    """
    where = urlsplit(url)
    if where.scheme not in (("https", "http") if plain else ("https",)) or not where.hostname:
        return Fetched(problem="it is no https URL")
    connector = aiohttp.TCPConnector(resolver=_Judging(allowed), ssl=trust(), use_dns_cache=False, force_close=True)
    try:
        _judge_literal(where.hostname, allowed)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(url, allow_redirects=False, headers={"accept": "application/json"}) as response,
        ):
            if response.status != 200:
                return Fetched(problem=f"it answers {response.status}")
            return await _body(response)
    except TimeoutError:
        return Fetched(problem=f"it does not answer within {TIMEOUT_S:.0f} s")
    except _RefusedError as exc:
        return Fetched(problem=str(exc))
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        refused = exc.__cause__ if isinstance(exc.__cause__, _RefusedError) else None
        return Fetched(problem=str(refused) if refused else f"it cannot be reached ({type(exc).__name__})")
    finally:
        await connector.close()


async def _body(response: aiohttp.ClientResponse) -> Fetched:
    raw = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        raw += chunk
        if len(raw) > MAX_BYTES:
            return Fetched(problem=f"it answers with more than {MAX_BYTES >> 10} KiB")
    return Fetched(bytes(raw))


class _RefusedError(OSError):
    """An address that is not dialled."""


def _judge(address: str, allowed: Sequence[str]) -> None:
    if (why := addresses.refusal(address, allowed, is_service=False)) is not None:
        raise _RefusedError(f"it leads to an address that is not dialled: {why}")


def _judge_literal(host: str, allowed: Sequence[str]) -> None:
    """An address in place of a name is not looked up."""
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        return
    _judge(host, allowed)


class _Judging(AbstractResolver):
    """Gives only addresses that are allowed: those are the ones that are dialled."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = allowed
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name; one that is not allowed refuses all."""
        found = await self._inner.resolve(host, port, family)
        for one in found:
            _judge(one["host"], self._allowed)
        return found

    async def close(self) -> None:
        """Nothing is open."""
        await self._inner.close()
