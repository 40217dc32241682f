"""One enrolment on one link (ALPN hawse-enroll/1) as a table: (Phase, event) -> (Phase, command). Pure.

    GREETED  --challenge-->  ASKED  --enrolled-->  done
Everything else ends it: `Failed.again` says whether another exit node may be asked. login.py dials, sends and saves.
"""

from dataclasses import dataclass
from enum import Enum

from hawse_agent import identity, words
from hawse_agent.credentials import Credentials, pair_addresses
from hawse_agent.errors import AgentError, AuthenticationError, NetworkError, error_of
from hawse_agent.jointoken import JoinToken
from hawse_api import names
from hawse_api.ir import frames_pb2

MAX_SKEW_S = 300.0
"""Certificates are backdated by an hour, so this could be more; but a clock that far off breaks TLS elsewhere too."""
_NONCE_BYTES = 32


class Phase(Enum):
    """How far one enrolment is."""

    GREETED = "EnrolHello was sent"
    ASKED = "EnrolRequest was sent"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who enrols, with what."""

    token: JoinToken
    key: identity.NewKey
    agent_id: str
    hostname: str
    version: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send the frame and wait for the next one in `phase`."""

    phase: Phase
    frame: frames_pb2.Frame


@dataclass(frozen=True, slots=True)
class Done:
    """Enrolled and checked."""

    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Failed:
    """Not enrolled."""

    error: AgentError
    again: bool
    """True: another exit node may know better."""


def begin(asker: Asker) -> Send:
    """First frame on a new link."""
    hello = frames_pb2.EnrolHello(
        min_version=names.PROTOCOL_MIN, max_version=names.PROTOCOL_MAX, agent_version=asker.version
    )
    return Send(Phase.GREETED, frames_pb2.Frame(enrol_hello=hello))


def on_frame(
    phase: Phase, frame: frames_pb2.Frame, asker: Asker, *, ca: bytes, now_unix: float
) -> Send | Done | Failed:
    """The node's next frame; `ca` is the CA that proved the node (LinkUp.ca)."""
    match (phase, frame.WhichOneof("frame")):
        case (_, "refused"):
            return _refused(frame.refused)
        case (Phase.GREETED, "enrol_challenge"):
            return _challenged(frame.enrol_challenge, asker, now_unix)
        case (Phase.ASKED, "enrolled"):
            return _enrolled(frame.enrolled, asker, ca)
        case (_, kind):
            text = (
                f'the exit node sent "{kind}" where an answer to the enrolment was due. Update hawse or the exit node.'
            )
            return Failed(AgentError(text, code=names.BY_NAME["BAD_FRAME"].code), again=True)


def lost(code: int, reason: str) -> Failed:
    """The link ended before the answer."""
    known = names.BY_CODE.get(f"HAWSE-{code}")
    why = words.printable(reason) or "no reason given"
    if known is not None:
        return Failed(error_of(known.code, _sentence(why, known.title)), again=True)
    text = f"the exit node closed the connection during the enrolment: {why}. Try again."
    return Failed(NetworkError(text, code=names.BY_NAME["NO_EXIT_NODE"].code), again=True)


def _challenged(challenge: frames_pb2.EnrolChallenge, asker: Asker, now_unix: float) -> Send | Failed:
    if len(challenge.nonce) != _NONCE_BYTES:
        text = "the exit node's challenge has the wrong size. Update hawse or the exit node."
        return Failed(AgentError(text, code=names.BY_NAME["BAD_FRAME"].code), again=True)
    skew_s = now_unix - challenge.now
    if abs(skew_s) > MAX_SKEW_S:
        return Failed(skewed(skew_s), again=False)
    request = frames_pb2.EnrolRequest(
        token_id=asker.token.id,
        csr=asker.key.csr,
        proof=identity.prove(asker.token.secret, asker.key.csr, challenge.nonce),
        agent_id=asker.agent_id,
        hostname=asker.hostname,
        agent_version=asker.version,
    )
    return Send(Phase.ASKED, frames_pb2.Frame(enrol=request))


def skewed(skew_s: float) -> AuthenticationError:
    """HAWSE-3007; positive: our clock is ahead."""
    side = "ahead of" if skew_s > 0 else "behind"
    text = f"your clock is {words.duration(skew_s)} {side} the exit node. Set it and try again."
    return AuthenticationError(text, code=names.BY_NAME["CLOCK_SKEW"].code)


def _enrolled(response: frames_pb2.EnrolResponse, asker: Asker, ca: bytes) -> Done | Failed:
    if response.HasField("refused"):
        return _refused(response.refused)
    token = asker.token
    chain, roots = tuple(response.chain), tuple(response.roots)
    try:
        identity.check_chain(chain, roots, public=asker.key.public, domain=token.domain, agent_id=asker.agent_id)
    except identity.ChainRefusedError as exc:
        return Failed(_untrusted(str(exc)), again=False)
    if response.domain != token.domain:
        return Failed(_untrusted("it speaks for another domain than the token"), again=False)
    if ca not in roots or not identity.names_pinned(roots, token.ca_sha256):
        return Failed(_untrusted("it brought another CA than the one that the token names"), again=False)
    addresses, tcp_ports = pair_addresses(response.addresses, response.tcp_ports)
    if not addresses:
        addresses, tcp_ports = token.addresses, token.tcp_ports
    return Done(
        Credentials(
            connect_name=token.connect_name,
            domain=token.domain,
            addresses=addresses,
            tcp_ports=tcp_ports,
            namespace=words.printable(response.namespace, 253),
            token_name=words.printable(response.token_name, 253),
            agent_id=asker.agent_id,
            chain=chain,
            roots=roots,
            key=asker.key.private,
        )
    )


def _refused(refused: frames_pb2.Refused) -> Failed:
    known = names.BY_CODE.get(refused.code)
    message = _sentence(words.printable(refused.message), known.title if known else "The exit node refused.")
    return Failed(error_of(known.code if known else "", message), again=not refused.final)


def _untrusted(why: str) -> AuthenticationError:
    text = (
        f"the answer to the enrolment cannot be trusted: {why}. "
        "Take a fresh token; if it happens again, ask the platform team."
    )
    return AuthenticationError(text, code=names.BY_NAME["EXIT_NODE_UNTRUSTED"].code)


def _sentence(message: str, otherwise: str) -> str:
    """The node's own words; ours where it has none."""
    return message or otherwise
