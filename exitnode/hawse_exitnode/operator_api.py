"""Calls to the operator: channels, enrolment, and gRPC's errors in our words (translated here only).

Who the operator is, is proved by the CA of the pod's ConfigMap and the name `hawse-operator.<namespace>.svc`; the
address comes from HAWSE_OPERATOR_SERVICE_HOST. Called by `operator_link` and `control`.
"""

import grpc

from hawse_api.ir import control_pb2, control_pb2_grpc
from hawse_exitnode.errors import OperatorError, OperatorRefusedError, OperatorUnreachableError
from hawse_exitnode.settings import Settings

ENROL_TIMEOUT_S = 15.0
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_REFUSALS = (
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
)


def open_channel(
    settings: Settings, port: int, *, roots_pem: bytes, key_pem: bytes | None = None, chain_pem: bytes | None = None
) -> grpc.aio.Channel:
    """A TLS channel to the operator; with a key and chain it is mTLS."""
    host = f"[{settings.operator_host}]" if ":" in settings.operator_host else settings.operator_host
    options = [
        ("grpc.ssl_target_name_override", settings.operator_name),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.enable_retries", 0),  # back-off is ours
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.enable_http_proxy", 0),  # the operator is in the cluster
    ]
    credentials = grpc.ssl_channel_credentials(roots_pem, key_pem, chain_pem)
    return grpc.aio.secure_channel(f"{host}:{port}", credentials, options=options)


async def enrol(settings: Settings, *, roots_pem: bytes, token: str, csr: bytes) -> control_pb2.EnrolExitNodeResponse:
    """Trade the ServiceAccount token for a certificate.

    Raises:
        OperatorRefusedError: it does not accept us.
        OperatorUnreachableError: no answer.
    """
    async with open_channel(settings, settings.enrol_port, roots_pem=roots_pem) as channel:
        request = control_pb2.EnrolExitNodeRequest(service_account_token=token, csr=csr)
        stub: control_pb2_grpc.EnrolmentAsyncStub = control_pb2_grpc.EnrolmentStub(channel)
        try:
            return await stub.EnrolExitNode(request, timeout=ENROL_TIMEOUT_S)
        except grpc.aio.AioRpcError as exc:
            raise translate(exc, settings, settings.enrol_port) from exc


def translate(exc: grpc.aio.AioRpcError, settings: Settings, port: int) -> OperatorError:
    """GRPC's error in our words: what failed, where, what to do."""
    where = f"operator at {settings.operator_host}:{port}"
    details = exc.details() or ""
    if "CERTIFICATE_VERIFY_FAILED" in details or "Hostname Verification" in details:
        return OperatorUnreachableError(
            f"the {where} could not prove that it is {settings.operator_name}: its certificate is not by the CA in "
            f"{settings.ca_file}. Was the CA replaced? Restart the exit node once the ConfigMap has the new one"
        )
    if exc.code() in _REFUSALS:
        return OperatorRefusedError(f"the {where} refuses this exit node: {details}")
    if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return OperatorUnreachableError(f"the {where} gave no answer within {ENROL_TIMEOUT_S:g} s")
    return OperatorUnreachableError(f"the {where} cannot be reached: {details[:300]}")
