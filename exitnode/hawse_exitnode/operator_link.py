"""Keeps this exit node connected to its operator: enrols, connects again with back-off, renews the certificate. Shell.

`run` never ends by itself: an operator that is away for hours changes nothing for visitors. What went wrong last stands
in `trouble`, which readiness and the log show. Used by `supervisor`.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from hawse_api.ir import control_pb2
from hawse_exitnode import backoff, keys, operator_api
from hawse_exitnode.control import ControlStream
from hawse_exitnode.errors import OperatorError, OperatorRefusedError
from hawse_exitnode.holdings import Holdings
from hawse_exitnode.settings import Settings

logger = logging.getLogger(__name__)

ENROL_AGAIN_AFTER = 4
"""Failed connections in a row after which the certificate may be what is wrong (the CA was replaced)."""
RENEWAL_RETRY_S = 120.0


class Owner(Protocol):
    """Whom the link serves."""

    def on_identity(self, identity: keys.NodeIdentity) -> None:
        """This node has a (new) certificate."""

    def on_synced(self, synced: bool) -> None:
        """The operator's configuration is in force, or the stream ended."""

    def on_relay_reply(self, reply: control_pb2.RelayReply) -> None:
        """An answer for an agent."""

    def session_report(self) -> control_pb2.SessionReport:
        """All sessions now."""

    def target_report(self) -> control_pb2.TargetReport:
        """What answers now, of tunnels with a standby."""

    def ended_report(self) -> control_pb2.RevokeSessions:
        """Sign-ins of visitors that are over, as far as this node knows."""


class OperatorLink:
    """Owner of the identity and of the control stream."""

    def __init__(
        self,
        settings: Settings,
        holdings: Holdings,
        owner: Owner,
        identity: keys.NodeIdentity | None,
        *,
        version: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._holdings = holdings
        self._owner = owner
        self._version = version
        self._clock = clock
        self._stream: ControlStream | None = None
        self._pending: keys.NewKey | None = None
        self._renew_after: datetime | None = None
        self._was_synced = False
        self.identity = identity
        self.trouble = "the operator was not asked yet"
        """Why there is no stream in force; "" while there is one."""

    @property
    def synced(self) -> bool:
        """Whether the operator's configuration is in force on a living stream."""
        return self._stream is not None and self._stream.synced

    def relay(self, request: control_pb2.RelayRequest) -> bool:
        """Pass an agent's request on; False if there is nobody to ask."""
        stream = self._stream
        return stream is not None and stream.synced and stream.send(control_pb2.FromNode(relay=request))

    async def run(self) -> None:
        """Connect, for ever."""
        failures = 0
        while True:
            self._was_synced = False
            try:
                await self._ensure_identity(again=failures > 0 and failures % ENROL_AGAIN_AFTER == 0)
                self.trouble = f"the operator ended the stream: {await self._connect()}"
            except OperatorError as exc:
                self.trouble = str(exc)
            failures = 0 if self._was_synced else failures + 1
            delay_s = backoff.delay_s(failures, random.random())  # noqa: S311 - jitter
            logger.warning("no operator; serving goes on", extra={"why": self.trouble, "retry_s": round(delay_s, 1)})
            await asyncio.sleep(delay_s)

    # --- the stream's listener ---------------------------------------------------------------------------------------
    def on_synced(self) -> None:
        """The snapshot is in force."""
        self.trouble = ""
        self._was_synced = True
        logger.info("configuration in force", extra={"objects": len(self._holdings.objects)})
        self._owner.on_synced(True)

    def on_relay_reply(self, reply: control_pb2.RelayReply) -> None:
        """Pass on."""
        self._owner.on_relay_reply(reply)

    def on_renewed(self, renewed: control_pb2.Renewed) -> None:
        """Use the new certificate from the next handshake on."""
        pending, self._pending = self._pending, None
        if pending is None or self.identity is None:
            return
        try:
            self._adopt(
                keys.build_identity(
                    fleet=self.identity.fleet,
                    domain=self.identity.domain,
                    region=self.identity.region,
                    chain=renewed.chain,
                    key=pending.key,
                    roots=renewed.roots,
                    reset_secret=self.identity.reset_secret or keys.new_reset_secret(),
                )
            )
        except keys.IdentityUnusableError as exc:
            logger.warning("the renewed certificate is not usable; the old one stays", extra={"cause": str(exc)})

    def session_report(self) -> control_pb2.SessionReport:
        """Pass on."""
        return self._owner.session_report()

    def target_report(self) -> control_pb2.TargetReport:
        """Pass on."""
        return self._owner.target_report()

    def ended_report(self) -> control_pb2.RevokeSessions:
        """Pass on."""
        return self._owner.ended_report()

    # --- inside ------------------------------------------------------------------------------------------------------
    async def _ensure_identity(self, *, again: bool) -> None:
        if self.identity is not None and self.identity.is_valid(self._clock()) and not again:
            return
        fresh = keys.new_key()
        response = await operator_api.enrol(
            self._settings,
            roots_pem=_read(self._settings.ca_file).encode(),
            token=_read(self._settings.token_file).strip(),
            csr=fresh.csr,
        )
        try:
            identity = keys.build_identity(
                fleet=response.fleet,
                domain=response.domain,
                region=response.region,
                chain=response.chain,
                key=fresh.key,
                roots=response.roots,
                reset_secret=keys.new_reset_secret(),
            )
        except keys.IdentityUnusableError as exc:
            raise OperatorRefusedError(f"the operator's answer to the enrolment is not usable: {exc}") from exc
        logger.info("enrolled", extra={"exit_node": identity.exit_node, "pod": identity.pod, "fleet": identity.fleet})
        self._adopt(identity)

    def _adopt(self, identity: keys.NodeIdentity) -> None:
        self.identity, self._renew_after = identity, None
        self._owner.on_identity(identity)

    async def _connect(self) -> str:
        assert self.identity is not None  # noqa: S101 - _ensure_identity came before
        self._stream = ControlStream(
            self._settings,
            self.identity,
            self._holdings,
            self,
            version=self._version,
            ticker=self._renewal_if_due,
        )
        try:
            return await self._stream.run()
        finally:
            self._stream = None
            if self._was_synced:
                self._owner.on_synced(False)

    def _renewal_if_due(self) -> control_pb2.FromNode | None:
        """Asked every second while a stream lives."""
        now = self._clock()
        if self.identity is None or now < self.identity.half_life:
            return None
        if self._renew_after is not None and (now - self._renew_after).total_seconds() < RENEWAL_RETRY_S:
            return None
        self._renew_after, self._pending = now, keys.new_key()
        return control_pb2.FromNode(renew=control_pb2.RenewNode(csr=self._pending.csr))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise OperatorError(f"cannot read {path}: {exc}. The pod's volumes provide it") from exc
