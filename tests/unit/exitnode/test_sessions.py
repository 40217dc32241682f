"""The session table as event scripts: what comes in, what goes out."""

import dataclasses
from typing import Any

import pytest

from hawse_api import names, spiffe
from hawse_api.ir import control_pb2, frames_pb2
from hawse_exitnode import sessions
from hawse_exitnode.directory import Directory, Offered
from hawse_exitnode.session_state import (
    Bind,
    Close,
    Command,
    DirectoryChanged,
    DrainStarted,
    Event,
    FrameCame,
    Limits,
    LinkClosed,
    LinkOpened,
    Moment,
    NodeFacts,
    NodeNamed,
    OperatorChanged,
    Phase,
    Relay,
    RelayAnswered,
    RelayFailed,
    Send,
    State,
    Tick,
)

NODE = NodeFacts("0.1.0", "eu-west-1", "eu-west", "eu-west-1-abc", "tunnels.localhost")
SHOP = Offered("uid-shop", "team-a", "shop", "shop.tunnels.localhost", "https://shop.tunnels.localhost/", "HTTP1")
BLOG = Offered("uid-blog", "team-a", "blog", "blog.tunnels.localhost", "https://blog.tunnels.localhost/", "HTTP1")
DIRECTORY = Directory({"token-1": "team-a/laptop"}, {"token-1": (SHOP,)})
WHO = spiffe.AgentId("tunnels.localhost", "team-a", "token-1", "agent-1")
NONCE = b"n" * 32


class Script:
    """Feeds events and remembers what came out last."""

    def __init__(self, **state: Any) -> None:
        self.state = State(NODE, directory=DIRECTORY, synced=True)
        self.state = dataclasses.replace(self.state, **state)
        self.at = 100.0
        self.out: tuple[Command, ...] = ()

    def feed(self, event: Event) -> tuple[Command, ...]:
        self.state, self.out = sessions.step(self.state, event, Moment(self.at, 1_000_000.0 + self.at))
        return self.out

    def open(self, link: int = 1, who: spiffe.AgentId | None = WHO, alpn: str = names.ALPN_LINK) -> tuple[Command, ...]:
        return self.feed(LinkOpened(link, alpn, f"192.0.2.{link}:4000", who, b"cert", NONCE))

    def say(self, link: int = 1, **frame: Any) -> tuple[Command, ...]:
        return self.feed(FrameCame(link, frames_pb2.Frame(**frame)))

    def hello(self, link: int = 1, **changes: Any) -> tuple[Command, ...]:
        fields: dict[str, Any] = {
            "min_version": 1,
            "max_version": 1,
            "agent_version": "0.1.0",
            "hostname": "laptop",
            "slot": "a",
            "epoch": 10,
        }
        return self.say(link, hello=frames_pb2.Hello(**(fields | changes)))

    def admit(self, link: int = 1, who: spiffe.AgentId = WHO, **changes: Any) -> tuple[Command, ...]:
        self.open(link, who)
        return self.hello(link, **changes)

    def register(self, *uids: str, link: int = 1) -> tuple[Command, ...]:
        return self.say(link, register=frames_pb2.Register(tunnel_uids=uids))

    def kinds(self) -> list[str]:
        return [kind_of(command) for command in self.out]

    def refusal(self, link: int = 1) -> frames_pb2.Refused:
        for command in self.out:
            if isinstance(command, Send) and command.link == link:
                frame = command.frame
                if frame.WhichOneof("frame") == "refused":
                    return frame.refused
                if frame.WhichOneof("frame") == "enrolled":
                    return frame.enrolled.refused
                if frame.WhichOneof("frame") == "renewed":
                    return frame.renewed.refused
        raise AssertionError(f"link {link} was not refused: {self.out}")


def kind_of(command: Command) -> str:
    match command:
        case Send(link, frame):
            return f"{link}:{frame.WhichOneof('frame')}"
        case Close(link, code, _):
            return f"{link}:close {code}"
        case Bind(link, uids):
            return f"{link}:bind {','.join(uids)}"
        case Relay():
            return "relay"


def sent(out: tuple[Command, ...], kind: str) -> Any:
    found = [c.frame for c in out if isinstance(c, Send) and c.frame.WhichOneof("frame") == kind]
    return getattr(found[0], kind)


