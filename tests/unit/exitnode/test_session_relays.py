"""Enrolment, renewal, drain and reports of sessions as event scripts: what comes in, what goes out."""

import dataclasses
from typing import Any

import pytest

from hawse_api import names
from hawse_api.ir import control_pb2, core_pb2, frames_pb2
from hawse_exitnode import sessions
from hawse_exitnode.session_state import (
    DrainStarted,
    Limits,
    LinkOpened,
    NodeNamed,
    OperatorChanged,
    Phase,
    Relay,
    RelayAnswered,
    RelayFailed,
    Tick,
)
from support.session_script import NODE, NONCE, Script, sent


# --- enrolment -------------------------------------------------------------------------------------------------------
def enrolling(script: Script, link: int = 1) -> None:
    script.open(link, None, names.ALPN_ENROL)
    script.say(link, enrol_hello=frames_pb2.EnrolHello(min_version=1, max_version=1))


def test_an_enrolment_is_challenged_relayed_and_answered() -> None:
    script = Script()
    enrolling(script)
    challenge = sent(script.out, "enrol_challenge")
    assert (challenge.nonce, challenge.now) == (NONCE, 1_000_100)
    request = frames_pb2.EnrolRequest(token_id="t", csr=b"csr", proof=b"proof", agent_id="agent-1")
    script.say(enrol=request)
    (relay,) = script.out
    assert isinstance(relay, Relay)
    assert (relay.request.nonce, relay.request.agent_address, relay.request.enrol) == (NONCE, "192.0.2.1:4000", request)
    response = frames_pb2.EnrolResponse(chain=[b"leaf"])
    script.feed(RelayAnswered(control_pb2.RelayReply(id=relay.request.id, enrol=response)))
    assert sent(script.out, "enrolled") == response
    assert script.feed(RelayAnswered(control_pb2.RelayReply(id=relay.request.id, enrol=response))) == ()
    script.at += 6
    script.feed(Tick())
    assert script.kinds() == ["1:close 0"], "the agent closes; we do if it does not"


@pytest.mark.parametrize("static", [False, True])
def test_without_an_operator_a_login_is_refused_and_says_whether_it_helps_to_wait(static: bool) -> None:
    script = Script(static=static)
    enrolling(script)
    script.say(enrol=frames_pb2.EnrolRequest(token_id="t"))
    script.feed(RelayFailed(1))
    assert (script.refusal().code, script.refusal().final) == ("HAWSE-3009", static)


def test_a_relay_without_an_answer_is_given_up_after_twelve_seconds() -> None:
    script = Script()
    enrolling(script)
    script.say(enrol=frames_pb2.EnrolRequest(token_id="t"))
    script.at += 11.9
    assert script.feed(Tick()) == ()
    script.at += 0.2
    script.feed(Tick())
    assert script.refusal().code == "HAWSE-3009"


def test_an_enrolment_that_stands_still_is_closed() -> None:
    script = Script()
    enrolling(script)
    script.at += 10.1
    script.feed(Tick())
    assert "1:close 2009" in script.kinds()


def test_enrolling_links_are_bounded_per_address_and_in_total() -> None:
    script = Script(limits=Limits(enrolling=2, enrolling_per_address=1))
    script.open(1, None, names.ALPN_ENROL)
    script.feed(LinkOpened(5, names.ALPN_ENROL, "192.0.2.1:4001", None, b"", NONCE))
    assert script.refusal(5).code == "HAWSE-3008"
    script.open(2, None, names.ALPN_ENROL)
    script.open(3, None, names.ALPN_ENROL)
    assert script.refusal(3).code == "HAWSE-1010"


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param({"enrol": frames_pb2.EnrolRequest()}, id="request before hello"),
        pytest.param({"hello": frames_pb2.Hello()}, id="a session's hello"),
    ],
)
def test_an_enrolment_out_of_turn_is_a_bad_frame(frame: dict[str, Any]) -> None:
    script = Script()
    script.open(1, None, names.ALPN_ENROL)
    script.say(**frame)
    assert script.refusal().code == "HAWSE-2009"


def test_an_enrolment_request_out_of_bounds_never_reaches_the_operator() -> None:
    for changes in ({"csr": b"x" * 4097}, {"proof": b"x" * 257}, {"hostname": "x" * 257}):
        script = Script()
        enrolling(script)
        script.say(enrol=frames_pb2.EnrolRequest(**changes))
        assert script.refusal().code == "HAWSE-2009"


