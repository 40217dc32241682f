"""On which networks links over TCP were faster than QUIC, kept in the login's directory: a bounded file.

A network is known by the prefix of the address with which this machine would talk to the exit node: /24 or /64, hashed.
That is a guess (many homes have 192.168.1.0/24), so it decides only how long TCP waits, never whether QUIC is tried.
Used by runner.py and dialling.py; a file that is broken or cannot be written costs a head start and nothing else.
"""

import contextlib
import hashlib
import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hawse_agent import files
from hawse_agent.errors import AgentError
from hawse_agent.target import parse_address

FILE = "networks.json"
KEPT_S = 7 * 86400.0
MOST = 32
_LIMIT_BYTES = 16 * 1024
_ELSEWHERE = ("192.0.2.1", 443)  # TEST-NET-1 (RFC 5737): takes the default route; nothing is sent
_PREFIX = {4: 24, 6: 64}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(ge=1, le=1)
    tcp: dict[str, float] = Field(max_length=MOST)
    """Fingerprint -> when it is forgotten, in Unix seconds."""


def remember(entries: Mapping[str, float], network: str, now: float) -> dict[str, float]:
    """TCP won here. The entries that end first make room. Pure."""
    kept = {**_current(entries, now), network: now + KEPT_S}
    latest = sorted(kept, key=lambda one: kept[one], reverse=True)[:MOST]
    return {one: kept[one] for one in latest}


def forget(entries: Mapping[str, float], network: str, now: float) -> dict[str, float]:
    """QUIC won here. Pure."""
    return {one: ends for one, ends in _current(entries, now).items() if one != network}


def _current(entries: Mapping[str, float], now: float) -> dict[str, float]:
    """Without those that ended, and those of a clock that was far ahead."""
    return {one: ends for one, ends in entries.items() if now < ends <= now + KEPT_S}


def fingerprint(source: str) -> str:
    """Of the network in which this machine has the address `source`. Pure."""
    address = ipaddress.ip_address(source.partition("%")[0])
    network = ipaddress.ip_network(f"{address}/{_PREFIX[address.version]}", strict=False)
    return hashlib.sha256(str(network).encode()).hexdigest()[:16]


def network_towards(address: str) -> str | None:
    """Fingerprint of the network that leads to host:port; None without a route. Sends nothing."""
    target = parse_address(address)
    place = _ELSEWHERE
    if target is not None:
        with contextlib.suppress(ValueError):
            place = (str(ipaddress.ip_address(target.host)), target.port)
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(place)
            return fingerprint(probe.getsockname()[0])
    except OSError:
        return None


class Memory:
    """The file."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._entries = self._read()

    def prefers_tcp(self, network: str | None, now: float) -> bool:
        """Did TCP win there lately?"""
        return network in _current(self._entries, now)

    def learn(self, network: str | None, now: float, *, tcp_won: bool) -> None:
        """Write down who won, if that is news."""
        if network is None or (not tcp_won and network not in self._entries):
            return
        self._entries = (remember if tcp_won else forget)(self._entries, network, now)
        content = _File(version=1, tcp=self._entries).model_dump_json().encode()
        with contextlib.suppress(AgentError):
            files.write_private(self._path, content, durable=False)

    def _read(self) -> dict[str, float]:
        try:
            content = files.read_private(self._path, limit_bytes=_LIMIT_BYTES, tell=lambda _: None)
            return dict(_File.model_validate_json(content).tcp) if content else {}
        except (AgentError, ValidationError):
            return {}
