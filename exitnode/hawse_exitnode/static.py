"""An exit node without an operator: `hawse-exitnode static FILE` serves a configuration from a file. Shell.

The same data plane, session table and pages as under an operator; no enrolment, no control stream, nothing kept. SIGHUP
reads the file again: objects, certificates and identity change in place, addresses and ports do not. Used by `make
try`, by tests, and by whoever wants one exit node on one machine. Called by `__main__`.
"""

import asyncio
import json
import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from hawse_api import names
from hawse_api.ir import control_pb2, ir_pb2
from hawse_exitnode import keys
from hawse_exitnode.admin import serve_admin
from hawse_exitnode.errors import UsageError
from hawse_exitnode.metrics import build_registry
from hawse_exitnode.node import Listeners, Node
from hawse_exitnode.session_state import NodeFacts, OperatorChanged
from hawse_tunnel.core import TunnelCore

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 64 * 1024 * 1024
DRAIN_TIMEOUT_S = 5.0


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Certificate(_Model):
    """Material, as a file has it."""

    id: str = Field(pattern=r"^certificate/.{1,253}$")
    """What Fleet.certificate_id names."""
    chain_pem: str
    key_pem: SecretStr


class Secret(_Model):
    """Material that is no certificate, as a file has it."""

    id: str = Field(pattern=r"^(access|session)/.{1,253}$")
    """What an access policy names; `session/<tunnel uid>`: 64 random characters that sign and seal its sessions."""
    data: SecretStr


class Identity(_Model):
    """Certificate of this exit node towards agents."""

    chain_pem: str
    key_pem: SecretStr
    roots_pem: str
    """CAs of agents."""


class StaticFile(_Model):
    """The file (docs/design/0001-contracts.md §2)."""

    exit_node: str = Field(min_length=1, max_length=253)
    region: str = Field(max_length=253)
    bind: str = "127.0.0.1"
    https_port: int = Field(names.PORT_HTTPS, ge=1, le=65535)
    agents_port: int = Field(names.PORT_AGENTS, ge=1, le=65535)
    admin_port: int = Field(names.PORT_ADMIN, ge=1, le=65535)
    http3: bool = True
    domain: str = Field(min_length=1, max_length=253)
    objects: list[dict[str, Any]] = []
    """ir.Object as protobuf JSON."""
    certificates: list[Certificate] = []
    secrets: list[Secret] = []
    identity: Identity


@dataclass(frozen=True, slots=True)
class Configuration:
    """A file that was read and understood."""

    file: StaticFile
    identity: keys.NodeIdentity
    objects: Sequence[ir_pb2.Object]
    materials: Sequence[control_pb2.Material]


def read_file(path: Path) -> Configuration:
    """Read and check the whole file.

    Raises:
        UsageError: naming everything that is wrong with it.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        parsed = json.loads(path.read_bytes())
        file = StaticFile.model_validate(parsed)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    except ValidationError as exc:
        wrong = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise UsageError(f"{path} is not a configuration of an exit node: {wrong}") from exc
    except ValueError as exc:
        raise UsageError(f"{path} is not JSON: {exc}") from exc
    return Configuration(file, _identity(path, file), _objects(path, file), _materials(file))


async def run_static(path: Path, core: TunnelCore, *, version: str) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        UsageError: the file cannot be used.
        StartError: a port is taken, or the data plane failed.
    """
    configuration = read_file(path)
    file = configuration.file
    listeners = Listeners(file.bind, file.https_port, file.agents_port, file.admin_port, http3=file.http3)
    facts = NodeFacts(version, file.exit_node, file.region, configuration.identity.pod, file.domain)
    node = Node(core, listeners, facts, relay=lambda _request: False, static=True)
    stop, reread = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reread.set)
    errors = _apply(node, configuration)
    if errors:
        raise UsageError(f"{path}: {'; '.join(errors)}")
    node.check_ports()
    registry = build_registry(lambda: node.reading(synced=True))

    def reasons() -> Sequence[str]:
        if node.draining:
            return ["the exit node is draining"]
        return [] if node.listening else ["the listeners are not up yet"]

    async with (
        serve_admin(file.bind, file.admin_port, reasons=reasons, registry=registry),
        asyncio.TaskGroup() as group,
    ):
        tasks = [
            group.create_task(node.dispatcher.run(), name="core-events"),
            group.create_task(node.run_directory(), name="directory"),
            group.create_task(node.run_ticks(), name="ticks"),
            group.create_task(node.run_signing_in(), name="signing-in"),
            group.create_task(_run_rereads(path, node, reread), name="rereads"),
        ]
        await node.listen()
        await stop.wait()
        await node.drain(DRAIN_TIMEOUT_S, "the exit node is stopped")
        for task in tasks:
            task.cancel()


async def _run_rereads(path: Path, node: Node, reread: asyncio.Event) -> None:
    """SIGHUP: what is wrong in the new file is said, and the old configuration stays."""
    while True:
        await reread.wait()
        reread.clear()
        try:
            errors = _apply(node, read_file(path))
        except UsageError as exc:
            errors = [str(exc)]
        for error in errors:
            logger.warning("not applied", extra={"file": str(path), "error": error})
        logger.info("read the file again", extra={"file": str(path), "errors": len(errors)})


def _apply(node: Node, configuration: Configuration) -> list[str]:
    node.use_identity(configuration.identity)
    errors = node.holdings.replace_all(configuration.objects, configuration.materials)
    node.dispatcher.feed(OperatorChanged(True))  # the file is the whole truth
    return errors


def _identity(path: Path, file: StaticFile) -> keys.NodeIdentity:
    try:
        return keys.build_identity(
            fleet="",
            domain=file.domain,
            region=file.region,
            chain=keys.pem_chain_to_der(file.identity.chain_pem.encode()),
            key=keys.pem_key_to_der(file.identity.key_pem.get_secret_value().encode()),
            roots=keys.pem_chain_to_der(file.identity.roots_pem.encode()),
        )
    except keys.IdentityUnusableError as exc:
        raise UsageError(f"{path}: identity: {exc}") from exc


def _objects(path: Path, file: StaticFile) -> list[ir_pb2.Object]:
    objects = []
    for index, value in enumerate(file.objects):
        try:
            objects.append(json_format.ParseDict(value, ir_pb2.Object()))
        except json_format.ParseError as exc:
            raise UsageError(f"{path}: objects.{index}: {exc}") from exc
    return objects


def _materials(file: StaticFile) -> list[control_pb2.Material]:
    certificates = [
        control_pb2.Material(
            id=one.id, chain_pem=one.chain_pem.encode(), key_pem=one.key_pem.get_secret_value().encode()
        )
        for one in file.certificates
    ]
    secrets = [control_pb2.Material(id=one.id, data=one.data.get_secret_value().encode()) for one in file.secrets]
    return certificates + secrets
