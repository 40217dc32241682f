"""A real PowerDNS Authoritative Server as a process: loopback, free ports, a database of its own.

It runs with the chart's configuration (kind/powerdns.py). Debian's packages pdns-server, pdns-backend-sqlite3 and
sqlite3; without them a test is skipped with the command that installs them. Called by tests/integration/dns and
tests/cluster.
"""

import contextlib
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.query
import dns.rdatatype
import httpx
import pytest

import powerdns as process
from powerdns import free_port

__all__ = ["CHI_SQUARE", "Listener", "PowerDns", "chi_square", "free_port", "running"]


class PowerDns:
    """One server; `start` and `stop` may be called again and again, the zones stay."""

    def __init__(self, directory: Path, *, key: str = "right-key", **settings: str) -> None:
        if not process.is_installed():
            pytest.skip(f"needs PowerDNS: {process.FIX}")
        self.key, self.directory = key, directory
        self._server = process.prepare(directory, key=key, **settings)
        self.address, self.port = self._server.address, self._server.port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._server.command, env=dict(self._server.environment), stdout=log, stderr=log
            )
        deadline = time.monotonic() + 15
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if self.api("GET", "").status_code == 200:
                    return
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def command_line(self) -> str:
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/cmdline").read_text()

    # --- what the operator writes ------------------------------------------------------------------------------------
    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        url = f"{self.url}/api/v1/servers/localhost{path}"
        return httpx.request(method, url, json=body, headers={"X-API-Key": self.key}, timeout=5.0, trust_env=False)

    def rrsets(self, domain: str) -> dict[tuple[str, str], list[str]]:
        """(name, type) → contents, without the SOA, whose serial moves."""
        answer = self.api("GET", f"/zones/{domain}.")
        if answer.status_code == 404:
            return {}
        return {
            (item["name"], item["type"]): sorted(record["content"] for record in item["records"])
            for item in answer.json()["rrsets"]
            if item["type"] != "SOA"
        }

    def serial(self, domain: str) -> int:
        return int(self.api("GET", f"/zones/{domain}.").json()["serial"])

    def make_zone(self, domain: str) -> None:
        """A zone of somebody else's."""
        zone = {"name": f"{domain}.", "kind": "Native", "nameservers": [f"ns1.{domain}."]}
        answer = self.api("POST", "/zones", zone)
        assert answer.status_code == 201, answer.text

    def put(self, domain: str, name: str, type_: str, *contents: str, ttl: int = 60) -> None:
        """Write a record as somebody else would; without contents it is removed."""
        change: dict[str, Any] = {"name": f"{name}.", "type": type_, "changetype": "DELETE"}
        if contents:
            records = [{"content": content, "disabled": False} for content in contents]
            change |= {"changetype": "REPLACE", "ttl": ttl, "records": records}
        answer = self.api("PATCH", f"/zones/{domain}.", {"rrsets": [change]})
        assert answer.status_code == 204, answer.text

    def allow_updates(self, domain: str, key: str) -> str:
        """Let a new TSIG key transfer and update a zone (RFC 2136, dnsupdate=yes); returns its secret."""
        answer = self.api("POST", "/tsigkeys", {"name": key, "algorithm": "hmac-sha256"})
        assert answer.status_code == 201, answer.text
        updates = {"kind": "TSIG-ALLOW-DNSUPDATE", "metadata": [key]}
        for done in (
            self.api("PUT", f"/zones/{domain}.", {"master_tsig_key_ids": [answer.json()["id"]]}),
            self.api("POST", f"/zones/{domain}./metadata", updates),
        ):
            assert done.is_success, done.text
        return str(answer.json()["key"])

    # --- what a resolver asks ----------------------------------------------------------------------------------------
    def ask(self, name: str, type_: str = "A", *, client: str = "", dnssec: bool = False) -> dns.message.Message:
        """Ask once, over UDP; `client` is the /24 that a resolver passes on (ECS)."""
        query = build_query(name, type_, client=client, dnssec=dnssec)
        return dns.query.udp(query, self.address, timeout=5.0, port=self.port)

    def addresses(self, name: str, *, client: str = "") -> list[str]:
        """The addresses of an answer, sorted."""
        return addresses_of(self.ask(name, client=client))

    def count(self, names: Sequence[str], *, client: str = "") -> Counter[str]:
        """How often each address is the answer. Over one socket: thousands are asked."""
        found: Counter[str] = Counter()
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            asking.settimeout(5.0)
            asking.connect((self.address, self.port))
            for name in names:
                query = build_query(name, "A", client=client)
                asking.send(query.to_wire())
                answer = dns.message.from_wire(asking.recv(4_096))
                assert query.is_response(answer)
                found.update(addresses_of(answer))
        return found


def build_query(name: str, type_: str, *, client: str = "", dnssec: bool = False) -> dns.message.QueryMessage:
    options = [dns.edns.ECSOption(client, 24)] if client else []
    return dns.message.make_query(name, type_, use_edns=0, options=options, want_dnssec=dnssec)


def addresses_of(answer: dns.message.Message) -> list[str]:
    return sorted(str(item) for rrset in answer.answer for item in rrset if rrset.rdtype == dns.rdatatype.A)


@contextlib.contextmanager
def running(directory: Path, **settings: str) -> Iterator[PowerDns]:
    """A server while inside."""
    server = PowerDns(directory, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Listener:
    """A TCP listener that stands for an exit node's visitors' port: takes connections and closes them."""

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self.start()

    @property
    def is_up(self) -> bool:
        return self._socket is not None

    def start(self) -> None:
        self._socket = socket.create_server((self.address, self.port), backlog=128)
        self._thread = threading.Thread(target=self._accept, args=(self._socket,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._socket is not None and self._thread is not None:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept
            self._thread.join(5)
            self._socket.close()
            self._socket = None

    @staticmethod
    def _accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                listening.accept()[0].close()


CHI_SQUARE = {1: 23.93, 2: 27.63, 3: 30.66, 4: 33.38}
"""Critical values by degrees of freedom at p = 0.000001: one honest run in a million is refused. With 2,000 look-ups
a share of 60 % that came out as 54 % is refused all the same."""


def chi_square(found: Counter[str], weights: dict[str, float]) -> float:
    """How far counts are from weights."""
    total, whole = found.total(), sum(weights.values())
    expected = {address: total * weight / whole for address, weight in weights.items()}
    assert not set(found) - set(weights), f"answers that nobody asked for: {found}"
    return sum((found[address] - count) ** 2 / count for address, count in expected.items())
