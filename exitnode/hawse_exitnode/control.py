"""The control stream to the operator, one connection long: hello, configuration in, acks and reports out. Shell.

Removals and readiness take effect at EndOfSnapshot only; a message of a lower term than was ever seen ends the stream
(a leader of the past, design 0002, 2). Made anew for each connection by `operator_link`, which decides when to try
again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

import grpc

from hawse_api.ir import control_pb2, control_pb2_grpc
from hawse_exitnode import operator_api
from hawse_exitnode.errors import OperatorError, OperatorUnreachableError
from hawse_exitnode.holdings import Holdings
from hawse_exitnode.keys import NodeIdentity
from hawse_exitnode.settings import Settings

logger = logging.getLogger(__name__)

SNAPSHOT_KEY = "snapshot"
MAX_QUEUED = 1024
REPORT_CHECK_S = 1.0
"""Sessions are reported at most this often when they change ..."""
REPORT_EVERY_S = 30.0
"""... and this often when they do not."""
_Call = grpc.aio.StreamStreamCall[control_pb2.FromNode, control_pb2.FromOperator]


class Listener(Protocol):
    """Whom the stream tells."""

    def on_synced(self) -> None:
        """The operator's whole configuration is in force."""

    def on_relay_reply(self, reply: control_pb2.RelayReply) -> None:
        """An answer for an agent."""

    def on_renewed(self, renewed: control_pb2.Renewed) -> None:
        """A new certificate for this node."""

    def session_report(self) -> control_pb2.SessionReport:
        """All sessions now."""

    def target_report(self) -> control_pb2.TargetReport:
        """What answers now, of tunnels with a standby."""

    def ended_report(self) -> control_pb2.RevokeSessions:
        """Sign-ins of visitors that are over, as far as this node knows."""


class ControlStream:
    """One connection. `run` once; `send` while it runs."""

    def __init__(
        self,
        settings: Settings,
        identity: NodeIdentity,
        holdings: Holdings,
        listener: Listener,
        *,
        version: str,
        ticker: Callable[[], control_pb2.FromNode | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._holdings = holdings
        self._listener = listener
        self._version = version
        self._ticker = ticker
        self._queue: asyncio.Queue[control_pb2.FromNode] = asyncio.Queue(MAX_QUEUED)
        self._sequence = 0
        self.synced = False

    def send(self, message: control_pb2.FromNode) -> bool:
        """Queue something; False if the operator does not keep up or the snapshot is not done."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True

    async def run(self) -> str:
        """Until the operator ends the stream in order: why it did.

        Raises:
            OperatorError: it could not be reached, refused, or broke the protocol.
        """
        channel = operator_api.open_channel(
            self._settings,
            self._settings.control_port,
            roots_pem=self._identity.roots_pem(),
            key_pem=self._identity.key_pem(),
            chain_pem=self._identity.chain_pem(),
        )
        async with channel:
            stub = control_pb2_grpc.ControlStub(channel)
            call: _Call = cast("_Call", cast("Any", stub).Connect())
            try:
                return await self._converse(call)
            except grpc.aio.AioRpcError as exc:
                raise operator_api.translate(exc, self._settings, self._settings.control_port) from exc
            finally:
                call.cancel()

    async def _converse(self, call: _Call) -> str:
        hello = control_pb2.NodeHello(
            version=self._version,
            features=sorted(self._holdings.features),
            have=self._holdings.have(),
            term=self._holdings.term,
        )
        await call.write(control_pb2.FromNode(hello=hello))
        outcome: str | grpc.aio.AioRpcError | OperatorError
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._write(call), name="control-write"),
                group.create_task(self._report(), name="control-report"),
            ]
            try:
                outcome = await self._read(call)
            except (grpc.aio.AioRpcError, OperatorError) as exc:
                outcome = exc  # raised outside of the group, which would wrap it
            for task in tasks:
                task.cancel()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _write(self, call: _Call) -> None:
        """Ends with the call; what broke it is seen by the reader."""
        try:
            while True:
                await call.write(await self._queue.get())
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return

    async def _report(self) -> None:
        """Sessions when they change, and now and then; which targets answer; and what the ticker wants to say."""
        last, age_s = b"", REPORT_EVERY_S
        targets: control_pb2.TargetReport | None = None
        told_ended = control_pb2.RevokeSessions()
        while True:
            report = self._listener.session_report()
            shape = _shape_of(report)
            if shape != last or age_s >= REPORT_EVERY_S:
                last, age_s = shape, 0.0
                self.send(control_pb2.FromNode(sessions=report))
            if (turned := self._listener.target_report()) != targets:
                targets = turned
                self.send(control_pb2.FromNode(targets=turned))
            if (ended := self._listener.ended_report()) != told_ended:
                told_ended = ended
                self.send(control_pb2.FromNode(revoke=ended))
            message = self._ticker()
            if message is not None:
                self.send(message)
            await asyncio.sleep(REPORT_CHECK_S)
            age_s += REPORT_CHECK_S

    async def _read(self, call: _Call) -> str:
        while True:
            message = await call.read()
            if message is grpc.aio.EOF:
                code = await call.code()
                if code is grpc.StatusCode.OK:
                    return "the operator closed the stream"
                raise grpc.aio.AioRpcError(
                    code, await call.initial_metadata(), await call.trailing_metadata(), details=await call.details()
                )
            received = cast("control_pb2.FromOperator", message)
            self._check_order(received)
            if received.WhichOneof("message") == "go_away":
                return received.go_away.reason[:300]
            for ack in self._take(received):
                # Waits if the operator does not read: then nothing more is read from it either.
                await self._queue.put(control_pb2.FromNode(ack=ack))
            if received.WhichOneof("message") == "end_of_snapshot":
                self.synced = True
                self._listener.on_synced()

    def _check_order(self, message: control_pb2.FromOperator) -> None:
        where = f"operator at {self._settings.operator_host}:{self._settings.control_port}"
        if message.term < self._holdings.term:
            raise OperatorError(
                f"the {where} speaks for term {message.term}, but term {self._holdings.term} was seen: it is not the "
                "leader any more and is not obeyed"
            )
        self._sequence += 1
        if message.sequence != self._sequence:
            raise OperatorUnreachableError(
                f"the {where} sent message {message.sequence} where {self._sequence} was due; the stream starts anew"
            )
        self._holdings.term = message.term

    def _take(self, message: control_pb2.FromOperator) -> list[control_pb2.Ack]:
        match message.WhichOneof("message"):
            case "upsert":
                return [self._holdings.upsert(message.upsert, message.hash)]
            case "remove":
                return [self._holdings.remove(message.remove)]
            case "material":
                return [self._holdings.put_material(message.material)]
            case "end_of_snapshot":
                acks = self._holdings.end_of_snapshot(message.end_of_snapshot.keys)
                return [*acks, control_pb2.Ack(key=SNAPSHOT_KEY)]
            case "relay":
                self._listener.on_relay_reply(message.relay)
            case "renewed":
                self._listener.on_renewed(message.renewed)
            case _:
                logger.warning("message of the operator ignored: a newer one than this exit node knows")
        return []


def _shape_of(report: control_pb2.SessionReport) -> bytes:
    """Everything but the round trip times, which change all the time."""
    shape = control_pb2.SessionReport()
    shape.CopyFrom(report)
    for session in shape.sessions:
        session.rtt_ms = 0
    return shape.SerializeToString(deterministic=True)
