"""Visitors who know a name only, and a fleet whose DNS leads them: a real PowerDNS, asked again when the TTL is over.

Called by tests/cluster/test_rollout.py and test_region_lost.py.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import Self

import httpx

from hawse_api import names
from support import powerdns
from support.operator import FLEET, SYSTEM, Api
from support.whole import HOST, WORKS

TTL_S = 5
PAUSE_S = 0.1
TIMEOUT_S = 15.0


def manage_dns(api: Api, server: powerdns.PowerDns) -> None:
    """Have the operator write the fleet's records; returns when it has."""
    key = {"name": "dns-key", "namespace": SYSTEM}
    api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": key, "stringData": {"api-key": server.key}})
    members = {"servers": [{"name": "a", "url": server.url}], "apiKeyRef": {"name": "dns-key"}}
    dns = {"type": "PowerDNS", "ttl": f"{TTL_S}s", "powerDNS": members}
    api.apply({**FLEET, "spec": FLEET["spec"] | {"dns": dns, "listeners": {"https": names.PORT_HTTPS}}})  # type: ignore[operator]  # it is a dict
    api.wait_reason("fleet", "default", "DNSReady", "Published")


@dataclass
class ByName:
    """A visitor who knows the name only; the address is believed for as long as DNS said."""

    server: powerdns.PowerDns
    keeps_connection: bool
    failures: list[str] = field(default_factory=list)
    failed_at: list[float] = field(default_factory=list)
    """When each of them began, on the monotonic clock."""
    seen: dict[str, int] = field(default_factory=dict)
    _leave: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="visitor")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        assert self._thread is not None
        self._thread.join(30.0)

    def _run(self) -> None:
        address, believed_until = "", 0.0
        client = self._client()
        while not self._leave.wait(PAUSE_S):
            if time.monotonic() >= believed_until:
                address, believed_until = self.server.addresses(HOST)[0], time.monotonic() + TTL_S
                client.close()
                client = self._client()
            if not self.keeps_connection:
                client.close()
                client = self._client()
            self._visit(client, address)
        client.close()

    def _client(self) -> httpx.Client:
        return httpx.Client(verify=False, timeout=TIMEOUT_S, trust_env=False)  # noqa: S501 - self-signed

    def _visit(self, client: httpx.Client, address: str) -> None:
        self.seen[address] = self.seen.get(address, 0) + 1
        began = time.monotonic()
        try:
            answer = client.get(
                f"https://{address}:{names.PORT_HTTPS}/", headers={"Host": HOST}, extensions={"sni_hostname": HOST}
            )
        except httpx.HTTPError as exc:
            self._failed(f"{address}: {exc!r} after {time.monotonic() - began:.1f} s", began)
            return
        if f"{answer.status_code} {answer.text}" != WORKS:
            self._failed(f"{address}: {answer.status_code} {answer.headers.get('x-hawse-error')}", began)

    def _failed(self, why: str, began: float) -> None:
        self.failures.append(why)
        self.failed_at.append(began)
