"""The operator's listeners for exit nodes: ports "enrol" (TLS) and "control" (mTLS). Only the leader runs them.

`run_control` owns both gRPC servers, the serving certificate (made in memory, renewed at half life) and the hub's
sweep. When it is cancelled (the Lease is lost, or the process stops) it ends every stream with GoAway and returns
within STOP_GRACE_S: before the Lease runs out. Called by the operator's leader task.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc

from hawse_api import names
from hawse_api.ir import control_pb2_grpc
from hawse_operator.control import attempts, books, ca
from hawse_operator.control.hub import Hub
from hawse_operator.control.relay import Relay
from hawse_operator.control.service import ControlService, EnrolmentService, Signer

logger = logging.getLogger(__name__)

STOP_GRACE_S = 3.0
SWEEP_EVERY_S = 5.0
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""NodeHello.have and EndOfSnapshot of 50,000 tunnels fit."""
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.so_reuseport", 0),  # a taken port must fail, not share
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.max_connection_idle_ms", 300_000),
)


class ListenError(OSError):
    """A port of the control plane cannot be listened on; the message names it."""


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """How to listen."""

    host: str
    """POD_IP."""
    operator_name: str
    """DNS name that exit nodes verify: `hawse-operator.<namespace>.svc`."""
    term: int
    """The Lease's transitions."""
    enrol_port: int = names.PORT_ENROL
    control_port: int = names.PORT_CONTROL
    attempt_limits: attempts.AttemptLimits = field(default_factory=attempts.AttemptLimits)


@dataclass(frozen=True, slots=True)
class Listening:
    """Both servers are up."""

    enrol_port: int
    control_port: int


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _nobody(_listening: Listening) -> None:
    """The default of `on_listening`."""


async def run_control(
    settings: ControlSettings,
    *,
    hub: Hub,
    authority: Callable[[], ca.Authority],
    tokens: books.TokenBook,
    nodes: books.NodeBook,
    clock: Callable[[], datetime] = _utc_now,
    on_listening: Callable[[Listening], None] = _nobody,
) -> None:
    """Serve exit nodes until cancelled.

    Raises:
        ListenError: a port is taken or the host is not ours.
    """
    signer = Signer(authority, nodes, clock)
    relay = Relay(
        authority=authority,
        tokens=tokens,
        nodes=nodes,
        clock=clock,
        limits=settings.attempt_limits,
    )
    serving = ServingCertificate(authority, settings.operator_name, clock)
    service = ControlService(hub, relay, nodes, signer, settings.term)
    enrol_server, control_server = _server(max_rpcs=64), _server(max_rpcs=4096)
    control_pb2_grpc.add_EnrolmentServicer_to_server(EnrolmentService(nodes, signer, clock), enrol_server)
    control_pb2_grpc.add_ControlServicer_to_server(service, control_server)
    try:
        enrol_port = _bind(enrol_server, settings.host, settings.enrol_port, serving.credentials(mutual=False))
        control_port = _bind(control_server, settings.host, settings.control_port, serving.credentials(mutual=True))
        await enrol_server.start()
        await control_server.start()
        logger.info("serving exit nodes", extra={"term": settings.term, "control_port": control_port})
        on_listening(Listening(enrol_port, control_port))
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            hub.sweep()
            serving.renew_if_due()
    finally:
        service.close()
        hub.end_all("this operator stops serving; the next leader takes over")
        async with asyncio.TaskGroup() as group:
            group.create_task(enrol_server.stop(STOP_GRACE_S), name="stop-enrol")
            group.create_task(control_server.stop(STOP_GRACE_S), name="stop-control")


class ServingCertificate:
    """The operator's own certificate. gRPC's threads read it at each handshake, the event loop replaces it."""

    def __init__(
        self, authority: Callable[[], ca.Authority], operator_name: str, clock: Callable[[], datetime]
    ) -> None:
        self._authority = authority
        self._name = operator_name
        self._clock = clock
        self._made = self._make()

    def renew_if_due(self) -> None:
        """Make a new one at half life, or at once if the CA was rotated."""
        _, made_at, roots = self._made
        authority = self._authority()
        if self._clock() - made_at >= authority.lifetime / 2 or roots != ca.roots_pem(authority):
            self._made = self._make()
            logger.info("renewed the serving certificate")

    def credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        """For one port; `mutual` asks for client certificates under our CA."""
        config, _, _ = self._made
        return grpc.dynamic_ssl_server_credentials(config, lambda: self._made[0], require_client_authentication=mutual)

    def _make(self) -> tuple[grpc.ServerCertificateConfiguration, datetime, bytes]:
        authority, now = self._authority(), self._clock()
        key = ca.new_key()
        leaf = ca.issue_operator(authority, key.public_key(), self._name, now)
        chain, roots = ca.pem(leaf) + ca.pem(authority.certificate), ca.roots_pem(authority)
        return grpc.ssl_server_certificate_configuration([(ca.key_pem(key), chain)], roots), now, roots


def _server(*, max_rpcs: int) -> grpc.aio.Server:
    return grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=max_rpcs)


def _bind(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_secure_port(address, credentials)
    except RuntimeError as exc:
        raise ListenError(
            f"cannot listen on {address} for exit nodes: another program has the port, or the address is not this pod's"
        ) from exc
    if bound == 0:
        raise ListenError(f"cannot listen on {address} for exit nodes")
    return int(bound)
