"""An operator without Kubernetes: the real control plane (hub, CA, gRPC) over books in memory, and raw parts for it.

    async with control.operator() as op:                       # real gRPC on a loopback address of its own
        op.publish_fleet(); token = op.add_token("laptop"); op.add_tunnel("shop", token)
        async with control.exit_node(op, tmp_path) as node:    # the real process, ready
            async with control.agent(op) as agent:
                await agent.enrol(token, node); await agent.connect(node, app=("127.0.0.1", 3000))

What is fake: the two books (fakes of Kubernetes, and nothing else), and the agent, which says exactly the frames that a
test wants said.
"""

import asyncio
import contextlib
import dataclasses
import os
import secrets
import signal
import socket
import ssl
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from hawse_api import spiffe
from hawse_api.ir import ir_pb2
from hawse_operator.control import books, ca, edge_certificate
from hawse_operator.control.hub import Hub, NodeIdentity
from hawse_operator.control.server import ControlSettings, Listening, run_control
from support.control_agent import DOMAIN, Agent, agent, app, until

__all__ = ["DOMAIN", "Agent", "ExitNodeProcess", "Operator", "agent", "app", "exit_node", "operator", "until"]

FLEET = "default"
OPERATOR_NAME = "hawse-operator.hawse-system.svc"
CERTIFICATE_ID = "certificate/fleet-default"
_DEADLINE_S = 20.0


def free_ports(host: str, count: int) -> list[int]:
    """Ports that are free for TCP and UDP at this moment."""
    with contextlib.ExitStack() as stack:
        ports = []
        while len(ports) < count:
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            tcp.bind((host, 0))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                ports.append(tcp.getsockname()[1])
        return ports


def own_address() -> str:
    """A loopback address that hardly any other test uses."""
    return f"127.{secrets.randbelow(100) + 100}.{secrets.randbelow(250) + 1}.{secrets.randbelow(250) + 1}"


# --- books -----------------------------------------------------------------------------------------------------------
class Tokens(books.TokenBook):
    """AgentTokens in memory, with the optimistic locking of the real ones."""

    def __init__(self) -> None:
        self.records: dict[str, books.TokenRecord] = {}
        self.fails = False
        self.stall: asyncio.Event | None = None
        """Set to an event: every question waits for it."""

    def put(self, record: books.TokenRecord) -> books.TokenRecord:
        self.records[record.id] = dataclasses.replace(record, version=secrets.token_hex(4))
        return self.records[record.id]

    async def find(self, token_id: str) -> books.TokenRecord | None:
        if self.stall is not None:
            await self.stall.wait()
        if self.fails:
            raise books.BookUnavailableError("the API server is away")
        return self.records.get(token_id)

    async def find_uid(self, token_uid: str) -> books.TokenRecord | None:
        found = [record for record in self.records.values() if record.uid == token_uid]
        return await self.find(found[0].id) if found else None

    async def count(self, record: books.TokenRecord, agent_id: str) -> bool:
        await asyncio.sleep(0)
        current = self.records.get(record.id)
        if current is None or current.version != record.version:
            return False
        counted = dataclasses.replace(current, agents=current.agents | {agent_id})
        if current.once:
            counted = dataclasses.replace(counted, used_up=True, secret=b"")
        self.put(counted)
        return True


class Nodes(books.NodeBook):
    """Exit node pods in memory: ServiceAccount token -> identity."""

    def __init__(self) -> None:
        self.by_token: dict[str, NodeIdentity] = {}
        self.agent_addresses: dict[str, int] = {}
        self.fails = False

    def add(self, exit_node: str, pod: str, region: str = "eu-west", domain: str = DOMAIN) -> str:
        token = f"sa-{secrets.token_hex(8)}"
        self.by_token[token] = NodeIdentity(exit_node, pod, region, FLEET, domain)
        return token

    async def review(self, service_account_token: str) -> NodeIdentity | books.NodeRefusal:
        if self.fails:
            raise books.BookUnavailableError("the API server is away")
        found = self.by_token.get(service_account_token)
        return found or books.NodeRefusal("the ServiceAccount token is not valid for audience hawse")

    def find(self, exit_node: str, pod: str) -> NodeIdentity | None:
        for identity in self.by_token.values():
            if (identity.exit_node, identity.pod) == (exit_node, pod):
                return identity
        return None

    def addresses(self, fleet: str) -> Mapping[str, int]:
        return self.agent_addresses if fleet == FLEET else {}


