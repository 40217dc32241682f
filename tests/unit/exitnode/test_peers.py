"""Whom an exit node dials, whom it lets in, and what it tells and believes, as event scripts."""

import dataclasses
from typing import Any

import pytest

from hawse_api.ir import frames_pb2
from hawse_exitnode import peers
from hawse_exitnode.peer_state import MAX_ANNOUNCED, DialFailed, Limits, Note, Phase, Reach, SelfNamed, Send
from support.peer_script import FAR, NEAR, NODE, SELF, Script, kind_of, peer


def refusal(script: Script) -> frames_pb2.Refused:
    (found,) = [c.frame.refused for c in script.out if isinstance(c, Send) and c.frame.WhichOneof("frame") == "refused"]
    return found


# --- dialling --------------------------------------------------------------------------------------------------------
def test_everybody_on_the_list_is_dialled_but_oneself_the_own_region_first() -> None:
    assert Script(FAR, SELF, NEAR).kinds() == ["dial near", "dial far"]


def test_nobody_is_dialled_before_it_is_known_who_we_are() -> None:
    script = Script(FAR, node=dataclasses.replace(NODE, exit_node=""))
    assert script.out == ()
    script.feed(SelfNamed(NODE))
    assert script.kinds() == ["dial far"]


def test_no_more_than_the_limit_is_dialled_and_all_are_let_in() -> None:
    many = [peer(f"p{number}") for number in range(5)]
    script = Script(NEAR, *many, limits=Limits(dials=3))
    assert script.kinds() == ["dial near", "dial p0", "dial p1"]
    script.accept(9, many[4].spiffe_id)
    script.hello(9)
    assert script.kinds() == ["9:admit", "9:peer_welcome", "9:announce reset"]


def test_a_peer_is_reached_once_it_has_welcomed_us() -> None:
    script = Script(FAR, NEAR)
    script.dialled()
    assert script.kinds() == ["1:peer_hello"]
    assert peers.reached(script.state) == {"eu-west": (0, 1), "us-east": (0, 1)}
    script.say(peer_welcome=frames_pb2.PeerWelcome(version=1))
    assert script.kinds() == ["peer reached"]
    assert peers.reached(script.state) == {"eu-west": (0, 1), "us-east": (1, 1)}


def test_another_exit_node_at_the_address_is_left_at_once() -> None:
    script = Script(FAR, NEAR)
    script.dialled(who=NEAR.spiffe_id)
    assert script.kinds() == ["1:close 2011"], "it is listed too, and still not whom we dialled"
    assert script.state.dials[FAR.spiffe_id].failures == 1


def test_what_fails_is_tried_again_with_growing_pauses_of_at_most_15_s() -> None:
    script = Script(FAR)
    script.luck, pauses = 1.0, []
    for _ in range(8):
        script.feed(DialFailed(script.attempt(), "nobody answers"))
        due = script.state.dials[FAR.spiffe_id].due
        assert due is not None
        pauses.append(due - script.at)
        assert script.wait(pauses[-1] - 0.01) == ()
        script.wait(0.02)
        assert script.kinds() == ["dial far"]
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 15, 15, 15])


def test_a_peer_that_has_dialled_us_is_dialled_without_waiting_for_the_pause_to_end() -> None:
    script = Script(FAR, NEAR)
    script.luck = 1.0
    for _ in range(6):
        script.wait(15)
        for whom in (FAR, NEAR):
            script.feed(DialFailed(script.attempt(whom), "nobody answers"))
    assert script.wait(1) == ()
    script.accept(1)
    script.hello(1)
    script.wait(0.5)
    assert script.kinds() == ["dial far"]
    script.accept(2)
    script.hello(2)
    assert script.wait(0.5) == (), "a dial is under way"


def test_a_peer_that_stays_away_is_told_of_once_until_it_was_reached_for_a_while() -> None:
    script = Script(FAR)

    def fail(times: int) -> list[str]:
        told = []
        for _ in range(times):
            script.feed(DialFailed(script.attempt(), "nobody answers"))
            told += script.kinds()
            script.wait(20)
        return told

    assert fail(10) == ["peer is out of reach"]
    script.reach()
    script.at += peers.STEADY_S
    script.close()
    assert script.kinds() == ["peer lost"]
    script.wait(20)
    assert fail(10) == ["peer is out of reach"]


def test_links_that_do_not_last_make_the_pauses_grow() -> None:
    script = Script(FAR)
    script.luck = 1.0
    for _ in range(6):
        script.reach()
        script.close()
        due = script.state.dials[FAR.spiffe_id].due
        assert due is not None
        pause = due - script.at
        script.wait(pause)
    assert pause == 15.0


def test_a_refusal_is_waited_out_and_its_words_are_kept() -> None:
    script = Script(FAR)
    script.reach()
    script.hear("u1")
    script.say(refused=frames_pb2.Refused(code="HAWSE-2016", message="Nobody of that name."))
    assert script.kinds() == ["1:reach 1 -u1"]
    script.close(why="closed by the peer")
    (note,) = [c for c in script.out if isinstance(c, Note)]
    assert note.extra["why"] == "refused: Nobody of that name. (HAWSE-2016)"


