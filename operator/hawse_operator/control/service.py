"""The two gRPC services that exit nodes call: Enrolment (no client certificate) and Control (mTLS). Shell.

Who the peer is comes from its verified certificate's SPIFFE URI and from the NodeBook, never from a message. Made and
bound by `server`.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

import grpc
from cryptography import x509

from hawse_api import names, spiffe
from hawse_api.ir import control_pb2, control_pb2_grpc
from hawse_operator.control import attempts, books, ca
from hawse_operator.control.hub import Hub, NodeIdentity
from hawse_operator.control.relay import Relay
from hawse_operator.control.stream import NodeStream

logger = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 10.0
REVIEW_TIMEOUT_S = 10.0
MAX_TOKEN_BYTES = 16_384
MAX_REVIEWS = 16
"""TokenReviews at a time: strangers reach this port."""
_REFUSED = names.BY_NAME["EXIT_NODE_REFUSED"].code
_ANSWER = attempts.Limit(burst=60, per_minute=120)

EnrolContext = grpc.aio.ServicerContext[control_pb2.EnrolExitNodeRequest, control_pb2.EnrolExitNodeResponse]
ControlContext = grpc.aio.ServicerContext[control_pb2.FromNode, control_pb2.FromOperator]


class Signer:
    """Signs exit nodes."""

    def __init__(
        self, authority: Callable[[], ca.Authority], nodes: books.NodeBook, clock: Callable[[], datetime]
    ) -> None:
        self._authority = authority
        self._nodes = nodes
        self._clock = clock

    def sign(self, identity: NodeIdentity, csr: bytes) -> list[bytes] | ca.Refused:
        """Chain for an identity that was just proved, DER, leaf first."""
        key = ca.parse_csr(csr)
        if isinstance(key, ca.Refused):
            return key
        who = spiffe.ExitNodeId(identity.domain, identity.exit_node, identity.pod)
        authority = self._authority()
        return ca.chain_of(authority, ca.issue_exit_node(authority, key, who, self._clock()))

    def renew(self, identity: NodeIdentity, csr: bytes) -> control_pb2.Renewed | None:
        """A renewal over the control stream; None if the ExitNode is gone or the request is not acceptable."""
        if self._nodes.find(identity.exit_node, identity.pod) != identity:
            return None
        chain = self.sign(identity, csr)
        if isinstance(chain, ca.Refused):
            return None
        return control_pb2.Renewed(chain=chain, roots=ca.roots_der(self._authority()))

    def roots(self) -> list[bytes]:
        """CAs to trust, DER."""
        return ca.roots_der(self._authority())


class EnrolmentService(control_pb2_grpc.EnrolmentServicer):
    """Trades ServiceAccount tokens for certificates."""

    def __init__(self, nodes: books.NodeBook, signer: Signer, clock: Callable[[], datetime]) -> None:
        self._nodes = nodes
        self._signer = signer
        self._clock = clock
        self._reviews = asyncio.Semaphore(MAX_REVIEWS)
        self._attempts = attempts.Attempts(attempts.AttemptLimits(address=_ANSWER, token=_ANSWER))

    async def EnrolExitNode(  # noqa: N802 - gRPC's name
        self, request: control_pb2.EnrolExitNodeRequest, context: EnrolContext
    ) -> control_pb2.EnrolExitNodeResponse:
        """See control.proto."""
        peer = _peer_address(context.peer())
        wait_s = self._attempts.allow(peer, peer, self._clock().timestamp())
        if wait_s > 0:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"too many attempts; try again in {wait_s:.0f} s")
        if len(request.service_account_token) > MAX_TOKEN_BYTES:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the ServiceAccount token is too long")
        try:
            async with asyncio.timeout(REVIEW_TIMEOUT_S), self._reviews:
                identity = await self._nodes.review(request.service_account_token)
        except (TimeoutError, books.BookUnavailableError):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the operator cannot ask Kubernetes about the token now")
        if isinstance(identity, books.NodeRefusal):
            logger.warning("exit node refused", extra={"peer": peer, "why": identity.message})
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{_REFUSED}: {identity.message}")
        chain = self._signer.sign(identity, request.csr)
        if isinstance(chain, ca.Refused):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{names.BY_NAME['BAD_CSR'].code}: {chain.why}")
        logger.info("exit node enrolled", extra={"pod": identity.pod, "exit_node": identity.exit_node})
        return control_pb2.EnrolExitNodeResponse(
            chain=chain,
            roots=self._signer.roots(),
            fleet=identity.fleet,
            domain=identity.domain,
            exit_node=identity.exit_node,
            region=identity.region,
            pod=identity.pod,
        )


class ControlService(control_pb2_grpc.ControlServicer):
    """Configuration streams."""

    def __init__(self, hub: Hub, relay: Relay, nodes: books.NodeBook, signer: Signer, term: int) -> None:
        self._hub = hub
        self._relay = relay
        self._nodes = nodes
        self._signer = signer
        self._term = term
        self._closing = False

    def close(self) -> None:
        """No stream is taken any more; the hub's outboxes end the open ones."""
        self._closing = True

    # grpc.aio also takes a coroutine that uses context.read and context.write; the stubs know generators only.
    async def Connect(self, _requests: object, context: ControlContext) -> None:  # type: ignore[override]  # noqa: N802
        """See control.proto."""
        who = _peer_identity(context)
        if who is None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the certificate is not an exit node's")
        if self._closing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the operator is stopping")
        identity = self._nodes.find(who.name, who.pod)
        if identity is None or identity.domain != who.domain:
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                f"{_REFUSED}: there is no ExitNode {who.name} with a pod {who.pod} in a Fleet of {who.domain}",
            )
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                first = await context.read()
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no hello within 10 s")
        if not isinstance(first, control_pb2.FromNode) or first.WhichOneof("message") != "hello":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message of a stream is hello")
        stream = NodeStream(
            context, identity, hub=self._hub, relay=self._relay, term=self._term, renew=self._signer.renew
        )
        await stream.run(first.hello)


def _peer_identity(context: ControlContext) -> spiffe.ExitNodeId | None:
    """From the client certificate that TLS has verified, and from nothing else."""
    found = context.auth_context().get("x509_pem_cert")
    if not found:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(bytes(next(iter(found))))
    except ValueError:
        return None
    return spiffe.parse_exit_node(ca.uri_of(certificate) or "")


def _peer_address(peer: str) -> str:
    """The host in "ipv4:127.0.0.1:5000" or "ipv6:%5B::1%5D:5000"."""
    kind, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0]
    return host.removeprefix("%5B").removesuffix("%5D").strip("[]") if kind == "ipv6" else host