def test_an_agent_of_another_protocol_version_cannot_enrol() -> None:
    script = Script()
    script.open(1, None, names.ALPN_ENROL)
    script.say(enrol_hello=frames_pb2.EnrolHello(min_version=2, max_version=2))
    assert script.refusal().code == "HAWSE-2002"


# --- renewal ---------------------------------------------------------------------------------------------------------
def test_a_renewal_is_relayed_with_the_identity_of_the_certificate() -> None:
    script = Script()
    script.admit()
    script.say(renew=frames_pb2.RenewRequest(csr=b"csr", proof=b"proof"))
    (relay,) = script.out
    assert isinstance(relay, Relay)
    renew = relay.request.renew
    assert (renew.token_uid, renew.agent_id, renew.certificate) == ("token-1", "agent-1", b"cert")
    script.feed(
        RelayAnswered(control_pb2.RelayReply(id=relay.request.id, renew=frames_pb2.RenewResponse(chain=[b"x"])))
    )
    assert list(sent(script.out, "renewed").chain) == [b"x"]
    assert script.state.links[1].phase is Phase.ACTIVE


def test_a_renewal_without_an_operator_leaves_the_session_alone() -> None:
    script = Script()
    script.admit()
    script.say(renew=frames_pb2.RenewRequest(csr=b"csr"))
    script.at += 12.1
    script.feed(Tick())
    assert (script.refusal().code, script.state.links[1].phase) == ("HAWSE-3009", Phase.ACTIVE)
    script.say(renew=frames_pb2.RenewRequest(csr=b"csr"))
    assert script.kinds() == ["relay"], "it may ask again"


def test_a_second_renewal_before_the_answer_is_a_bad_frame() -> None:
    script = Script()
    script.admit()
    script.say(renew=frames_pb2.RenewRequest(csr=b"csr"))
    script.say(renew=frames_pb2.RenewRequest(csr=b"csr"))
    assert script.refusal().code == "HAWSE-2009"


def test_an_answer_of_the_wrong_kind_counts_as_none() -> None:
    script = Script()
    script.admit()
    script.say(renew=frames_pb2.RenewRequest(csr=b"csr"))
    script.feed(RelayAnswered(control_pb2.RelayReply(id=1, enrol=frames_pb2.EnrolResponse())))
    assert script.refusal().code == "HAWSE-3009"


# --- drain, report ---------------------------------------------------------------------------------------------------
def test_a_drain_is_told_to_sessions_and_nobody_new_is_admitted() -> None:
    script = Script()
    script.admit(1)
    script.register("uid-shop")
    script.open(2)
    script.feed(DrainStarted(5000, "the pod is stopped"))
    assert script.kinds() == ["1:drain"], "its tunnels stay bound: requests in flight finish"
    assert sent(script.out, "drain").deadline_ms == 5000
    script.hello(2, slot="b")
    assert (script.refusal(2).code, script.refusal(2).final) == ("HAWSE-2015", False)
    script.open(3, None, names.ALPN_ENROL)
    assert script.refusal(3).code == "HAWSE-2015"


def test_the_report_has_admitted_sessions_with_what_they_serve() -> None:
    script = Script()
    script.admit(1)
    script.register("uid-shop")
    script.open(2)
    measured = {1: core_pb2.LinkStats(rtt_ms=12, transport=core_pb2.TRANSPORT_TCP)}
    (session,) = sessions.report(script.state, measured).sessions
    assert session.transport == "h2"
    assert sessions.report(script.state, {}).sessions[0].transport == "quic"
    assert (session.token_uid, session.agent_id, list(session.tunnel_uids)) == ("token-1", "agent-1", ["uid-shop"])
    assert (session.rtt_ms, session.connected_at, session.hostname) == (12, 1_000_100, "laptop")
    assert sessions.active(script.state) == 1


def test_a_closing_link_that_stays_is_closed_once_more_and_then_waited_for() -> None:
    script = Script()
    script.open(who=None)
    script.at += 5
    script.feed(Tick())
    assert script.kinds() == ["1:close 0"]
    script.at += 60
    assert script.feed(Tick()) == ()


def test_the_node_learns_its_name_and_whether_the_operator_is_there() -> None:
    script = Script()
    facts = dataclasses.replace(NODE, exit_node="us-east-1")
    script.feed(NodeNamed(facts))
    script.feed(OperatorChanged(False))
    assert (script.state.node, script.state.synced) == (facts, False)