def test_without_a_welcome_the_link_is_given_up() -> None:
    script = Script(FAR)
    script.dialled()
    assert script.wait(4.9) == ()
    script.wait(0.2)
    assert script.kinds() == ["1:close 2009"]
    script.close()
    assert script.state.dials[FAR.spiffe_id].due is not None


def test_a_version_that_was_not_offered_is_no_welcome() -> None:
    script = Script(FAR)
    script.dialled()
    script.say(peer_welcome=frames_pb2.PeerWelcome(version=2))
    assert script.kinds() == ["1:close 2009"]


# --- the list --------------------------------------------------------------------------------------------------------
def test_the_same_list_changes_nothing() -> None:
    script = Script(FAR)
    before = script.state
    assert script.relist(FAR) == ()
    assert script.state is before


def test_who_is_taken_off_the_list_loses_both_links() -> None:
    script = Script(FAR, NEAR)
    script.reach(1)
    script.hear("u1")
    script.accept(2)
    script.hello(2)
    script.relist(NEAR)
    assert script.kinds() == ["1:reach 1 -u1", "1:close 2016", "2:refused", "2:close 2016"]
    assert not refusal(script).final
    assert script.close(1) != ()
    script.close(2)
    assert script.wait(60) == (), "it is not dialled again"
    assert peers.reached(script.state) == {"eu-west": (0, 1)}


def test_who_moves_is_dialled_at_the_new_address() -> None:
    script = Script(FAR)
    script.reach()
    script.relist(dataclasses.replace(FAR, address="10.9.9.9:7443"))
    assert script.kinds() == ["1:close 2016", "dial far"]
    script.dialled(2)
    script.close(1)
    assert script.state.dials[FAR.spiffe_id].link == 2, "the end of the old link is not the new one's"


def test_a_dial_that_is_not_wanted_any_more_is_closed() -> None:
    script = Script(FAR)
    attempt = script.attempt()
    script.relist()
    script.feed(peers.LinkDialled(attempt, 1, FAR.spiffe_id))
    assert script.kinds() == ["1:close 0"]
    assert script.feed(DialFailed(attempt, "late")) == ()


# --- accepting -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "who",
    [
        pytest.param(peer("stranger").spiffe_id, id="an exit node that is not listed"),
        pytest.param(SELF.spiffe_id, id="somebody in our own name"),
        pytest.param("", id="no exit node"),
    ],
)
def test_a_stranger_is_refused_before_a_word_and_may_come_again(who: str) -> None:
    script = Script(FAR, SELF, dataclasses.replace(NEAR, spiffe_id=""))
    script.accept(who=who)
    assert script.kinds() == ["1:refused", "1:close 2016", "peer refused"]
    assert not refusal(script).final
    assert script.hello() == ()
    assert script.state.links == {}


def test_strangers_do_not_fill_the_log() -> None:
    script = Script(FAR)
    told = [kind_of(c) for link in range(30) for c in script.accept(link, "")].count("peer refused")
    script.at += 10
    script.accept(99, "")
    assert (told, script.kinds()[-1]) == (1, "peer refused")


def test_a_peer_is_admitted_by_its_hello_alone() -> None:
    script = Script(FAR)
    script.serve("u1")
    assert script.accept() == ()
    script.hello()
    assert script.kinds() == ["1:admit", "1:peer_welcome", "1:announce reset +u1"]
    (welcome,) = [c.frame.peer_welcome for c in script.out if isinstance(c, Send)][:1]
    assert (welcome.version, welcome.node_version, welcome.region, welcome.pod) == (1, "0.1.0", "eu-west", "me")


@pytest.mark.parametrize(("low", "high"), [(2, 3), (0, 0), (5, 1)])
def test_no_common_version_is_said_and_tried_again(low: int, high: int) -> None:
    script = Script(FAR)
    script.accept()
    script.hello(low=low, high=high)
    assert script.kinds() == ["1:refused", "1:close 2002"]
    assert (refusal(script).code, refusal(script).final) == ("HAWSE-2002", False)
    assert f"{low} to {high}" in refusal(script).message


def test_without_a_hello_the_link_is_closed() -> None:
    script = Script(FAR)
    script.accept()
    script.wait(5.1)
    assert script.kinds() == ["1:refused", "1:close 2009"]
    script.wait(5.1)
    assert script.kinds() == ["1:close 0"], "it did not go by itself"


def test_a_newer_link_of_the_same_peer_takes_the_place_of_the_older() -> None:
    script = Script(FAR)
    script.accept(1)
    script.hello(1)
    assert script.accept(2) == (), "it may be one that nobody wants any more: it has said nothing yet"
    script.accept(3)
    assert script.kinds() == ["2:close 2007"]
    script.hello(3)
    assert script.kinds() == ["1:close 2007", "3:admit", "3:peer_welcome", "3:announce reset"]
    script.serve("u1")
    assert script.kinds() == ["3:announce +u1"]


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param({"announce": frames_pb2.Announce(add=["u1"])}, id="an announcement of the side that dialled"),
        pytest.param({"peer_hello": frames_pb2.PeerHello()}, id="a second hello"),
        pytest.param({"hello": frames_pb2.Hello()}, id="an agent's"),
        pytest.param({}, id="none at all"),
    ],
)
def test_a_frame_out_of_turn_ends_an_accepted_link(frame: dict[str, Any]) -> None:
    script = Script(FAR)
    script.accept()
    script.hello()
    script.say(**frame)
    assert script.kinds() == ["1:refused", "1:close 2009"]
    assert script.say(**frame) == (), "it is not listened to any more"


