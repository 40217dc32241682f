"""Enrolment as event scripts, with a CA made for the test."""

import datetime as dt
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import serialization

from hawse_agent import enrolment, identity
from hawse_agent.enrolment import Done, Failed, Phase, Send
from hawse_agent.jointoken import JoinToken
from hawse_agent.trial import pki
from hawse_api.ir import frames_pb2

NOW = dt.datetime(2026, 11, 24, 7, 0, tzinfo=dt.UTC)
CA = pki.make_authority("test", NOW)
OTHER_CA = pki.make_authority("other", NOW)
TOKEN = JoinToken(
    "connect.tunnels.example.com", ("203.0.113.7:7443",), (hashlib.sha256(CA.der).digest(),), "tok-1", b"s" * 32
)
KEY = identity.make_key("agent-1")
ASKER = enrolment.Asker(TOKEN, KEY, "agent-1", "laptop", "0.1.0")
NONCE = b"n" * 32


def challenge(*, now: float | None = None, nonce: bytes = NONCE) -> frames_pb2.Frame:
    at = int(NOW.timestamp() if now is None else now)
    return frames_pb2.Frame(enrol_challenge=frames_pb2.EnrolChallenge(nonce=nonce, node_version="0.1.0", now=at))


def answer(frame: frames_pb2.Frame, phase: Phase, ca: bytes = CA.der) -> Send | Done | Failed:
    return enrolment.on_frame(phase, frame, ASKER, ca=ca, now_unix=NOW.timestamp())


def leaf_for(key: identity.NewKey, authority: pki.Authority, domain: str = "tunnels.example.com") -> bytes:
    private = serialization.load_der_private_key(key.private, password=None)
    uri = f"spiffe://{domain}/ns/team-a/agenttoken/t1/agent/agent-1"
    return authority.issue("agent", now=NOW, uri=uri, key=private).chain_der[0]  # type: ignore[arg-type]


def enrolled(**changes: object) -> frames_pb2.Frame:
    fields: dict[str, object] = {
        "chain": [leaf_for(KEY, CA)],
        "roots": [CA.der],
        "domain": "tunnels.example.com",
        "addresses": ["203.0.113.8:7443"],
        "namespace": "team-a",
        "token_name": "laptop",
    }
    return frames_pb2.Frame(enrolled=frames_pb2.EnrolResponse(**{**fields, **changes}))  # type: ignore[arg-type]


def refused(code: str, message: str, *, final: bool) -> frames_pb2.Refused:
    return frames_pb2.Refused(code=code, message=message, final=final)


def test_the_first_frame_says_which_versions_we_speak() -> None:
    hello = enrolment.begin(ASKER).frame.enrol_hello
    assert (hello.min_version, hello.max_version, hello.agent_version) == (1, 1, "0.1.0")


def test_the_request_proves_the_secret_without_showing_it() -> None:
    step = answer(challenge(), Phase.GREETED)
    assert isinstance(step, Send)
    request = step.frame.enrol
    assert hmac.compare_digest(request.proof, hmac.digest(b"s" * 32, request.csr + NONCE, "sha256"))
    assert b"s" * 32 not in step.frame.SerializeToString()


def test_a_good_answer_becomes_credentials() -> None:
    step = answer(enrolled(), Phase.ASKED)
    assert isinstance(step, Done)
    made = step.credentials
    assert (made.namespace, made.token_name, made.domain) == ("team-a", "laptop", "tunnels.example.com")
    assert made.addresses == ("203.0.113.8:7443",)
    assert made.key == KEY.private


def test_addresses_that_are_none_fall_back_to_those_of_the_token() -> None:
    step = answer(enrolled(addresses=["nonsense"]), Phase.ASKED)
    assert isinstance(step, Done)
    assert step.credentials.addresses == TOKEN.addresses


@pytest.mark.parametrize(
    ("skew", "says"),
    [(11520, "your clock is 3 h 12 min ahead of the exit node"), (-600, "your clock is 10 min behind the exit node")],
)
def test_a_wrong_clock_is_named_with_its_side(skew: float, says: str) -> None:
    step = answer(challenge(now=NOW.timestamp() - skew), Phase.GREETED)
    assert isinstance(step, Failed)
    assert str(step.error) == f"{says} (HAWSE-3007). Set it and try again."
    assert not step.again


@pytest.mark.parametrize("skew", [-299, 0, 299])
def test_a_small_difference_of_clocks_is_nothing(skew: float) -> None:
    assert isinstance(answer(challenge(now=NOW.timestamp() - skew), Phase.GREETED), Send)