# --- operator --------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Operator:
    """The control plane of one fleet; `stop` and `start` let it go away and come back."""

    host: str
    enrol_port: int
    control_port: int
    authority: ca.Authority
    visitors: edge_certificate.EdgeCertificate
    hub: Hub = field(default_factory=Hub)
    tokens: Tokens = field(default_factory=Tokens)
    nodes: Nodes = field(default_factory=Nodes)
    term: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen."""
        listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
        settings = ControlSettings(
            host=self.host,
            operator_name=OPERATOR_NAME,
            term=self.term,
            enrol_port=self.enrol_port,
            control_port=self.control_port,
            **self.settings,
        )
        self._task = asyncio.create_task(
            run_control(
                settings,
                hub=self.hub,
                authority=lambda: self.authority,
                tokens=self.tokens,
                nodes=self.nodes,
                on_listening=listening.set_result,
            )
        )
        await asyncio.wait([self._task, listening], return_when=asyncio.FIRST_COMPLETED, timeout=_DEADLINE_S)
        if self._task.done():
            self._task.result()
        ports = listening.result()
        self.enrol_port, self.control_port = ports.enrol_port, ports.control_port

    async def stop(self) -> None:
        """Stop in order, as a leader that lost its Lease."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_DEADLINE_S)
            self._task = None

    async def restart_as_new_leader(self) -> None:
        """Another process takes over: nothing in memory, the next term; what reconcile knows it publishes again."""
        await self.stop()
        self.hub, self.term = Hub(), self.term + 1

    def publish_fleet(self, *, https_port: int = 8443, agents_port: int = 7443, **fields: Any) -> None:
        """Fleet and certificate; the snapshot is whole."""
        self.hub.put_certificate(FLEET, CERTIFICATE_ID, self.visitors.chain_pem, self.visitors.key_pem)
        fleet = ir_pb2.Fleet(
            name=FLEET,
            domain=DOMAIN,
            https_port=https_port,
            agents_port=agents_port,
            certificate_id=CERTIFICATE_ID,
            **fields,
        )
        self.hub.publish(FLEET, ir_pb2.Object(key="fleet", fleet=fleet))
        self.hub.complete(FLEET)

    def list_peer(self, node: "ExitNodeProcess") -> None:
        """As reconcile does for every pod that has an address."""
        peer = ir_pb2.Peer(
            uid=f"uid-{node.pod}",
            pod=node.pod,
            exit_node=node.exit_node,
            region=node.region,
            address=node.agents_address,
            spiffe_id=str(spiffe.ExitNodeId(DOMAIN, node.exit_node, node.pod)),
        )
        self.hub.publish(FLEET, ir_pb2.Object(key=f"peer/{peer.uid}", peer=peer))

    def unlist_peer(self, node: "ExitNodeProcess") -> None:
        """The pod is gone."""
        self.hub.retract(FLEET, f"peer/uid-{node.pod}")

    def add_token(self, name: str, **changes: Any) -> books.TokenRecord:
        """An AgentToken that is issued and published."""
        record = books.TokenRecord(
            id=secrets.token_hex(8),
            uid=str(uuid.uuid4()),
            namespace="team-a",
            name=name,
            fleet=FLEET,
            domain=DOMAIN,
            secret=secrets.token_bytes(32),
        )
        record = self.tokens.put(dataclasses.replace(record, **changes))
        self.hub.publish(FLEET, token_object(record.uid, record.namespace, record.name))
        return record

    def delete_token(self, record: books.TokenRecord) -> None:
        """As reconcile does when an AgentToken is deleted."""
        self.tokens.records.pop(record.id, None)
        self.hub.retract(FLEET, f"token/{record.uid}")

    def add_tunnel(self, name: str, token: books.TokenRecord, **fields: Any) -> ir_pb2.Object:
        """A Tunnel that names the token, published."""
        obj = tunnel_object(name, token.uid, namespace=token.namespace, **fields)
        self.hub.publish(FLEET, obj)
        return obj


def token_object(uid: str, namespace: str, name: str) -> ir_pb2.Object:
    """IR of an AgentToken."""
    return ir_pb2.Object(key=f"token/{uid}", token=ir_pb2.AgentToken(uid=uid, namespace=namespace, name=name))


def tunnel_object(
    name: str, token_uid: str, *, namespace: str = "team-a", uid: str = "", **fields: Any
) -> ir_pb2.Object:
    """IR of a Tunnel <name>.<domain>."""
    uid = uid or str(uuid.uuid4())
    fields.setdefault("app_protocol", ir_pb2.APP_PROTOCOL_HTTP1)
    tunnel = ir_pb2.Tunnel(
        uid=uid,
        namespace=namespace,
        name=name,
        hostname=f"{name}.{DOMAIN}",
        holder_generation=1,
        agent=ir_pb2.AgentTarget(token_uid=token_uid),
        **fields,
    )
    return ir_pb2.Object(key=f"tunnel/{uid}", tunnel=tunnel)


@contextlib.asynccontextmanager
async def operator(*, start: bool = True, **settings: Any) -> AsyncIterator[Operator]:
    """A running operator on an address of its own."""
    host, now = own_address(), datetime.now(UTC)
    enrol_port, control_port = free_ports(host, 2)
    visitors = edge_certificate.new_edge_certificate(DOMAIN, now)
    running = Operator(host, enrol_port, control_port, ca.new_ca(now), visitors, settings=settings)
    if start:
        await running.start()
    try:
        yield running
    finally:
        await running.stop()


