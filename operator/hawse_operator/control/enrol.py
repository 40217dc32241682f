"""Whether an agent gets a certificate: the decisions, pure. Reads no clock, asks nobody, counts nothing.

`relay` calls `may_enrol` with the token's record, lets the TokenBook count the agent, and then calls `certificate_for`;
`may_renew` for renewals. Every refusal has a code of names.py and says what to do. Nothing is told about a token before
the secret is proved, except that it is used up: then there is no secret any more that could prove anything.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hawse_api import names, spiffe
from hawse_api.ir import frames_pb2
from hawse_operator.control import ca
from hawse_operator.control.books import TokenRecord

NONCE_BYTES = 32
MAX_TOKEN_ID = 64


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not, with what to do."""

    code: str
    message: str
    final: bool = True
    """False: the same request may succeed later without anybody's help."""

    def to_frame(self) -> frames_pb2.Refused:
        """As the agent gets it."""
        return frames_pb2.Refused(code=self.code, message=self.message, final=self.final)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The agent may have a certificate for this key."""

    record: TokenRecord
    agent_id: str
    public_key: ec.EllipticCurvePublicKey


def refused(name: str, message: str, *, final: bool = True) -> Refused:
    """A refusal by the name of its code in names.py."""
    return Refused(names.BY_NAME[name].code, message, final)


def proof_of(secret: bytes, csr: bytes, nonce: bytes) -> bytes:
    """HMAC-SHA256(secret, csr || nonce): what the agent shows instead of the secret."""
    return hmac.digest(secret, csr + nonce, "sha256")


def too_many_attempts(wait_s: float) -> Refused:
    """The limit of attempts is reached."""
    return refused(
        "TOO_MANY_ATTEMPTS", f"Too many attempts to log in. Try again in {max(1, round(wait_s))} s.", final=False
    )


def operator_away() -> Refused:
    """Kubernetes or the operator did not answer."""
    return refused("OPERATOR_AWAY", "The operator cannot read the token just now. Try again in a minute.", final=False)


def may_enrol(
    request: frames_pb2.EnrolRequest, nonce: bytes, record: TokenRecord | None, now: datetime
) -> Allowed | Refused:
    """Decide about a login with a join token; `record` is None if there is no token with this id."""
    malformed = _malformed(request, nonce)
    if malformed is not None:
        return malformed
    if record is None or (not record.secret and not record.used_up):
        return _wrong()
    if not record.secret:
        return _used_up(record)
    if not hmac.compare_digest(proof_of(record.secret, request.csr, nonce), request.proof):
        return _wrong()
    barred = _barred(record, request.agent_id, now)
    if barred is not None:
        return barred
    key = ca.parse_csr(request.csr)
    if isinstance(key, ca.Refused):
        return refused("BAD_CSR", f"{key.why[0].upper()}{key.why[1:]}. Update hawse on this machine.")
    return Allowed(record, request.agent_id, key)


def may_renew(
    request: frames_pb2.RenewRequest, who: spiffe.AgentId, record: TokenRecord | None, certificate: x509.Certificate
) -> Allowed | Refused:
    """Decide about a renewal. `certificate` is the session's, already found to be ours and of `who`.

    A token that has expired or is used up still renews: both only bound who may enrol. A deleted one does not.
    """
    if record is None or record.deleting:
        return refused(
            "TOKEN_REVOKED",
            f"The AgentToken of this login (namespace {who.namespace}) was deleted. Log in with another token.",
        )
    if (who.domain, who.namespace) != (record.domain, record.namespace) or who.agent_id not in record.agents:
        return refused(
            "NOT_ALLOWED", f"AgentToken {_name(record)} does not know this agent. Log in again with its token."
        )
    key = ca.parse_csr(request.csr)
    if isinstance(key, ca.Refused):
        return refused("BAD_CSR", f"{key.why[0].upper()}{key.why[1:]}. Update hawse on this machine.")
    if not _proves(certificate, key, request):
        return refused(
            "NOT_ALLOWED",
            "The renewal is not signed by the key of the certificate it renews. Update hawse, or log in again.",
        )
    return Allowed(record, who.agent_id, key)


def certificate_for(authority: ca.Authority, allowed: Allowed, now: datetime) -> list[bytes]:
    """The agent's new chain, DER, leaf first."""
    record = allowed.record
    who = spiffe.AgentId(record.domain, record.namespace, record.uid, allowed.agent_id)
    return ca.chain_of(authority, ca.issue_agent(authority, allowed.public_key, who, now))


def _malformed(request: frames_pb2.EnrolRequest, nonce: bytes) -> Refused | None:
    if not request.token_id or len(request.token_id) > MAX_TOKEN_ID or len(nonce) != NONCE_BYTES:
        return _wrong()
    if spiffe.AGENT_ID.fullmatch(request.agent_id) is None:
        return refused(
            "BAD_CSR", "The agent's id is not 1 to 64 letters, digits, dots, dashes or underscores. Update hawse."
        )
    return None


def _barred(record: TokenRecord, agent_id: str, now: datetime) -> Refused | None:
    """Why a token whose secret is proved does not let this agent in."""
    reissue = f"kubectl annotate agenttoken {record.name} hawse.dev/reissue=now --overwrite -n {record.namespace}"
    if record.deleting:
        return refused("TOKEN_REVOKED", f"AgentToken {_name(record)} is being deleted. Log in with another token.")
    if record.expires_at is not None and record.expires_at <= now:
        return refused(
            "TOKEN_EXPIRED", f"The token expired {_ago(now, record.expires_at)} ago. Issue a new one: {reissue}"
        )
    if agent_id in record.agents and not record.once:
        return None  # logs in again: it is counted already
    if record.used_up:
        return _used_up(record)
    if len(record.agents) >= record.max_agents:
        return refused(
            "TOO_MANY_AGENTS",
            f"AgentToken {_name(record)} admits {record.max_agents} agent(s), and that many are logged in. "
            "Raise spec.maxAgents, or use another token.",
        )
    return None


def _proves(
    certificate: x509.Certificate, csr_key: ec.EllipticCurvePublicKey, request: frames_pb2.RenewRequest
) -> bool:
    old = certificate.public_key()
    if not isinstance(old, ec.EllipticCurvePublicKey):
        return False
    if old == csr_key:
        return True  # the request's own signature is by the certificate's key
    try:
        old.verify(request.proof, request.csr, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _wrong() -> Refused:
    return refused(
        "TOKEN_WRONG", "The token is not known here, or its secret is not the newest. Read it again from its Secret."
    )


def _used_up(record: TokenRecord) -> Refused:
    return refused(
        "TOKEN_USED_UP",
        f"AgentToken {_name(record)} was good for one agent and is used up. Issue a new one: "
        f"kubectl annotate agenttoken {record.name} hawse.dev/reissue=now --overwrite -n {record.namespace}",
    )


def _name(record: TokenRecord) -> str:
    return f"{record.namespace}/{record.name}"


def _ago(now: datetime, then: datetime) -> str:
    """Like "3 days", "2 h", "5 min", "12 s"."""
    seconds = max(0, int((now - then).total_seconds()))
    for size, one, many in ((86400, "day", "days"), (3600, "h", "h"), (60, "min", "min")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {one if count == 1 else many}"
    return f"{seconds} s"
