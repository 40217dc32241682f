"""The raw agent of support/control.py: says exactly the frames that a test wants said, over a real core.

Imported through support.control, which starts the operator and the exit nodes that it talks to.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hawse_api import names
from hawse_api.ir import core_pb2, frames_pb2
from hawse_operator.control import books, ca, enrol
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import FrameReceived, LinkDown

if TYPE_CHECKING:
    from support.control import ExitNodeProcess, Operator

DOMAIN = "tunnels.localhost"


async def until(condition: Callable[[], Any], timeout_s: float, what: Callable[[], str] | str) -> None:
    """Poll a condition (plain or awaitable) until it holds."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                answer = condition()
                if await answer if asyncio.iscoroutine(answer) else answer:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError as exc:
        raise AssertionError(what() if callable(what) else what) from exc


# --- raw agent -------------------------------------------------------------------------------------------------------
class Agent:
    """Says the frames that a test wants said, over a real core."""

    def __init__(self, core: TunnelCore, running: "Operator", agent_id: str) -> None:
        self.core = core
        self.operator = running
        self.agent_id = agent_id
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.identity: core_pb2.Identity | None = None
        self.frames: dict[int, asyncio.Queue[frames_pb2.Frame]] = {}
        self.downs: dict[int, LinkDown] = {}
        self.epoch = 1

    async def read_events(self) -> None:
        async for event in self.core.events():
            if isinstance(event, FrameReceived):
                self.frames.setdefault(event.link, asyncio.Queue()).put_nowait(event.frame)
            elif isinstance(event, LinkDown):
                self.downs[event.link] = event

    def csr(self, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def key_der(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    async def dial_enrol(self, node: "ExitNodeProcess") -> int:
        """A link with ALPN hawse-enroll/1."""
        request = core_pb2.DialRequest(
            address=node.agents_address,
            server_name=f"connect.{DOMAIN}",
            alpn=names.ALPN_ENROL,
            ca_sha256=[hashlib.sha256(der).digest() for der in ca.roots_der(self.operator.authority)],
        )
        return (await self.core.dial(request)).link

    async def enrol(
        self, token: books.TokenRecord, node: "ExitNodeProcess", **changes: Any
    ) -> frames_pb2.EnrolResponse:
        """The whole exchange; keeps the certificate if there is one."""
        link = await self.dial_enrol(node)
        self.say(link, enrol_hello=frames_pb2.EnrolHello(min_version=1, max_version=1, agent_version="0.1.0"))
        challenge = (await self.hear(link, "enrol_challenge")).enrol_challenge
        csr = self.csr()
        request = frames_pb2.EnrolRequest(
            token_id=token.id,
            csr=csr,
            proof=enrol.proof_of(token.secret or b"gone", csr, challenge.nonce),
            agent_id=self.agent_id,
            hostname="laptop",
            agent_version="0.1.0",
        )
        for name, value in changes.items():
            setattr(request, name, value)
        self.say(link, enrol=request)
        response = (await self.hear(link, "enrolled", timeout_s=15)).enrolled
        self.core.close_link(link)
        if response.chain:
            self.identity = core_pb2.Identity(chain=response.chain, key=self.key_der(), roots=response.roots)
        return response

    def use_certificate(self, uri_owner: books.TokenRecord, authority: ca.Authority | None = None) -> None:
        """A certificate without an enrolment: for tests that are about something else."""
        from hawse_api import spiffe

        authority = authority or self.operator.authority
        who = spiffe.AgentId(DOMAIN, uri_owner.namespace, uri_owner.uid, self.agent_id)
        leaf = ca.issue_agent(authority, self.key.public_key(), who, datetime.now(UTC))
        self.identity = core_pb2.Identity(
            chain=ca.chain_of(authority, leaf), key=self.key_der(), roots=ca.roots_der(authority)
        )

    async def dial(self, node: "ExitNodeProcess", *, tcp: bool = False) -> int:
        """A link with ALPN hawse/1 and our certificate."""
        assert self.identity is not None
        request = core_pb2.DialRequest(
            address=node.agents_address,
            server_name=f"connect.{DOMAIN}",
            alpn=names.ALPN_LINK,
            identity=self.identity,
        )
        if tcp:
            request.address, request.transport = f"{node.host}:{node.https_port}", core_pb2.TRANSPORT_TCP
        return (await self.core.dial(request)).link

    def hello(self, **changes: Any) -> frames_pb2.Hello:
        self.epoch += 1
        hello = frames_pb2.Hello(
            min_version=1, max_version=1, agent_version="0.1.0", hostname="laptop", slot="a", epoch=self.epoch
        )
        for name, value in changes.items():
            setattr(hello, name, value)
        return hello

    async def connect(
        self, node: "ExitNodeProcess", *, app: tuple[str, int] = ("127.0.0.1", 9), tcp: bool = False, **changes: Any
    ) -> tuple[int, list[str]]:
        """Admitted, and serving everything that is offered."""
        link = await self.dial(node, tcp=tcp)
        self.say(link, hello=self.hello(**changes))
        await self.hear(link, "welcome")
        offered = [tunnel.uid for tunnel in (await self.hear(link, "offer")).offer.tunnels]
        self.core.attach(link, dict.fromkeys(offered, app))
        self.say(link, register=frames_pb2.Register(tunnel_uids=offered))
        await self.hear(link, "registered")
        return link, offered

    def say(self, link: int, **frame: Any) -> None:
        """Send one frame: `say(link, hello=...)`."""
        self.core.send(link, frames_pb2.Frame(**frame))

    async def hear(self, link: int, kind: str, timeout_s: float = 10.0) -> frames_pb2.Frame:
        """The next frame of this kind; others are passed over."""
        queue = self.frames.setdefault(link, asyncio.Queue())
        seen = []
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    frame = await queue.get()
                    if frame.WhichOneof("frame") == kind:
                        return frame
                    seen.append(frame)
        except TimeoutError as exc:
            raise AssertionError(f"no {kind} on link {link}; heard {seen}, down {self.downs.get(link)}") from exc

    async def wait_down(self, link: int, timeout_s: float = 10.0) -> LinkDown:
        """The end of a link."""
        await until(lambda: link in self.downs, timeout_s, f"link {link} is still up")
        return self.downs[link]


@contextlib.asynccontextmanager
async def agent(running: "Operator", agent_id: str = "agent-1") -> AsyncIterator[Agent]:
    """An agent with a core of its own."""
    async with TunnelCore() as core:
        speaking = Agent(core, running, agent_id)
        reader = asyncio.create_task(speaking.read_events())
        try:
            yield speaking
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


@contextlib.asynccontextmanager
async def app(text: str = "hello from the app") -> AsyncIterator[tuple[str, int]]:
    """The smallest app: answers every request with the text."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                body = text.encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2]
        server.close()