# --- admission -------------------------------------------------------------------------------------------------------
def test_an_agent_of_a_known_token_is_welcomed_and_offered_its_tunnels() -> None:
    script = Script()
    assert script.open() == ()
    script.hello()
    assert script.kinds() == ["1:welcome", "1:offer"]
    welcome = sent(script.out, "welcome")
    assert (welcome.version, welcome.exit_node, welcome.region, welcome.pod) == (
        1,
        "eu-west-1",
        "eu-west",
        "eu-west-1-abc",
    )
    assert [tunnel.url for tunnel in sent(script.out, "offer").tunnels] == ["https://shop.tunnels.localhost/"]


@pytest.mark.parametrize(
    ("low", "high", "advice"),
    [
        pytest.param(0, 0, "Update hawse on this machine", id="old agent"),
        pytest.param(2, 3, "The exit node has to be updated", id="new agent"),
        pytest.param(5, 1, "The exit node has to be updated", id="empty range"),
    ],
)
def test_a_version_mismatch_says_which_side_to_update(low: int, high: int, advice: str) -> None:
    script = Script()
    script.open()
    script.hello(min_version=low, max_version=high)
    assert (script.refusal().code, script.refusal().final) == ("HAWSE-2002", True)
    assert advice in script.refusal().message
    assert script.kinds() == ["1:refused", "1:close 2002"]


@pytest.mark.parametrize(
    ("deleted", "synced", "final", "words"),
    [
        pytest.param({"token-9": "team-a/old"}, True, True, "AgentToken team-a/old was deleted", id="seen and deleted"),
        pytest.param({"token-9": "team-a/old"}, False, True, "AgentToken team-a/old", id="deleted, operator away"),
        pytest.param({}, True, True, "does not exist any more", id="never seen, in sync"),
        pytest.param({}, False, False, "cannot ask its operator", id="never seen, operator away: may be new"),
    ],
)
def test_an_unknown_token_is_refused_for_good_only_if_that_is_certain(
    deleted: dict[str, str], synced: bool, final: bool, words: str
) -> None:
    script = Script(directory=dataclasses.replace(DIRECTORY, deleted=deleted), synced=synced)
    script.admit(who=dataclasses.replace(WHO, token_uid="token-9"))
    assert (script.refusal().code, script.refusal().final) == ("HAWSE-2003", final)
    assert words in script.refusal().message


@pytest.mark.parametrize(
    "who",
    [
        pytest.param(None, id="no agent's certificate"),
        pytest.param(dataclasses.replace(WHO, domain="other"), id="other fleet"),
    ],
)
def test_a_certificate_that_is_not_an_agent_of_this_fleet_is_refused_before_hello(who: spiffe.AgentId | None) -> None:
    script = Script()
    script.open(who=who)
    assert script.kinds() == ["1:refused", "1:close 2016"]


@pytest.mark.parametrize("changes", [{"slot": ""}, {"slot": "x" * 65}, {"agent_version": "9" * 65}])
def test_a_hello_out_of_bounds_is_a_bad_frame(changes: dict[str, Any]) -> None:
    script = Script()
    script.open()
    script.hello(**changes)
    assert script.refusal().code == "HAWSE-2009"


def test_what_an_agent_calls_its_machine_is_cut_and_made_printable() -> None:
    script = Script()
    script.admit(hostname="lap\x1b[31mtop\n" + "x" * 400)
    assert script.state.links[1].hostname.startswith("lap[31mtopxxx")
    assert len(script.state.links[1].hostname) <= 253


def test_a_link_without_hello_is_closed_after_five_seconds() -> None:
    script = Script()
    script.open()
    script.at += 4.9
    assert script.feed(Tick()) == ()
    script.at += 0.2
    script.feed(Tick())
    assert script.kinds() == ["1:refused", "1:close 2009"]


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param({"register": frames_pb2.Register()}, id="register before hello"),
        pytest.param({"welcome": frames_pb2.Welcome()}, id="a node's frame"),
        pytest.param({"enrol_hello": frames_pb2.EnrolHello()}, id="an enrolment's frame"),
        pytest.param({}, id="no frame at all"),
    ],
)
def test_a_frame_out_of_turn_ends_the_link(frame: dict[str, Any]) -> None:
    script = Script()
    script.open()
    script.say(**frame)
    assert script.kinds() == ["1:refused", "1:close 2009"]
    assert script.say(hello=frames_pb2.Hello()) == (), "a closing link is not listened to"


