"""Cores in the test's own process, as exit node and as agent, and what a visitor asks of them."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hawse_api import names
from hawse_api.ir import core_pb2, frames_pb2, ir_pb2
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import Event, LinkUp

NAME = "connect.tunnels.example.test"
T = TypeVar("T", bound=Event)


class Ca:
    """Issues certificates as the operator does."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        builder = self._builder(self.name, self.key.public_key(), timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.der = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def sha256(self) -> bytes:
        digest = hashes.Hash(hashes.SHA256())
        digest.update(self.der)
        return digest.finalize()

    def issue(self, name: str = NAME, valid: timedelta = timedelta(hours=24)) -> core_pb2.Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = self._builder(x509.Name([]), key.public_key(), valid)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        leaf = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        pkcs8 = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return core_pb2.Identity(chain=[leaf], key=pkcs8, roots=[self.der])

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey, valid: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + valid)
        )


@dataclass
class Peer:
    """A core with everything that it has told so far."""

    core: TunnelCore
    seen: list[Event] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def collect(self) -> None:
        async for event in self.core.events():
            self.seen.append(event)
            self.arrived.set()

    async def wait(self, kind: type[T], matches: Callable[[T], bool] = lambda _: True) -> T:
        """The first such event, from the beginning."""
        async with asyncio.timeout(10):
            while True:
                for event in self.seen:
                    if isinstance(event, kind) and matches(event):
                        return event
                self.arrived.clear()
                await self.arrived.wait()


@contextlib.asynccontextmanager
async def peer() -> AsyncIterator[Peer]:
    async with TunnelCore() as core, asyncio.TaskGroup() as group:
        made = Peer(core)
        group.create_task(made.collect())
        yield made
        await core.close()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def link_request(address: str, identity: core_pb2.Identity, name: str = NAME) -> core_pb2.DialRequest:
    return core_pb2.DialRequest(address=address, server_name=name, alpn=names.ALPN_LINK, identity=identity)


def enrol_request(address: str, *sha256: bytes) -> core_pb2.DialRequest:
    return core_pb2.DialRequest(address=address, server_name=NAME, alpn=names.ALPN_ENROL, ca_sha256=sha256)


def hello(slot: str = "a") -> frames_pb2.Frame:
    return frames_pb2.Frame(hello=frames_pb2.Hello(min_version=1, max_version=1, slot=slot))


async def linked(
    node: Peer, agent: Peer, address: str, ca: Ca, request: core_pb2.DialRequest | None = None
) -> tuple[LinkUp, LinkUp]:
    """The same link as the node and as the agent sees it; `request` says what else than QUIC it goes over."""
    asked = link_request(address, ca.issue("agent"))
    asked.MergeFrom(request or core_pb2.DialRequest())
    theirs = await agent.core.dial(asked)
    agent.core.send(theirs.link, hello())
    return await node.wait(LinkUp), theirs


async def serve_shop(node: Peer, agent: Peer, address: str, ca: Ca, app: tuple[str, int]) -> str:
    """The whole way of a visitor, up to `app`; returns where the edge listens."""
    publish_shop(node, ca)
    bind_shop(agent, node, app, *await linked(node, agent, address, ca))
    return await serve_visitors(node)


def publish_shop(node: Peer, ca: Ca) -> None:
    """A tunnel "uid-1", as the operator would announce it."""
    site = ca.issue("shop.tunnels.example.test")
    chain, key = (
        pem(site.chain[0]),
        serialization.load_der_private_key(site.key, None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    assert node.core.put_certificate("certificate/site", chain, key) == ""
    fleet = ir_pb2.Fleet(name="main", domain="tunnels.example.test", certificate_id="certificate/site")
    assert node.core.apply(ir_pb2.Object(key="fleet", fleet=fleet)) == ""
    tunnel = ir_pb2.Tunnel(
        uid="uid-1",
        namespace="team-a",
        name="shop",
        hostname="shop.tunnels.example.test",
        holder_generation=1,
        agent=ir_pb2.AgentTarget(token_uid="token-1"),
        app_protocol=ir_pb2.APP_PROTOCOL_HTTP1,
    )
    assert node.core.apply(ir_pb2.Object(key="tunnel/uid-1", tunnel=tunnel)) == ""


def bind_shop(agent: Peer, node: Peer, app: tuple[str, int], ours: LinkUp, theirs: LinkUp) -> None:
    """Visitors of the tunnel go over this link to `app`."""
    agent.core.attach(theirs.link, {"uid-1": app})
    node.core.bind_link(ours.link, ["uid-1"])


async def serve_visitors(node: Peer) -> str:
    """Where the edge listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        edge = f"127.0.0.1:{probe.getsockname()[1]}"
    await node.core.serve_edge(edge)
    return edge


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


async def ask(edge: str, ca: Ca, path: str = "/", *, keep_alive: bool = False) -> tuple[int, dict[str, str], bytes]:
    """A visitor's request over HTTP/1.1 and TLS: status, head, body."""
    context = ssl.create_default_context(cadata=ca.der)
    host, port = edge.split(":")
    name = "shop.tunnels.example.test"
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)
    try:
        end = "" if keep_alive else "connection: close\r\n"
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {name}\r\n{end}\r\n".encode())
        async with asyncio.timeout(10):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
    status, *lines = head.decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), fields, body
