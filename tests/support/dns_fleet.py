"""A fleet whose DNS is a real PowerDNS: API server and operator for real, TCP listeners in place of exit nodes.

The exit nodes' pods are made by the API server's controllers; there are no nodes, so tests say which of them are ready.
Called by tests/cluster/test_operator_dns*.py.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from support import powerdns
from support.operator import FLEET, SYSTEM, Api, Operator, exit_node, wait_for

DOMAIN = "tunnels.example.com"
WILDCARD = f"*.{DOMAIN}"
LOCATIONS = {"eu": ("52.37", "4.90"), "us": ("39.04", "-77.49"), "ap": ("1.35", "103.82")}
NETWORKS = {"eu": "10.1.0.0/16", "us": "10.2.0.0/16"}
CLIENTS = {"eu": "10.1.7.0", "us": "10.2.7.0", "elsewhere": "10.9.7.0"}


def secret(name: str, /, **entries: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": SYSTEM},
        "stringData": entries,
    }


class DnsFleet:
    """Fleet `default` with regions eu, us and ap."""

    def __init__(self, api: Api, port: int) -> None:
        self.api, self.port = api, port
        account = {"name": "hawse-exitnode", "namespace": SYSTEM}
        api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        self.addresses = {region: f"127.0.77.{number}" for number, region in enumerate(LOCATIONS, start=1)}
        self.listeners = {region: powerdns.Listener(at, port) for region, at in self.addresses.items()}
        self.operator: Operator | None = None

    def close(self) -> None:
        """Close the listeners, and end an operator that a test started."""
        for listener in self.listeners.values():
            listener.stop()
        if self.operator is not None:
            self.operator.end()

    # --- objects -----------------------------------------------------------------------------------------------------
    def exit_node(self, region: str, **spec: Any) -> None:
        latitude, longitude = LOCATIONS[region]
        static = {"type": "Static", "static": {"ips": [self.addresses[region]]}}
        location = {"latitude": latitude, "longitude": longitude}
        self.api.apply(exit_node(f"{region}-1", region, address=static, location=location, **spec))

    def fleet(self, dns: dict[str, Any], **spec: Any) -> None:
        body = {**FLEET["spec"], "listeners": {"https": self.port}, "dns": {"ttl": "5s", **dns}, **spec}  # type: ignore[dict-item]
        self.api.apply({**FLEET, "spec": body})

    def power_dns(self, *servers: powerdns.PowerDns, key_from: str = "dns-key", **more: Any) -> dict[str, Any]:
        found = [{"name": f"s{number}", "url": server.url} for number, server in enumerate(servers, start=1)]
        networks = [{"region": region, "cidrs": [network]} for region, network in NETWORKS.items()]
        members = {"servers": found, "apiKeyRef": {"name": key_from}, "nameservers": ["ns1.example.net"]}
        return {"type": "PowerDNS", "powerDNS": members, "clientNetworks": networks} | more

    def ready(self, region: str, is_ready: bool = True) -> None:
        """Say of the pod of a region whether it is ready, as its kubelet would."""

        def pods() -> list[dict[str, Any]]:
            return self.api.list("pods", "-n", SYSTEM, "-l", f"hawse.dev/exit-node={region}-1")

        (pod,) = wait_for(f"the pod in {region}", pods)
        condition = {"type": "Ready", "status": str(is_ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}
        patch = json.dumps({"status": {"conditions": [condition]}})
        name = pod["metadata"]["name"]
        self.api.cluster.kubectl("-n", SYSTEM, "patch", "pod", name, "--subresource=status", "-p", patch)

    def dns_ready(self, reason: str, kind: str = "fleet", name: str = "default", namespace: str = "") -> dict[str, Any]:
        return self.api.wait_reason(kind, name, "DNSReady", reason, namespace)

    # --- what it comes to --------------------------------------------------------------------------------------------
    def change(self, server: powerdns.PowerDns, name: str, action: Callable[[], None]) -> None:
        """Do something and wait until the record of a name is another one."""
        before = server.rrsets(DOMAIN).get((f"{name}.", "LUA"))
        action()
        wait_for(f"another record at {name}", lambda: server.rrsets(DOMAIN).get((f"{name}.", "LUA")) != before)

    def counts(self, server: powerdns.PowerDns, names: Iterable[str], *, client: str = "") -> dict[str, int]:
        """Region → answers."""
        found = server.count(list(names), client=client)
        return {region: found[address] for region, address in self.addresses.items() if found[address]}

    def warm(self, server: powerdns.PowerDns, name: str) -> None:
        """Have the server check every address of a record once: before that it guesses."""
        up = {self.addresses[region] for region, listener in self.listeners.items() if listener.is_up}
        server.addresses(name)
        deadline = time.monotonic() + 10
        while not set(server.addresses(f"connect.{DOMAIN}")) <= up:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def names_of(count: int, prefix: str = "n") -> list[str]:
    """Host names below the wildcard."""
    return [f"{prefix}{number}.{DOMAIN}" for number in range(count)]