@pytest.mark.parametrize(
    ("frame", "ca", "says"),
    [
        pytest.param(enrolled(chain=[leaf_for(identity.make_key("x"), CA)]), CA.der, "another key", id="foreign key"),
        pytest.param(enrolled(chain=[leaf_for(KEY, OTHER_CA)]), CA.der, "not signed by the CA", id="foreign CA"),
        pytest.param(
            enrolled(chain=[leaf_for(KEY, OTHER_CA)], roots=[OTHER_CA.der]), CA.der, "another CA", id="CA not pinned"
        ),
        pytest.param(enrolled(roots=[CA.der]), OTHER_CA.der, "another CA", id="node proved by another CA"),
        pytest.param(
            enrolled(chain=[leaf_for(KEY, CA, "evil.example")]), CA.der, "does not name this agent", id="foreign domain"
        ),
        pytest.param(enrolled(domain="evil.example"), CA.der, "another domain", id="domain of the answer"),
        pytest.param(enrolled(chain=[]), CA.der, "no certificate", id="empty"),
        pytest.param(enrolled(chain=[b"junk"]), CA.der, "cannot be read", id="junk"),
        pytest.param(enrolled(chain=[b"j" * 9000]), CA.der, "too large", id="large"),
        pytest.param(enrolled(roots=[CA.der] * 9), CA.der, "too many", id="many"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(frame: frames_pb2.Frame, ca: bytes, says: str) -> None:
    step = answer(frame, Phase.ASKED, ca)
    assert isinstance(step, Failed)
    assert "HAWSE-2011" in str(step.error)
    assert says in str(step.error)
    assert (step.error.exit_code, step.again) == (3, False)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("HAWSE-3002", 3), ("HAWSE-3003", 3), ("HAWSE-3004", 3), ("HAWSE-3005", 3), ("HAWSE-3006", 3), ("HAWSE-3009", 4)],
)
def test_the_operators_words_are_passed_on(code: str, exit_code: int) -> None:
    message = "the token expired 3 days ago. Issue a new one: kubectl annotate agenttoken laptop"
    frame = frames_pb2.Frame(enrolled=frames_pb2.EnrolResponse(refused=refused(code, message, final=True)))
    step = answer(frame, Phase.ASKED)
    assert isinstance(step, Failed)
    assert str(step.error) == (
        f"the token expired 3 days ago ({code}). Issue a new one: kubectl annotate agenttoken laptop"
    )
    assert step.error.exit_code == exit_code


def test_a_refusal_that_is_not_final_lets_another_node_try() -> None:
    step = answer(frames_pb2.Frame(refused=refused("HAWSE-3009", "away", final=False)), Phase.GREETED)
    assert isinstance(step, Failed)
    assert step.again


@pytest.mark.parametrize(
    ("phase", "frame"),
    [
        (Phase.GREETED, enrolled()),
        (Phase.ASKED, challenge()),
        (Phase.ASKED, frames_pb2.Frame()),
        (Phase.GREETED, challenge(nonce=b"short")),
    ],
)
def test_a_frame_out_of_turn_ends_it(phase: Phase, frame: frames_pb2.Frame) -> None:
    step = answer(frame, phase)
    assert isinstance(step, Failed)
    assert "HAWSE-2009" in str(step.error)


def test_a_link_that_ends_is_told_with_the_nodes_reason() -> None:
    assert "busy" in str(enrolment.lost(3008, "busy").error)
    assert enrolment.lost(3008, "busy").error.exit_code == 3
    assert "HAWSE-2001" in str(enrolment.lost(0, "").error)


def test_control_characters_of_a_refusal_do_not_reach_the_terminal() -> None:
    step = answer(frames_pb2.Frame(refused=refused("HAWSE-3002", "no\x1b[31m\nway", final=True)), Phase.GREETED)
    assert isinstance(step, Failed)
    assert "\x1b" not in str(step.error)
    assert "\n" not in str(step.error)


def test_a_certificate_with_any_byte_damaged_is_refused_and_never_a_crash() -> None:
    good = leaf_for(KEY, CA)
    passed = 0
    for at in range(len(good)):
        damaged = good[:at] + bytes([good[at] ^ 0x15]) + good[at + 1 :]
        try:
            identity.check_chain(
                [damaged], [CA.der], public=KEY.public, domain="tunnels.example.com", agent_id="agent-1"
            )
        except identity.ChainRefusedError:
            continue
        passed += 1
    assert passed == 0