# --- exit node -------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class ExitNodeProcess:
    """The real `hawse-exitnode` process of one pod."""

    operator: Operator
    directory: Path
    host: str
    https_port: int
    agents_port: int
    admin_port: int
    exit_node: str
    pod: str
    region: str
    extra: Mapping[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    @property
    def agents_address(self) -> str:
        return f"{self.host}:{self.agents_port}"

    @property
    def log(self) -> str:
        """Everything it wrote since the first start."""
        path = self.directory / "exitnode.log"
        return path.read_text() if path.exists() else ""

    def environment(self) -> dict[str, str]:
        """As the pod's Deployment would say it."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HAWSE_", "POD_"))}
        return environment | {
            "POD_NAME": self.pod,
            "POD_NAMESPACE": "hawse-system",
            "POD_IP": self.host,
            "HAWSE_TOKEN_FILE": str(self.directory / "token"),
            "HAWSE_CA_FILE": str(self.directory / "ca.crt"),
            "HAWSE_STATE_DIR": str(self.directory / "state"),
            "HAWSE_OPERATOR_SERVICE_HOST": self.operator.host,
            "HAWSE_OPERATOR_SERVICE_PORT_ENROL": str(self.operator.enrol_port),
            "HAWSE_OPERATOR_SERVICE_PORT_CONTROL": str(self.operator.control_port),
            "HAWSE_OPERATOR_NAME": OPERATOR_NAME,
            "HAWSE_HTTPS_PORT": str(self.https_port),
            "HAWSE_AGENTS_PORT": str(self.agents_port),
            "HAWSE_ADMIN_PORT": str(self.admin_port),
            "HAWSE_DRAIN_SECONDS": "5",
            **self.extra,
        }

    async def start(self) -> None:
        """Start; does not wait for anything."""
        with (self.directory / "exitnode.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "hawse_exitnode", env=self.environment(), stdout=log, stderr=log
            )

    async def wait_ready(self, timeout_s: float = _DEADLINE_S) -> None:
        """Until /readyz says so."""
        await until(self.is_ready, timeout_s, lambda: f"the exit node is not ready:\n{self.log[-3000:]}")

    async def is_ready(self) -> bool:
        status, _ = await self.ask("/readyz")
        return status == 200

    async def ask(self, path: str) -> tuple[int, str]:
        """Status and body of an admin page; (0, why) if there is nobody."""
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
                response = await http.get(f"http://{self.host}:{self.admin_port}{path}")
        except httpx.HTTPError as exc:
            return 0, str(exc)
        return response.status_code, response.text

    async def metric(self, line: str) -> float:
        """A line of /metrics by its beginning; 0 if there is none."""
        _, text = await self.ask("/metrics")
        found = [one.rsplit(" ", 1)[1] for one in text.splitlines() if one.startswith(line)]
        return float(found[0]) if found else 0.0

    async def end(self, signum: signal.Signals = signal.SIGTERM, timeout_s: float = _DEADLINE_S) -> int:
        """Send the signal and wait for the exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signum)
        return await asyncio.wait_for(self.process.wait(), timeout_s)

    async def wait_ended(self, timeout_s: float = _DEADLINE_S) -> int:
        """The exit code, once it has one."""
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), timeout_s)

    @contextlib.asynccontextmanager
    async def visitor(self, host: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client that has resolved the name to this exit node."""
        context = ssl.create_default_context(cadata=self.operator.visitors.ca_pem.decode())

        async def name_it(request: httpx.Request) -> None:
            request.extensions = {**request.extensions, "sni_hostname": host}

        async with httpx.AsyncClient(
            base_url=f"https://{self.host}:{self.https_port}",
            headers={"Host": f"{host}:{self.https_port}"},
            verify=context,
            timeout=10,
            trust_env=False,
            event_hooks={"request": [name_it]},
        ) as http:
            yield http

    async def visit(self, host: str, path: str = "/", **arguments: Any) -> httpx.Response:
        """One request of such a client."""
        async with self.visitor(host) as http:
            return await http.get(path, **arguments)


@contextlib.asynccontextmanager
async def exit_node(
    running: Operator,
    directory: Path,
    *,
    exit_node: str = "eu-west-1",
    pod: str = "eu-west-1-abc",
    region: str = "eu-west",
    wait: bool = True,
    start: bool = True,
    extra: Mapping[str, str] | None = None,
) -> AsyncIterator[ExitNodeProcess]:
    """A pod of the ExitNode: token and CA in place, started, ready."""
    host = own_address()
    https_port, agents_port, admin_port = free_ports(host, 3)
    node = ExitNodeProcess(
        running, directory, host, https_port, agents_port, admin_port, exit_node, pod, region, extra or {}
    )
    (directory / "token").write_text(running.nodes.add(exit_node, pod, region))
    (directory / "ca.crt").write_bytes(ca.roots_pem(running.authority))
    running.nodes.agent_addresses[node.agents_address] = node.https_port
    try:
        if start:
            await node.start()
        if start and wait:
            await node.wait_ready()
        yield node
    finally:
        if node.process is not None and node.process.returncode is None:
            node.process.kill()
            await node.process.wait()
