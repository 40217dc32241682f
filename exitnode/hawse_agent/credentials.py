"""What a login leaves on this machine: certificate, key, whom to trust, where to connect. One directory per login.

`credentials.json` holds all of it, so that one rename replaces chain and key together; `epoch` the last session epoch
(frames.proto, Hello.epoch); `agent-id` survives a logout, so that the same machine is counted once. The private key
never leaves the file except towards the core. Called by login.py (writes), runner.py (reads, renews), cli/.
"""

import datetime as dt
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from hawse_agent import files
from hawse_agent.errors import AgentError, AuthenticationError
from hawse_agent.target import parse_address
from hawse_api import names

FILE = "credentials.json"
EPOCH_FILE = "epoch"
AGENT_ID_FILE = "agent-id"
MAX_ADDRESSES = names.AGENT_ADDRESSES_MAX
_LIMIT_BYTES = 256 * 1024
_SMALL_BYTES = 64
_EPOCH_DIGITS = 16
"""Unix milliseconds have 13; more than 64 bits would not fit into a frame."""
_TCP_PORT = 443
_PORT_MOST = 65535


@dataclass(frozen=True, slots=True)
class Credentials:
    """One login. DER inside, PEM in the file."""

    connect_name: str
    """DNS name that every exit node proves: "connect.<domain>"."""
    domain: str
    addresses: tuple[str, ...]
    namespace: str
    token_name: str
    agent_id: str
    chain: tuple[bytes, ...]
    """Leaf first."""
    roots: tuple[bytes, ...]
    key: bytes = field(repr=False)
    """PKCS#8."""
    tcp_ports: tuple[int, ...] = ()
    """In the order of `addresses`; see tcp_address()."""

    @property
    def leaf(self) -> x509.Certificate:
        """The agent's own certificate."""
        return x509.load_der_x509_certificate(self.chain[0])

    @property
    def expires(self) -> dt.datetime:
        """When the certificate ends, UTC."""
        return self.leaf.not_valid_after_utc

    @property
    def half_life(self) -> dt.datetime:
        """When to renew."""
        leaf = self.leaf
        return leaf.not_valid_before_utc + (leaf.not_valid_after_utc - leaf.not_valid_before_utc) / 2

    def tcp_address(self, address: str) -> str:
        """Where the exit node at `address` (UDP) takes links over TCP."""
        ports = dict(zip(self.addresses, self.tcp_ports, strict=False))
        return tcp_address(address, ports.get(address, 0))

    def joined_by(self, addresses: tuple[str, ...], tcp_ports: tuple[int, ...]) -> "Credentials":
        """With more exit nodes, up to MAX_ADDRESSES."""
        known = self.tcp_ports + (0,) * (len(self.addresses) - len(self.tcp_ports))
        places = dict(zip(self.addresses, known, strict=False))
        places |= {place: port for place, port in zip(addresses, tcp_ports, strict=True) if place not in places}
        kept = list(places.items())[:MAX_ADDRESSES]
        return replace(self, addresses=tuple(place for place, _ in kept), tcp_ports=tuple(port for _, port in kept))

    def renewed(
        self,
        chain: tuple[bytes, ...],
        roots: tuple[bytes, ...],
        addresses: tuple[str, ...],
        tcp_ports: tuple[int, ...] = (),
    ) -> "Credentials":
        """After a renewal. Empty roots or addresses keep what was known."""
        kept = replace(self, chain=chain, roots=roots or self.roots)
        return replace(kept, addresses=addresses, tcp_ports=tcp_ports) if addresses else kept


class _File(BaseModel):
    """credentials.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(ge=1, le=1)
    connect_name: str = Field(min_length=1, max_length=253)
    domain: str = Field(min_length=1, max_length=253)
    addresses: list[str] = Field(min_length=1, max_length=MAX_ADDRESSES)
    namespace: str = Field(max_length=253)
    token_name: str = Field(max_length=253)
    agent_id: str = Field(min_length=1, max_length=64)
    tcp_ports: list[Annotated[int, Field(ge=0, le=65535)]] = Field([], max_length=MAX_ADDRESSES)
    """Files of agents before 0.2 have none."""
    chain_pem: str
    key_pem: SecretStr
    roots_pem: str


def tcp_address(address: str, tcp_port: int) -> str:
    """The same host at its TCP port; 0 = 443 (frames.proto, Token.tcp_ports)."""
    host, _, _ = address.rpartition(":")
    return f"{host}:{tcp_port or _TCP_PORT}"


def pair_addresses(addresses: Sequence[str], tcp_ports: Sequence[int]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Addresses of a frame that can be used, with the TCP port of each (0 = not told): two tuples of one length."""
    ports = [port if 0 < port <= _PORT_MOST else 0 for port in tcp_ports[: len(addresses)]]
    ports += [0] * (len(addresses) - len(ports))
    usable = [pair for pair in zip(addresses, ports, strict=True) if parse_address(pair[0])][:MAX_ADDRESSES]
    return tuple(address for address, _ in usable), tuple(port for _, port in usable)


