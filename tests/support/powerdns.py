"""A real PowerDNS Authoritative Server as a process: loopback, free ports, a database of its own.

Debian's packages pdns-server and pdns-backend-sqlite3; without them a test is skipped with the command that installs
them. Called by tests/integration/dns and tests/cluster.
"""

import contextlib
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rdatatype
import httpx
import pytest

SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
SETTINGS = """
launch=gsqlite3
gsqlite3-database={directory}/pdns.sqlite3
gsqlite3-dnssec=yes
local-address={address}
local-port={port}
api=yes
api-key={key}
webserver=yes
webserver-address={address}
webserver-port={api_port}
webserver-allow-from=127.0.0.0/8
socket-dir={directory}
enable-lua-records=yes
edns-subnet-processing=yes
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
security-poll-suffix=
lua-health-checks-interval=1
daemon=no
guardian=no
disable-syslog=yes
setuid=
setgid=
"""


def program() -> str:
    """Path of pdns_server; skips the test where it is not installed."""
    found = shutil.which("pdns_server") or shutil.which("pdns_server", path="/usr/sbin:/usr/local/sbin")
    if found is None or not SCHEMA.exists():
        pytest.skip("needs PowerDNS: apt-get install pdns-server pdns-backend-sqlite3")
    return found


def free_port(address: str = "127.0.0.1") -> int:
    """A port that is free for TCP and UDP."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind((address, 0))
        port: int = tcp.getsockname()[1]
        udp.bind((address, port))
    return port


class PowerDns:
    """One server; `start` and `stop` may be called again and again, the zones stay."""

    def __init__(self, directory: Path, *, key: str = "right-key", **settings: str) -> None:
        self.address, self.key, self.directory = "127.0.0.1", key, directory
        self.port, self.api_port = free_port(), free_port()
        directory.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(directory / "pdns.sqlite3")) as database:
            database.executescript(SCHEMA.read_text())
        text = SETTINGS.format(
            directory=directory, address=self.address, port=self.port, api_port=self.api_port, key=key
        )
        more = "".join(f"{name.replace('_', '-')}={value}\n" for name, value in settings.items())
        (directory / "pdns.conf").write_text(text + more)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.api_port}"

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            command = [program(), f"--config-dir={self.directory}"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
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

    def put(self, domain: str, name: str, type_: str, *contents: str) -> None:
        """Write a record as somebody else would; without contents it is removed."""
        change: dict[str, Any] = {"name": f"{name}.", "type": type_, "changetype": "DELETE"}
        if contents:
            records = [{"content": content, "disabled": False} for content in contents]
            change |= {"changetype": "REPLACE", "ttl": 60, "records": records}
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
        options = [dns.edns.ECSOption(client, 24)] if client else []
        query = dns.message.make_query(name, type_, use_edns=0, options=options, want_dnssec=dnssec)
        return dns.query.udp(query, self.address, timeout=5.0, port=self.port)

    def addresses(self, name: str, *, client: str = "") -> list[str]:
        """The addresses of an answer, sorted."""
        answer = self.ask(name, client=client)
        return sorted(str(item) for rrset in answer.answer for item in rrset if rrset.rdtype == dns.rdatatype.A)

    def count(self, names: Sequence[str], *, client: str = "") -> Counter[str]:
        """How often each address is the answer."""
        return Counter(address for name in names for address in self.addresses(name, client=client))


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


CHI_SQUARE_9999 = {1: 15.14, 2: 18.42, 3: 21.11, 4: 23.51}
"""Critical values by degrees of freedom at p = 0.0001: one honest run in 10,000 is refused."""


def chi_square(found: Counter[str], weights: dict[str, float]) -> float:
    """How far counts are from weights."""
    total, whole = found.total(), sum(weights.values())
    expected = {address: total * weight / whole for address, weight in weights.items()}
    assert not set(found) - set(weights), f"answers that nobody asked for: {found}"
    return sum((found[address] - count) ** 2 / count for address, count in expected.items())
