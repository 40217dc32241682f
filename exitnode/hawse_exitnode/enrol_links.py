"""Transitions of links that enrol (ALPN hawse-enroll/1). Pure; called by `sessions.step`.

EnrolHello -> EnrolChallenge -> EnrolRequest -> relayed to the operator -> EnrolResponse. The agent has no certificate
yet: few such links are admitted, each for seconds, and the secret never reaches this node.
"""

import dataclasses

from hawse_api import names
from hawse_api.ir import control_pb2, frames_pb2
from hawse_exitnode import refusals
from hawse_exitnode.session_state import (
    CLOSING_DEADLINE_S,
    ENROL_DEADLINE_S,
    HELLO_DEADLINE_S,
    RELAY_DEADLINE_S,
    Link,
    LinkOpened,
    Moment,
    Phase,
    Relay,
    Send,
    State,
    Step,
)

MAX_CSR = 4096
MAX_TEXT = 256
ENROLLING = (Phase.AWAIT_ENROL_HELLO, Phase.AWAIT_ENROL, Phase.RELAYED)


def opened(state: State, event: LinkOpened, now: Moment) -> Step:
    """A link of an agent without a certificate."""
    link = Link(event.link, Phase.AWAIT_ENROL_HELLO, event.remote, now.at + HELLO_DEADLINE_S, nonce=event.nonce)
    if state.draining is not None:
        return refusals.refuse(state, link, refusals.draining(state.draining.reason), now)
    enrolling = [other for other in state.links.values() if other.phase in ENROLLING]
    address = _host(event.remote)
    if len(enrolling) >= state.limits.enrolling:
        return refusals.refuse(state, link, refusals.overloaded("as many logins at a time as it admits"), now)
    if sum(_host(other.remote) == address for other in enrolling) >= state.limits.enrolling_per_address:
        why = refusals.refused("TOO_MANY_ATTEMPTS", "Too many logins at a time from this address.", final=False)
        return refusals.refuse(state, link, why, now)
    return state.with_link(link), ()


def frame(state: State, link: Link, message: frames_pb2.Frame, now: Moment) -> Step:
    """A frame on an enrolling link."""
    match link.phase, message.WhichOneof("frame"):
        case Phase.AWAIT_ENROL_HELLO, "enrol_hello":
            return _hello(state, link, message.enrol_hello, now)
        case Phase.AWAIT_ENROL, "enrol":
            return _request(state, link, message.enrol, now)
        case _, kind:
            return refusals.refuse(state, link, refusals.bad_frame(f"an unexpected frame ({kind}) in a login"), now)


def answered(state: State, link: Link, response: frames_pb2.EnrolResponse, now: Moment) -> Step:
    """The operator's answer, or ours in its place. The agent closes; we do if it does not."""
    done = dataclasses.replace(link, phase=Phase.CLOSING, relay=None, deadline=now.at + CLOSING_DEADLINE_S)
    return state.with_link(done), (Send(link.id, frames_pb2.Frame(enrolled=response)),)


def away(state: State, link: Link, now: Moment) -> Step:
    """No answer came."""
    return answered(state, link, frames_pb2.EnrolResponse(refused=refusals.operator_away(static=state.static)), now)


def _hello(state: State, link: Link, hello: frames_pb2.EnrolHello, now: Moment) -> Step:
    if min(hello.max_version, names.PROTOCOL_MAX) < max(hello.min_version, names.PROTOCOL_MIN):
        return refusals.refuse(state, link, refusals.version_mismatch(hello.min_version, hello.max_version), now)
    challenge = frames_pb2.EnrolChallenge(nonce=link.nonce, node_version=state.node.version, now=int(now.unix))
    waiting = dataclasses.replace(link, phase=Phase.AWAIT_ENROL, deadline=now.at + ENROL_DEADLINE_S)
    return state.with_link(waiting), (Send(link.id, frames_pb2.Frame(enrol_challenge=challenge)),)


def _request(state: State, link: Link, request: frames_pb2.EnrolRequest, now: Moment) -> Step:
    texts = (request.token_id, request.agent_id, request.hostname, request.agent_version)
    if len(request.csr) > MAX_CSR or len(request.proof) > MAX_TEXT or any(len(text) > MAX_TEXT for text in texts):
        return refusals.refuse(state, link, refusals.bad_frame("a login with a field that is too long"), now)
    relay = Relay(
        control_pb2.RelayRequest(id=state.next_relay, agent_address=link.remote, nonce=link.nonce, enrol=request)
    )
    waiting = dataclasses.replace(link, phase=Phase.RELAYED, relay=state.next_relay, deadline=now.at + RELAY_DEADLINE_S)
    return dataclasses.replace(state.with_link(waiting), next_relay=state.next_relay + 1), (relay,)


def _host(remote: str) -> str:
    return remote.rpartition(":")[0]