def save(directory: Path, credentials: Credentials, tell: files.Tell) -> None:
    """Write the login (0600 in a 0700 directory)."""
    files.make_private_directory(directory, tell)
    files.write_private(directory / FILE, encode(credentials))


def load(directory: Path, tell: files.Tell) -> Credentials:
    """Read the login.

    Raises:
        AuthenticationError: HAWSE-2008, there is none.
        AgentError: HAWSE-2012, the file is broken or not private to us.
    """
    content = files.read_private(directory / FILE, limit_bytes=_LIMIT_BYTES, tell=tell)
    if content is None:
        raise AuthenticationError(
            f"there is no login in {directory}. Log in with the text of an AgentToken: hawse login -",
            code=names.BY_NAME["NOT_LOGGED_IN"].code,
        )
    try:
        return decode(content)
    except ValueError as exc:
        raise AgentError(
            f"{directory / FILE} is broken. Log in again: hawse login -", code=names.BY_NAME["CONFIG_UNREADABLE"].code
        ) from exc


def forget(directory: Path) -> bool:
    """Remove the login; False if there was none. The agent id stays."""
    (directory / EPOCH_FILE).unlink(missing_ok=True)
    try:
        (directory / FILE).unlink()
    except FileNotFoundError:
        return False
    return True


def encode(credentials: Credentials) -> bytes:
    """As written to the file."""
    key = serialization.load_der_private_key(credentials.key, password=None)
    model = _File(
        version=1,
        connect_name=credentials.connect_name,
        domain=credentials.domain,
        addresses=list(credentials.addresses)[:MAX_ADDRESSES],
        namespace=credentials.namespace,
        token_name=credentials.token_name,
        agent_id=credentials.agent_id,
        tcp_ports=list(credentials.tcp_ports)[:MAX_ADDRESSES],
        chain_pem=_pem(credentials.chain),
        key_pem=SecretStr(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode("ascii")
        ),
        roots_pem=_pem(credentials.roots),
    )
    plain = {**model.model_dump(mode="json"), "key_pem": model.key_pem.get_secret_value()}
    return json.dumps(plain, indent=1).encode() + b"\n"


def decode(content: bytes) -> Credentials:
    """From the file's content.

    Raises:
        ValueError: it is not what `encode` wrote; the text names no secret.
    """
    try:
        model = _File.model_validate_json(content)
        key = serialization.load_pem_private_key(model.key_pem.get_secret_value().encode(), password=None)
        chain, roots = _der(model.chain_pem), _der(model.roots_pem)
    except ValidationError as exc:
        raise ValueError(f"{exc.error_count()} fields are not valid") from None
    except (TypeError, UnsupportedAlgorithm):
        raise ValueError("the key is encrypted or of a kind that we never write") from None
    except ValueError:  # the parser's words may quote what it read
        raise ValueError("the key or a certificate cannot be read") from None
    return Credentials(
        connect_name=model.connect_name,
        domain=model.domain,
        addresses=tuple(model.addresses),
        namespace=model.namespace,
        token_name=model.token_name,
        agent_id=model.agent_id,
        tcp_ports=tuple(model.tcp_ports),
        chain=chain,
        roots=roots,
        key=key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def read_epoch(directory: Path, tell: files.Tell) -> int:
    """Last epoch that was sent, or 0: a broken file costs nothing, the clock is ahead of it anyway."""
    content = files.read_private(directory / EPOCH_FILE, limit_bytes=_SMALL_BYTES, tell=tell)
    text = (content or b"").decode("ascii", "replace").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _EPOCH_DIGITS else 0


def write_epoch(directory: Path, epoch: int) -> None:
    """Remember the epoch before it is sent."""
    files.write_private(directory / EPOCH_FILE, f"{epoch}\n".encode())


def read_or_make_agent_id(directory: Path, tell: files.Tell) -> str:
    """The id of this machine and config directory: a random UUID, made once."""
    files.make_private_directory(directory, tell)
    content = files.read_private(directory / AGENT_ID_FILE, limit_bytes=_SMALL_BYTES, tell=tell)
    try:
        return str(uuid.UUID((content or b"").decode("ascii", "replace").strip()))
    except ValueError:
        made = str(uuid.uuid4())
        files.write_private(directory / AGENT_ID_FILE, f"{made}\n".encode())
        return made


def _pem(certificates: tuple[bytes, ...]) -> str:
    return "".join(
        x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM).decode("ascii")
        for der in certificates
    )


def _der(pem: str) -> tuple[bytes, ...]:
    return tuple(
        certificate.public_bytes(serialization.Encoding.DER)
        for certificate in x509.load_pem_x509_certificates(pem.encode())
    )