def test_a_second_hello_ends_the_session_and_unbinds_it() -> None:
    script = Script()
    script.admit()
    script.register("uid-shop")
    script.hello()
    assert script.kinds() == ["1:refused", "1:bind ", "1:close 2009"]


def test_events_of_unknown_links_change_nothing() -> None:
    script = Script()
    before = script.state
    for event in (FrameCame(7, frames_pb2.Frame()), LinkClosed(7), RelayFailed(7)):
        assert script.feed(event) == ()
    script.feed(RelayAnswered(control_pb2.RelayReply(id=7)))
    assert (script.state, script.out) == (before, ())


# --- serving ---------------------------------------------------------------------------------------------------------
def test_a_register_binds_what_was_offered() -> None:
    script = Script()
    script.admit()
    script.register("uid-shop", "uid-shop")
    assert script.kinds() == ["1:bind uid-shop", "1:registered"]
    assert list(sent(script.out, "registered").tunnel_uids) == ["uid-shop"]


def test_a_register_replaces_the_last_one() -> None:
    script = Script()
    script.admit()
    script.register("uid-shop")
    script.register()
    assert script.kinds() == ["1:bind ", "1:registered"]


def test_registering_what_was_never_offered_is_refused_for_good() -> None:
    script = Script()
    script.admit()
    script.register("uid-shop", "uid-of-somebody-else")
    assert (script.refusal().code, script.refusal().final) == ("HAWSE-2010", True)
    assert not any(isinstance(command, Bind) for command in script.out)


def test_a_register_that_crosses_the_removal_of_a_tunnel_is_no_offence() -> None:
    script = Script()
    script.admit()
    script.feed(DirectoryChanged(Directory({"token-1": "team-a/laptop"}, {})))
    assert script.kinds() == ["1:offer"]
    script.register("uid-shop")
    assert script.kinds() == ["1:bind ", "1:registered"]


def test_a_new_tunnel_is_offered_to_agents_that_are_connected() -> None:
    script = Script()
    script.admit()
    script.register("uid-shop")
    script.feed(DirectoryChanged(Directory(DIRECTORY.tokens, {"token-1": (BLOG, SHOP)})))
    assert script.kinds() == ["1:offer"]
    script.register("uid-shop", "uid-blog")
    assert script.kinds() == ["1:bind uid-shop,uid-blog", "1:registered"]


def test_a_tunnel_that_goes_away_is_unbound_and_comes_back_by_itself() -> None:
    script = Script()
    script.admit()
    script.register("uid-shop")
    script.feed(DirectoryChanged(Directory(DIRECTORY.tokens, {})))
    assert script.kinds() == ["1:offer", "1:bind ", "1:registered"]
    script.feed(DirectoryChanged(DIRECTORY))
    assert script.kinds() == ["1:offer", "1:bind uid-shop", "1:registered"]


def test_a_change_that_does_not_concern_an_agent_is_not_told() -> None:
    script = Script()
    script.admit()
    other = Directory({**DIRECTORY.tokens, "token-2": "team-b/ci"}, {**DIRECTORY.offers, "token-2": (BLOG,)})
    assert script.feed(DirectoryChanged(other)) == ()


def test_a_deleted_token_cuts_all_its_agents_off_and_nobody_else() -> None:
    script = Script(directory=Directory({**DIRECTORY.tokens, "token-2": "team-b/ci"}, DIRECTORY.offers))
    script.admit(1)
    script.register("uid-shop")
    script.admit(2, slot="b")
    script.admit(3, dataclasses.replace(WHO, token_uid="token-2"))
    script.feed(DirectoryChanged(Directory({"token-2": "team-b/ci"}, {}, {"token-1": "team-a/laptop"})))
    assert script.kinds() == ["1:refused", "1:bind ", "1:close 2003", "2:refused", "2:close 2003"]
    assert script.refusal(1).final
    assert script.refusal(1).message.startswith("AgentToken team-a/laptop was deleted")


# --- fencing ---------------------------------------------------------------------------------------------------------
def test_a_higher_epoch_takes_the_slot_at_once_and_the_older_session_is_told() -> None:
    script = Script()
    script.admit(1, epoch=10)
    script.register("uid-shop")
    script.admit(2, epoch=11)
    assert script.kinds() == ["1:refused", "1:bind ", "1:close 2007", "2:welcome", "2:offer"]
    assert (script.refusal(1).code, script.refusal(1).final) == ("HAWSE-2007", True)


