"""Admission, registration and fencing of sessions as event scripts: what comes in, what goes out."""

import dataclasses
from typing import Any

import pytest

from hawse_api import spiffe
from hawse_api.ir import control_pb2, frames_pb2
from hawse_exitnode import sessions
from hawse_exitnode.directory import Directory
from hawse_exitnode.session_state import (
    Bind,
    DirectoryChanged,
    FrameCame,
    Limits,
    LinkClosed,
    Phase,
    RelayAnswered,
    RelayFailed,
    Tick,
)
from support.session_script import BLOG, DIRECTORY, SHOP, WHO, Script, sent


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


@pytest.mark.parametrize(
    "changes", [{"slot": ""}, {"slot": "x" * 65}, {"agent_version": "9" * 65}, {"epoch": (1 << 64) - 1}]
)
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


def test_a_slot_whose_session_is_being_closed_is_no_free_place_beyond_the_bound() -> None:
    script = Script(limits=Limits(sessions=1))
    script.admit(1)
    script.hello(1)  # out of turn: it is closed, its link is still up
    script.admit(2, slot="b")
    assert script.kinds() == ["2:welcome", "2:offer"]
    script.admit(3, epoch=11)
    assert script.refusal(3).code == "HAWSE-1010"


def test_agents_hear_of_exit_nodes_that_come_and_go() -> None:
    script = Script()
    script.admit()
    assert list(sent(script.out, "offer").addresses) == []
    moved = dataclasses.replace(DIRECTORY, addresses=(("192.0.2.1:7443", 443), ("192.0.2.2:7443", 8443)))
    offer = sent(script.feed(DirectoryChanged(moved)), "offer")
    assert (list(offer.addresses), list(offer.tcp_ports)) == (["192.0.2.1:7443", "192.0.2.2:7443"], [443, 8443])
    assert [tunnel.uid for tunnel in offer.tunnels] == [SHOP.uid]
    assert script.feed(DirectoryChanged(moved)) == ()


def test_a_tunnel_is_served_here_while_any_agent_has_registered_it() -> None:
    script = Script()
    script.admit(1)
    script.admit(2, dataclasses.replace(WHO, agent_id="agent-2"))
    assert sessions.serving(script.state) == frozenset()
    script.register(SHOP.uid, link=1)
    script.register(SHOP.uid, link=2)
    assert sessions.serving(script.state) == {SHOP.uid}
    script.feed(LinkClosed(1))
    assert sessions.serving(script.state) == {SHOP.uid}
    script.feed(DirectoryChanged(dataclasses.replace(DIRECTORY, offers={})))
    assert sessions.serving(script.state) == frozenset()
