"""PowerDNS as a process of this machine, with the chart's own configuration and start script: loopback, free ports.

Prepares folders and says what to start; whoever calls starts it. Called by the demo and by tests/support/powerdns.py.
"""

import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILES = Path(__file__).resolve().parent.parent / "charts" / "hawse" / "files"
SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
FIX = "apt-get install pdns-server pdns-backend-sqlite3 sqlite3"


def is_installed() -> bool:
    """Whether this machine has what the start script needs."""
    return SCHEMA.exists() and all(shutil.which(program, path=PATH) for program in ("pdns_server", "sqlite3"))


def free_port(address: str = "127.0.0.1") -> int:
    """A port that is free for TCP and UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((address, 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind((address, port))
            except OSError:
                continue  # somebody else's UDP port
            return port


@dataclass(frozen=True, slots=True)
class Server:
    """What to start, and where it answers."""

    address: str
    port: int
    """DNS, UDP and TCP."""
    api_port: int
    command: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """Of the HTTP API, as Fleet.spec.dns takes it."""
        return f"http://{self.address}:{self.api_port}"


def prepare(directory: Path, *, key: str, address: str = "127.0.0.1", **settings: str) -> Server:
    """Write the configuration into `directory`; `settings` override the chart's, with `_` for `-`."""
    data, run, config = (directory / name for name in ("data", "run", "config"))
    for folder in (data, run, config):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    port, api_port = free_port(address), free_port(address)
    own = {
        "gsqlite3-database": str(data / "pdns.sqlite3"),
        "local-address": address,
        "local-port": str(port),
        "webserver-address": address,
        "webserver-port": str(api_port),
        "webserver-allow-from": "127.0.0.0/8",
        "include-dir": str(run / "conf.d"),
    } | {name.replace("_", "-"): value for name, value in settings.items()}
    lines = [line for line in (FILES / "pdns.conf").read_text().splitlines() if line.partition("=")[0] not in own]
    (config / "pdns.conf").write_text("\n".join([*lines, *(f"{name}={value}" for name, value in own.items())]) + "\n")
    key_file = directory / "api-key"
    key_file.touch(mode=0o600)
    key_file.write_text(key)
    environment = {
        "PATH": PATH,
        "HAWSE_DNS_DATA": str(data),
        "HAWSE_DNS_RUN": str(run),
        "HAWSE_DNS_CONFIG": str(config),
        "HAWSE_DNS_KEY_FILE": str(key_file),
    }
    return Server(address, port, api_port, ("sh", str(FILES / "pdns.sh")), environment)
