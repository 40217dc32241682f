"""Asks a provider: tokens, keys, userinfo. Shell: builds nothing and decides nothing.

A tenant names the provider, so what it leads to is judged like a tunnel's target: no address that only the cluster
reaches, unless the Fleet allows its network; each address is judged when it is dialled, so DNS cannot change its mind.
Redirects are not followed, answers are bounded, everything together may take ten seconds. Called by `service`.
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from hawse_api import addresses
from hawse_api.ir import ir_pb2
from hawse_identity import jws
from hawse_identity.errors import GrantRefusedError, KeyUnknownError, ProviderError
from hawse_identity.requests import Form

TIMEOUT_S = 10.0
"""One question with everything that belongs to it: somebody is waiting before a white page."""
MAX_ANSWER_BYTES = 256 * 1024
MAX_CONNECTIONS = 64
MAX_CONNECTIONS_PER_HOST = 16
REFETCH_PAUSE_S = 30.0
"""Between two fetches of the same keys: tokens with invented key ids must not become a load for the provider."""
MAX_KEY_SETS = 1000


@dataclass(slots=True)
class _KeySet:
    """The newest keys of one provider that were fetched here."""

    keys: Sequence[Mapping[str, Any]] = ()
    asked_at: float = -REFETCH_PAUSE_S
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ProviderClient:
    """One for the process; entered on its event loop."""

    def __init__(self, allowed_cidrs: Callable[[], Sequence[str]], clock: Callable[[], float] = time.monotonic) -> None:
        """`allowed_cidrs`: networks that the Fleet allows now, although nothing is dialled there otherwise."""
        self._allowed_cidrs = allowed_cidrs
        self._clock = clock
        self._fetched: dict[str, _KeySet] = {}
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> "ProviderClient":
        """Open the pool."""
        connector = aiohttp.TCPConnector(
            limit=MAX_CONNECTIONS, limit_per_host=MAX_CONNECTIONS_PER_HOST, socket_factory=self._socket
        )
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._http = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close it."""
        await self._http.close()

    async def trade(self, form: Form) -> Mapping[str, Any]:
        """POST to the token endpoint. Not cancel safe: a refresh token may be used up then.

        Raises:
            GrantRefusedError: the provider does not take the code or the refresh token.
            ProviderError: anything else but tokens.
        """
        status, answer = await self._ask("POST", form.url, headers=form.headers, data=form.fields)
        if status == 200 and isinstance(answer, dict):
            return answer
        error = str(answer.get("error", ""))[:40] if isinstance(answer, dict) else ""
        if error == "invalid_grant":
            raise GrantRefusedError("the provider does not accept this sign-in any more (invalid_grant)")
        if error in ("invalid_client", "unauthorized_client") or status == 401:
            raise ProviderError("the provider does not accept our client id or secret")
        raise ProviderError(f"the provider's token endpoint answered {status}")

    async def userinfo(self, provider: ir_pb2.Oidc, access_token: str) -> Mapping[str, Any]:
        """Claims that the ID token lacks (Core, 5.3). Cancel safe.

        Raises:
            ProviderError: there is no such answer.
        """
        headers = {"Authorization": f"Bearer {access_token}"}
        status, answer = await self._ask("GET", provider.userinfo_endpoint, headers=headers)
        if status != 200 or not isinstance(answer, dict):
            raise ProviderError(f"the provider's userinfo endpoint answered {status}")
        return answer

    async def verify(self, provider: ir_pb2.Oidc, token: str) -> jws.Signed:
        """A token's claims, if the provider signed it; a key that is not known is looked for once. Cancel safe.

        Raises:
            TokenError: it must not be believed.
            ProviderError: the newer keys cannot be had.
        """
        known = self._fetched.get(provider.jwks_uri)
        try:
            return jws.read(token, (*(known.keys if known else ()), *jws.parse_keys(provider.jwks)))
        except KeyUnknownError:
            if not provider.jwks_uri:
                raise
        return jws.read(token, await self._newer_keys(provider.jwks_uri))

    async def _newer_keys(self, uri: str) -> Sequence[Mapping[str, Any]]:
        while len(self._fetched) >= MAX_KEY_SETS and uri not in self._fetched:
            del self._fetched[next(iter(self._fetched))]
        held = self._fetched.setdefault(uri, _KeySet())
        async with held.lock:
            if self._clock() >= held.asked_at + REFETCH_PAUSE_S:
                held.asked_at = self._clock()
                status, answer = await self._ask("GET", uri)
                if status != 200:
                    raise ProviderError(f"the provider's keys cannot be had: it answered {status}")
                held.keys = jws.parse_keys(json.dumps(answer).encode())
        return held.keys

    async def _ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        given = {"Accept": "application/json", **(headers or {})}
        try:
            async with self._http.request(method, url, headers=given, data=data, allow_redirects=False) as response:
                body = await response.content.read(MAX_ANSWER_BYTES + 1)
                while not response.content.at_eof() and len(body) <= MAX_ANSWER_BYTES:
                    body += await response.content.read(MAX_ANSWER_BYTES + 1 - len(body))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise ProviderError(f"the provider cannot be reached ({type(exc).__name__})") from exc
        if len(body) > MAX_ANSWER_BYTES:
            raise ProviderError("the provider's answer is too long")
        try:
            return response.status, json.loads(body) if body else None
        except ValueError:
            return response.status, None

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """For each address that is about to be dialled: refuse those that only the cluster reaches."""
        family, kind, protocol, _, address = info
        if addresses.refusal(str(address[0]), self._allowed_cidrs(), is_service=False) is not None:
            raise PermissionError("an address that is not allowed: spec.targets.allowedCIDRs of the Fleet")
        return socket.socket(family, kind, protocol)
