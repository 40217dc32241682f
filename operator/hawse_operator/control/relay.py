"""Agents' enrolments and renewals that exit nodes pass on: asks the TokenBook, has `enrol` decide, signs. Shell.

Called by `stream` for each RelayRequest. Never raises for an expected outcome: every request gets a reply that an agent
can show to a person. An exit node may be hostile (design 0002, 5), so nothing it adds is believed beyond its own fleet.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509

from hawse_api import spiffe
from hawse_api.ir import control_pb2, frames_pb2
from hawse_operator.control import attempts, books, ca, enrol
from hawse_operator.control.hub import NodeIdentity

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0
"""An exit node gives the agent HAWSE-3009 after 12 s."""
RENEWAL_GRACE = timedelta(days=30)
"""A session outlives the certificate that it was opened with, and proves itself with its key. Exit nodes admit no
expired certificate to a new session, so this is only the longest life of a link."""
COUNT_TRIES = 5
"""Reads of a token that others change meanwhile (optimistic locking)."""


class Relay:
    """Answers for all exit nodes of all fleets."""

    def __init__(
        self,
        *,
        authority: Callable[[], ca.Authority],
        tokens: books.TokenBook,
        nodes: books.NodeBook,
        clock: Callable[[], datetime],
        limits: attempts.AttemptLimits | None = None,
    ) -> None:
        self._authority = authority
        self._tokens = tokens
        self._nodes = nodes
        self._clock = clock
        self._attempts = attempts.Attempts(limits)

    async def answer(self, node: NodeIdentity, request: control_pb2.RelayRequest) -> control_pb2.RelayReply:
        """The reply to one request, within ANSWER_TIMEOUT_S."""
        is_renewal = request.WhichOneof("request") == "renew"
        token = request.renew.token_uid if is_renewal else request.enrol.token_id
        wait_s = self._attempts.allow(request.agent_address, token, self._clock().timestamp())
        outcome: enrol.Allowed | enrol.Refused
        if wait_s > 0:
            outcome = enrol.too_many_attempts(wait_s)
        else:
            outcome = await self._decide(node, request, is_renewal=is_renewal)
        _log(node, request, outcome)
        if is_renewal:
            return control_pb2.RelayReply(id=request.id, renew=self._renewed(node, outcome))
        return control_pb2.RelayReply(id=request.id, enrol=self._enrolled(node, outcome))

    async def _decide(
        self, node: NodeIdentity, request: control_pb2.RelayRequest, *, is_renewal: bool
    ) -> enrol.Allowed | enrol.Refused:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await (self._renew(node, request.renew) if is_renewal else self._enrol(node, request))
        except (TimeoutError, books.BookUnavailableError) as exc:
            logger.warning("cannot decide about an agent now", extra={"cause": str(exc) or "timeout"})
            return enrol.operator_away()

    async def _enrol(self, node: NodeIdentity, request: control_pb2.RelayRequest) -> enrol.Allowed | enrol.Refused:
        for _ in range(COUNT_TRIES):
            record = await self._tokens.find(request.enrol.token_id[: enrol.MAX_TOKEN_ID])
            if record is not None and record.fleet != node.fleet:
                record = None  # an exit node speaks for its own fleet only
            outcome = enrol.may_enrol(request.enrol, request.nonce, record, self._clock())
            if isinstance(outcome, enrol.Refused):
                return outcome
            if await self._tokens.count(outcome.record, outcome.agent_id):
                return outcome
        return enrol.operator_away()

    async def _renew(self, node: NodeIdentity, request: control_pb2.RenewAgent) -> enrol.Allowed | enrol.Refused:
        certificate = _load(request.certificate)
        who = spiffe.parse_agent(ca.uri_of(certificate) or "") if certificate is not None else None
        if certificate is None or who is None:
            return enrol.refused("NOT_ALLOWED", "The certificate of this session is not an agent's. Log in again.")
        if not ca.is_signed_by_us(self._authority(), certificate, self._clock(), grace=RENEWAL_GRACE):
            return enrol.refused("NOT_ALLOWED", "The certificate of this session is not valid. Log in again.")
        if (who.token_uid, who.agent_id, who.domain) != (request.token_uid, request.agent_id, node.domain):
            return enrol.refused("NOT_ALLOWED", "The renewal is for another agent than the session's. Log in again.")
        record = await self._tokens.find_uid(who.token_uid)
        return enrol.may_renew(request.request, who, record, certificate)

    def _enrolled(self, node: NodeIdentity, outcome: enrol.Allowed | enrol.Refused) -> frames_pb2.EnrolResponse:
        if isinstance(outcome, enrol.Refused):
            return frames_pb2.EnrolResponse(refused=outcome.to_frame())
        addresses = self._nodes.addresses(node.fleet)
        return frames_pb2.EnrolResponse(
            chain=enrol.certificate_for(self._authority(), outcome, self._clock()),
            roots=ca.roots_der(self._authority()),
            domain=outcome.record.domain,
            addresses=addresses.keys(),
            tcp_ports=addresses.values(),
            namespace=outcome.record.namespace,
            token_name=outcome.record.name,
        )

    def _renewed(self, node: NodeIdentity, outcome: enrol.Allowed | enrol.Refused) -> frames_pb2.RenewResponse:
        if isinstance(outcome, enrol.Refused):
            return frames_pb2.RenewResponse(refused=outcome.to_frame())
        addresses = self._nodes.addresses(node.fleet)
        return frames_pb2.RenewResponse(
            chain=enrol.certificate_for(self._authority(), outcome, self._clock()),
            roots=ca.roots_der(self._authority()),
            addresses=addresses.keys(),
            tcp_ports=addresses.values(),
        )


def _load(der: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        return None


def _log(node: NodeIdentity, request: control_pb2.RelayRequest, outcome: enrol.Allowed | enrol.Refused) -> None:
    extra = {"pod": node.pod, "address": request.agent_address[:64]}
    if isinstance(outcome, enrol.Refused):
        logger.info("agent refused", extra={**extra, "code": outcome.code})
    else:
        record = outcome.record
        token = f"{record.namespace}/{record.name}"
        logger.info("agent got a certificate", extra={**extra, "agent": outcome.agent_id, "token": token})