# --- announcements ---------------------------------------------------------------------------------------------------
def test_changes_are_told_to_all_that_are_admitted_and_to_nobody_else() -> None:
    script = Script(FAR, NEAR)
    script.reach(1, FAR)
    script.accept(2)
    script.hello(2)
    script.accept(3, NEAR.spiffe_id)
    script.serve("u1", "u2")
    assert script.kinds() == ["2:announce +u1 +u2"]
    script.serve("u2", "u3")
    assert script.kinds() == ["2:announce +u3 -u1"]
    assert script.serve("u2", "u3") == ()
    script.hello(3)
    assert script.kinds()[-1] == "3:announce reset +u2 +u3"


def test_what_peers_announce_is_never_told_on() -> None:
    script = Script(FAR, NEAR)
    script.reach(1, FAR)
    script.hear("u1")
    script.accept(2, NEAR.spiffe_id)
    script.hello(2)
    assert script.kinds()[-1] == "2:announce reset"


def test_many_tunnels_are_told_in_frames_of_a_thousand() -> None:
    script = Script(FAR)
    script.serve(*(f"{number:05}" for number in range(2500)))
    script.accept()
    script.hello()
    frames = [c.frame for c in script.out if isinstance(c, Send)][1:]
    assert [(f.announce.reset, len(f.announce.add)) for f in frames] == [(True, 1000), (False, 1000), (False, 500)]
    assert all(f.ByteSize() < 64 * 1024 for f in frames)
    script.serve()
    frames = [c.frame for c in script.out if isinstance(c, Send)]
    assert [len(f.announce.remove) for f in frames] == [1000, 1000, 500]


def test_a_peer_reaches_what_it_announces_nearer_ones_first() -> None:
    script = Script(FAR, NEAR)
    script.reach(1, FAR)
    script.reach(2, NEAR)
    script.hear("u1", "u2", link=1)
    assert script.kinds() == ["1:reach 1 +u1 +u2"]
    script.hear("u1", link=2)
    assert script.kinds() == ["2:reach 0 +u1"]
    script.hear("u3", "u2", remove=("u1", "never"), link=1)
    assert script.kinds() == ["1:reach 1 +u3 -u1"]
    script.hear("u3", "u4", reset=True, link=1)
    assert script.kinds() == ["1:reach 1 +u4 -u2"]
    assert script.hear("u4", link=1) == ()


@pytest.mark.parametrize(
    ("add", "remove"),
    [
        pytest.param([f"u{number}" for number in range(1001)], [], id="too many"),
        pytest.param([f"u{number}" for number in range(999)], ["a", "b"], id="too many in both"),
        pytest.param(["u" * 65], [], id="a uid too long"),
    ],
)
def test_an_announcement_out_of_bounds_ends_the_link(add: list[str], remove: list[str]) -> None:
    script = Script(FAR)
    script.reach()
    script.hear(*add, remove=tuple(remove))
    assert script.kinds() == ["1:close 2009"]


def test_no_more_is_told_or_believed_than_the_limit_and_what_was_there_stays() -> None:
    script = Script(FAR)
    script.reach()
    for start in range(0, MAX_ANNOUNCED + 3000, 1000):
        script.at += 1
        script.hear(*(f"{number:06}" for number in range(start, start + 1000)))
    heard = script.state.links[1].heard
    assert len(heard) == MAX_ANNOUNCED
    assert "000000" in heard
    script.serve(*(f"{number:06}" for number in range(1, MAX_ANNOUNCED + 1)))
    script.serve(*(f"{number:06}" for number in range(MAX_ANNOUNCED + 1)))
    assert "000000" not in script.state.announced


def test_a_storm_of_agents_trips_nothing_and_a_storm_of_frames_does() -> None:
    script = Script(FAR)
    script.reach()
    for number in range(600):  # a minute of ten changes a second
        script.at += 0.1
        script.hear(f"u{number}")
    assert script.state.links[1].phase is Phase.REACHED
    sent, script.at = 0, script.at + 60.0
    while script.state.links[1].phase is Phase.REACHED:
        script.hear(f"v{sent}")
        sent += 1
    assert sent == Limits().frames_burst + 1
    assert script.kinds()[-1] == "1:close 2009"


def test_what_a_closing_link_reached_is_forgotten_at_once() -> None:
    script = Script(FAR)
    script.reach()
    script.hear("u1")
    script.say(peer_hello=frames_pb2.PeerHello())
    assert script.out[0] == Reach(1, 1, (), ("u1",))


def test_events_of_unknown_links_change_nothing() -> None:
    script = Script(FAR)
    before = script.state
    assert (script.hello(7), script.close(7), script.state) == ((), (), before)