@pytest.mark.parametrize("epoch", [9, 10])
def test_a_lower_or_equal_epoch_is_answered_with_the_one_that_is_known(epoch: int) -> None:
    script = Script()
    script.admit(1, epoch=10)
    script.admit(2, epoch=epoch)
    assert (script.refusal(2).code, script.refusal(2).final, script.refusal(2).epoch) == ("HAWSE-2007", False, 10)
    assert script.state.links[1].phase is Phase.ACTIVE


def test_the_same_agent_takes_its_place_back_after_an_unclean_drop() -> None:
    script = Script()
    script.admit(1, epoch=10)
    script.feed(LinkClosed(1))
    script.admit(2, epoch=10)
    assert script.kinds() == ["2:welcome", "2:offer"]
    script.feed(LinkClosed(2))
    script.admit(3, epoch=9)
    assert script.refusal(3).epoch == 10


def test_the_late_end_of_an_old_link_does_not_touch_the_new_session() -> None:
    script = Script()
    script.admit(1, epoch=10)
    script.admit(2, epoch=11)
    script.feed(LinkClosed(1))
    assert script.state.fences[("token-1", "agent-1", "a")].link == 2


@pytest.mark.parametrize(
    ("who", "slot"),
    [
        pytest.param(WHO, "b", id="another slot"),
        pytest.param(dataclasses.replace(WHO, agent_id="agent-2"), "a", id="another agent"),
        pytest.param(dataclasses.replace(WHO, token_uid="token-2"), "a", id="a stranger with the same agent id"),
    ],
)
def test_a_session_fences_only_its_own_slot(who: spiffe.AgentId, slot: str) -> None:
    script = Script(directory=Directory({**DIRECTORY.tokens, "token-2": "team-b/ci"}, DIRECTORY.offers))
    script.admit(1, epoch=10)
    script.admit(2, who, slot=slot, epoch=1)
    assert "2:welcome" in script.kinds()
    assert script.state.links[1].phase is Phase.ACTIVE


def test_epochs_of_gone_slots_are_forgotten_after_ten_minutes_or_when_too_many() -> None:
    script = Script(limits=Limits(dead_fences=2))
    for link in range(1, 5):
        script.admit(link, slot=f"s{link}")
        script.feed(LinkClosed(link))
    script.feed(Tick())
    assert sorted(key[2] for key in script.state.fences) == ["s3", "s4"]
    script.at += 600
    script.feed(Tick())
    assert script.state.fences == {}


# --- bounds ----------------------------------------------------------------------------------------------------------
def test_sessions_are_bounded_per_token_and_in_total() -> None:
    script = Script(limits=Limits(sessions_per_token=1))
    script.admit(1)
    script.admit(2, slot="b")
    assert (script.refusal(2).code, script.refusal(2).final) == ("HAWSE-1010", False)
    script.admit(3, epoch=11)
    assert "3:welcome" in script.kinds(), "taking over one's own place needs no other one"

    script = Script(limits=Limits(sessions=1))
    script.admit(1)
    script.admit(2, slot="b")
    assert script.refusal(2).code == "HAWSE-1010"


def test_links_beyond_the_bound_are_closed_without_a_place_in_the_table() -> None:
    script = Script(limits=Limits(links=1))
    script.open(1)
    script.open(2)
    assert script.kinds() == ["2:close 1010"]
    assert list(script.state.links) == [1]


def test_a_flood_of_frames_ends_the_link_and_a_calm_one_does_not() -> None:
    script = Script(limits=Limits(frames_burst=5, frames_per_s=1.0))
    script.admit()
    for _ in range(4):
        script.register("uid-shop")
    assert "1:registered" in script.kinds()
    script.register("uid-shop")
    assert script.refusal().code == "HAWSE-2009"

    script = Script(limits=Limits(frames_burst=5, frames_per_s=1.0))
    script.admit()
    for _ in range(50):
        script.at += 1.0
        script.register("uid-shop")
        assert "1:registered" in script.kinds()


def test_a_register_of_too_many_tunnels_is_a_bad_frame() -> None:
    script = Script()
    script.admit()
    script.register(*(f"uid-{number}" for number in range(1001)))
    assert script.refusal().code == "HAWSE-2009"


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
    (session,) = sessions.report(script.state, {1: 12}).sessions
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
