"""A rolling update of every exit node while visitors come by name: nobody fails, whether new or connected.

Visitors resolve as people's machines do: at the fleet's PowerDNS, and again only when the TTL is over.
"""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from hawse_api import names
from support import powerdns
from support.operator import FLEET, SYSTEM, Api, exit_node, wait_for
from support.whole import HOST, WORKS, installed, laptop, pods_of

pytestmark = pytest.mark.timeout(600)  # a cold machine builds Helm first
REGIONS = {"eu-1": "eu-west", "us-1": "us-east"}
TTL_S = 5
PAUSE_S = 0.1


@dataclass
class ByName:
    """A visitor who knows the name only; the address is believed for as long as DNS said."""

    server: powerdns.PowerDns
    keeps_connection: bool
    failures: list[str] = field(default_factory=list)
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
        return httpx.Client(verify=False, timeout=15.0, trust_env=False)  # noqa: S501 - self-signed

    def _visit(self, client: httpx.Client, address: str) -> None:
        self.seen[address] = self.seen.get(address, 0) + 1
        began = time.monotonic()
        try:
            answer = client.get(
                f"https://{address}:{names.PORT_HTTPS}/", headers={"Host": HOST}, extensions={"sni_hostname": HOST}
            )
        except httpx.HTTPError as exc:
            self.failures.append(f"{address}: {exc!r} after {time.monotonic() - began:.1f} s")
            return
        if f"{answer.status_code} {answer.text}" != WORKS:
            self.failures.append(f"{address}: {answer.status_code} {answer.headers.get('x-hawse-error')}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[powerdns.PowerDns]:
    with powerdns.running(tmp_path_factory.mktemp("dns")) as server:
        yield server


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, server: powerdns.PowerDns) -> Iterator[Api]:
    with installed(tmp_path_factory.mktemp("rollout"), regions=REGIONS) as api:
        key = {"name": "dns-key", "namespace": SYSTEM}
        api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": key, "stringData": {"api-key": server.key}})
        members = {"servers": [{"name": "a", "url": server.url}], "apiKeyRef": {"name": "dns-key"}}
        dns = {"type": "PowerDNS", "ttl": f"{TTL_S}s", "powerDNS": members}
        api.apply({**FLEET, "spec": FLEET["spec"] | {"dns": dns, "listeners": {"https": names.PORT_HTTPS}}})  # type: ignore[operator]  # it is a dict
        api.wait_reason("fleet", "default", "DNSReady", "Published")
        yield api


def updated(name: str, region: str, version: int) -> dict[str, Any]:
    """The ExitNode with another pod template, and the time to stop that follows from the TTL."""
    annotations = {"metadata": {"annotations": {"example.com/version": str(version)}}}
    managed = {"podTemplatePatch": annotations}
    return exit_node(name, region, deployment={"type": "Managed", "managed": managed}, shutdown={"drainTimeout": "20s"})


def uids(api: Api) -> set[str]:
    return {pod["metadata"]["uid"] for name in REGIONS for pod in pods_of(api, name)}


def test_a_rolling_update_of_all_exit_nodes_fails_nobody(api: Api, server: powerdns.PowerDns, tmp_path: Path) -> None:
    api.apply(*(updated(name, region, 1) for name, region in REGIONS.items()))
    settle(api)
    with laptop(tmp_path, api):
        before = uids(api)
        wait_for("a name to visit", lambda: server.addresses(HOST))
        with ByName(server, keeps_connection=False) as anew, ByName(server, keeps_connection=True) as connected:
            time.sleep(2.0)
            began = time.monotonic()
            api.apply(*(updated(name, region, 2) for name, region in REGIONS.items()))
            wait_for("every pod is another one", lambda: len(now := uids(api)) == 2 and not now & before, timeout_s=180)
            took_s = time.monotonic() - began
            time.sleep(TTL_S + 2.0)
    visits = sum(anew.seen.values()) + sum(connected.seen.values())
    print(
        f"\nrolling update of {len(REGIONS)} exit nodes in {took_s:.0f} s: {visits} visits", anew.seen, connected.seen
    )
    assert anew.failures + connected.failures == []
    assert len(anew.seen) >= 3, f"visitors came to old and new pods: {json.dumps(anew.seen)}"


def settle(api: Api) -> None:
    """One pod each, of the newest template."""

    def has_settled() -> bool:
        found = [api.get("exitnode", name) or {} for name in REGIONS]
        generations = all(
            condition["observedGeneration"] == body["metadata"]["generation"]
            for body in found
            for condition in body["status"]["conditions"]
        )
        pods = [pod for name in REGIONS for pod in pods_of(api, name)]
        annotated = [pod["metadata"].get("annotations", {}).get("example.com/version") for pod in pods]
        ready = [
            any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
            for pod in pods
        ]
        return generations and annotated == ["1", "1"] and all(ready)

    wait_for("the first version is everywhere", has_settled, timeout_s=180)
