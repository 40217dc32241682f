"""The HTTP API of one PowerDNS server: requests with a timeout and bounded retries, errors of our own.

The API key goes into one header and nowhere else: no message and no log line has it, and redirects, which would carry
it away, are not followed. Called by powerdns.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp
from pydantic import SecretStr

from hawse_operator import errors
from hawse_operator.dns.ownership import Difference, Rrset

JsonObject = dict[str, Any]
TIMEOUT_S = 5.0
"""One request; a PATCH of 2,000 record sets took 0.25 s (measured)."""
PAUSES_S = (0.2, 0.8)
"""Before the second and the third attempt of a request that got no answer or a 5xx."""
BATCH = 500
ANSWER_MAX_BYTES = 64 * 1024 * 1024
"""A zone with 50,000 records of its own."""


class Api:
    """One server; the session belongs to the caller."""

    def __init__(self, session: aiohttp.ClientSession, name: str, url: str, key: SecretStr) -> None:
        self.name = name
        self._session = session
        self._url = url.rstrip("/")
        self._key = key

    # --- zones -------------------------------------------------------------------------------------------------------
    async def settings(self) -> dict[str, str]:
        """What the server was started with."""
        found = await self._request("GET", "/config")
        return {str(item["name"]): str(item.get("value", "")) for item in found}

    async def zone(self, domain: str) -> JsonObject | None:
        """A zone with its records; None: the server has none of that name."""
        try:
            found: JsonObject = await self._request("GET", f"/zones/{domain}.")
        except _Missing:
            return None
        return found

    async def create_zone(self, body: JsonObject) -> None:
        """Create a zone. One that somebody made meanwhile is fine."""
        try:
            await self._request("POST", "/zones", body)
        except _Exists:
            return

    async def change(self, domain: str, difference: Difference) -> None:
        """Write and remove record sets; each batch is one transaction of the server."""
        changes = [
            *(to_json(rrset, "REPLACE") for rrset in difference.replace),
            *(to_json(rrset, "DELETE") for rrset in difference.remove),
        ]
        for start in range(0, len(changes), BATCH):
            await self._request("PATCH", f"/zones/{domain}.", {"rrsets": changes[start : start + BATCH]})

    # --- keys --------------------------------------------------------------------------------------------------------
    async def keys(self, domain: str) -> Sequence[JsonObject]:
        """The zone's DNSSEC keys, without their secrets."""
        found: list[JsonObject] = await self._request("GET", f"/zones/{domain}./cryptokeys")
        return found

    async def private_key(self, domain: str, key_id: int) -> SecretStr:
        """The secret of a key."""
        found = await self._request("GET", f"/zones/{domain}./cryptokeys/{key_id}")
        return SecretStr(str(found["privatekey"]))

    async def add_key(self, domain: str, secret: SecretStr) -> None:
        """Sign with a key from another server."""
        body = {"keytype": "csk", "active": True, "published": True, "content": secret.get_secret_value()}
        await self._request("POST", f"/zones/{domain}./cryptokeys", body)

    async def remove_key(self, domain: str, key_id: int) -> None:
        """Sign no more with a key."""
        await self._request("DELETE", f"/zones/{domain}./cryptokeys/{key_id}")

    # --- requests ----------------------------------------------------------------------------------------------------
    async def _request(self, method: str, path: str, body: JsonObject | None = None) -> Any:
        for pause_s in (*PAUSES_S, None):
            try:
                return await self._once(method, path, body)
            except errors.DnsUnavailable:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
        return None

    async def _once(self, method: str, path: str, body: JsonObject | None) -> Any:
        url = f"{self._url}/api/v1/servers/localhost{path}"
        try:
            async with self._session.request(
                method,
                url,
                json=body,
                headers={"X-API-Key": self._key.get_secret_value()},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            ) as response:
                raw = await self._body(response)
        except TimeoutError as exc:
            raise errors.DnsUnavailable(
                f'Server "{self.name}" at {self._url} does not answer within {TIMEOUT_S:.0f} s.'
            ) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise errors.DnsUnavailable(
                f'Server "{self.name}" at {self._url} cannot be reached ({type(exc).__name__}). '
                "Is it running, with api=yes and webserver=yes, and does webserver-allow-from let the operator in?"
            ) from exc
        return self._read(response.status, raw)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        raw = bytearray()
        async for chunk in response.content.iter_chunked(64 * 1024):
            raw += chunk
            if len(raw) > ANSWER_MAX_BYTES:
                raise errors.DnsRefused(f'Server "{self.name}" answers with more than {ANSWER_MAX_BYTES >> 20} MiB.')
        return bytes(raw)

    def _read(self, status: int, raw: bytes) -> Any:
        if 200 <= status < 300:
            if not raw:
                return None
            try:
                return json.loads(raw)
            except ValueError as exc:
                raise errors.DnsRefused(f'Server "{self.name}" at {self._url} is no PowerDNS API: no JSON.') from exc
        said = _said(raw)
        match status:
            case 401 | 403:
                raise errors.DnsKeyRefused(
                    f'Server "{self.name}" refuses the API key ({status}). Put the api-key of its configuration '
                    "into the Secret that powerDNS.apiKeyRef names."
                )
            case 404:
                raise _Missing(f'Server "{self.name}" at {self._url} has no such thing (404). Is the URL right?')
            case 409:
                raise _Exists(f'Server "{self.name}": {said}')
            case _ if status >= 500 or status == 429:
                raise errors.DnsUnavailable(f'Server "{self.name}" answers {status}: {said}')
            case _:
                raise errors.DnsRefused(f'Server "{self.name}" answers {status}: {said}')


class _Missing(errors.DnsRefused):
    """404."""


class _Exists(errors.DnsRefused):
    """409."""


def _said(raw: bytes) -> str:
    try:
        text = str(json.loads(raw)["error"])
    except (ValueError, KeyError, TypeError):
        text = raw.decode("utf-8", "replace")
    return text[:300]


# --- record sets -----------------------------------------------------------------------------------------------------
def to_json(rrset: Rrset, change: str) -> JsonObject:
    """A record set as PATCH takes it."""
    body: JsonObject = {"name": f"{rrset.name}.", "type": rrset.type, "changetype": change}
    if change == "REPLACE":
        body["ttl"] = rrset.ttl_s
        body["records"] = [{"content": content, "disabled": False} for content in rrset.contents]
    return body


def to_rrsets(zone: JsonObject) -> list[Rrset]:
    """Record sets of a zone; a disabled record counts as different from any that is wanted."""
    return [
        Rrset(
            name=str(item["name"]).rstrip(".").lower(),
            type=str(item["type"]),
            ttl_s=int(item["ttl"]),
            contents=tuple(
                sorted(
                    f"{record['content']}{' (disabled)' if record.get('disabled') else ''}"
                    for record in item.get("records", ())
                )
            ),
        )
        for item in zone.get("rrsets", ())
    ]
