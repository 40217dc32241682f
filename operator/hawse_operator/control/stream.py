"""One exit node's Control stream: the outbox goes out, what the node says goes to the hub and the relay. Shell.

Two tasks per stream: a slow reader blocks only its own writer, and a write that is stuck for WRITE_TIMEOUT_S ends the
stream; the node connects again and says what it has. Called by `service`. Knows no resource and signs nothing itself.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, cast

import grpc

from hawse_api.ir import control_pb2
from hawse_operator.control.hub import Hub, NodeIdentity
from hawse_operator.control.outbox import Outbox
from hawse_operator.control.relay import Relay

logger = logging.getLogger(__name__)

WRITE_TIMEOUT_S = 30.0
MAX_RELAYS_IN_FLIGHT = 16
"""Per exit node; the stream is not read further while so many wait, so the node's own limit answers the agents."""
MAX_SESSIONS = 20_000
MAX_TARGETS = 100_000
"""Per report: more than any exit node admits."""
MAX_KEY = 300


class Wire(Protocol):
    """The part of grpc.aio's ServicerContext that a stream needs."""

    async def read(self) -> object:
        """The next message, or grpc.aio.EOF."""

    async def write(self, message: control_pb2.FromOperator) -> None:
        """Send; returns when the transport took it."""


class NodeStream:
    """From hello to the end. `run` is called once."""

    def __init__(
        self,
        wire: Wire,
        identity: NodeIdentity,
        *,
        hub: Hub,
        relay: Relay,
        term: int,
        renew: Callable[[NodeIdentity, bytes], control_pb2.Renewed | None],
    ) -> None:
        self._wire = wire
        self._identity = identity
        self._hub = hub
        self._relay = relay
        self._term = term
        self._renew = renew
        self._sequence = 0
        self._wake = asyncio.Event()
        self._in_flight = asyncio.Semaphore(MAX_RELAYS_IN_FLIGHT)

    async def run(self, hello: control_pb2.NodeHello) -> None:
        """Serve until either side ends it."""
        if hello.term > self._term:
            # A lease that passed on while we did not notice: the node must not be answered by the past.
            await self.go_away(f"this operator has term {self._term}, the exit node has seen {hello.term}")
            return
        outbox = self._hub.connect(self._identity, hello, self._wake.set)
        logger.info("exit node connected", extra={"pod": self._identity.pod, "version": hello.version[:64]})
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read(group, outbox), name=f"read-{self._identity.pod}")
                writer = group.create_task(self._write(outbox), name=f"write-{self._identity.pod}")
                reader.add_done_callback(lambda _: outbox.end("the exit node closed the stream"))
                writer.add_done_callback(lambda _: reader.cancel())
        finally:
            self._hub.disconnect(self._identity, outbox)
            reason = outbox.end_reason or "the connection ended"
            logger.info("exit node disconnected", extra={"pod": self._identity.pod, "why": reason})

    async def go_away(self, reason: str) -> None:
        """Tell the node to connect again later."""
        await self._send(control_pb2.FromOperator(go_away=control_pb2.GoAway(reason=reason)))

    async def _write(self, outbox: Outbox) -> None:
        while True:
            self._wake.clear()
            if outbox.end_reason is not None:
                await self.go_away(outbox.end_reason)
                return
            message = outbox.take()
            if message is None:
                await self._wake.wait()
            elif not await self._send(message):
                outbox.end("the exit node does not read")
                return

    async def _send(self, message: control_pb2.FromOperator) -> bool:
        self._sequence += 1
        message.term, message.sequence = self._term, self._sequence
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._wire.write(message)
        except TimeoutError:
            logger.warning("exit node does not read; ending its stream", extra={"pod": self._identity.pod})
            return False
        return True

    async def _read(self, group: asyncio.TaskGroup, outbox: Outbox) -> None:
        while True:
            received = await self._wire.read()
            if received is grpc.aio.EOF:
                return
            self._hub.seen(self._identity, outbox)
            await self._take(cast("control_pb2.FromNode", received), group, outbox)

    async def _take(self, message: control_pb2.FromNode, group: asyncio.TaskGroup, outbox: Outbox) -> None:
        match message.WhichOneof("message"):
            case "ack" if len(message.ack.key) <= MAX_KEY:
                self._hub.acknowledge(self._identity, outbox, message.ack)
            case "sessions":
                del message.sessions.sessions[MAX_SESSIONS:]
                self._hub.report(self._identity, outbox, message.sessions)
            case "targets":
                del message.targets.targets[MAX_TARGETS:]
                self._hub.report_targets(self._identity, outbox, message.targets)
            case "revoke":
                self._hub.end_sign_ins(self._identity, outbox, message.revoke)
            case "relay":
                await self._in_flight.acquire()
                group.create_task(self._answer(message.relay, outbox), name=f"relay-{self._identity.pod}")
            case "renew":
                renewed = self._renew(self._identity, message.renew.csr)
                if renewed is None:
                    outbox.end("the certificate request is not acceptable, or the ExitNode does not exist any more")
                else:
                    outbox.reply(control_pb2.FromOperator(renewed=renewed))
            case _:
                logger.warning("unknown message of an exit node ignored", extra={"pod": self._identity.pod})

    async def _answer(self, request: control_pb2.RelayRequest, outbox: Outbox) -> None:
        try:
            reply = await self._relay.answer(self._identity, request)
            outbox.reply(control_pb2.FromOperator(relay=reply))
        finally:
            self._in_flight.release()
