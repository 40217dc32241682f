"""Agents of an exit node whose operator has been silent for too long, as event scripts."""

import dataclasses

from hawse_exitnode import sessions
from hawse_exitnode.session_state import ConfigurationAged, DirectoryChanged, LinkClosed, Phase
from support.session_script import BLOG, DIRECTORY, SHOP, WHO, Script

SINCE = "It last heard from its operator on 2026-11-24 at 12:00 UTC."


def test_every_session_is_sent_away_and_told_why_and_that_it_may_come_back() -> None:
    script = Script()
    for link in (1, 2):
        script.admit(link, dataclasses.replace(WHO, agent_id=f"agent-{link}"))
        script.register("uid-shop", link=link)
    script.feed(ConfigurationAged(SINCE))
    assert script.kinds() == [
        "1:refused",
        "1:bind ",
        "1:close 1017",
        "2:refused",
        "2:bind ",
        "2:close 1017",
    ]
    assert sessions.serving(script.state) == frozenset(), "other exit nodes are told that nothing is served here"
    why = script.refusal(2)
    assert (why.code, why.final) == ("HAWSE-1017", False)
    assert SINCE in why.message


def test_a_session_that_leaves_its_place_to_a_newer_one_goes_too() -> None:
    script = Script()
    script.admit(1)
    script.register("uid-shop", link=1)
    script.admit(2, epoch=11)
    script.register("uid-shop", link=2)
    assert script.state.links[1].phase is Phase.YIELDING
    script.feed(ConfigurationAged(SINCE))
    assert [kind for kind in script.kinds() if "close" in kind] == ["1:close 1017", "2:close 1017"]


def test_nobody_is_let_in_until_it_is_fresh_again_and_then_the_same_session_is() -> None:
    script = Script()
    script.open(3)
    script.admit(1)
    script.feed(ConfigurationAged(SINCE))
    script.feed(LinkClosed(1))
    script.admit(1)
    assert script.kinds() == ["1:refused", "1:close 1017"]
    script.hello(3, slot="b")
    assert script.kinds() == ["3:refused", "3:close 1017"], "a link that was opened before"
    script.feed(ConfigurationAged(""))
    assert script.out == ()
    script.admit(2)
    assert script.kinds() == ["2:welcome", "2:offer"]


def test_what_changed_meanwhile_counts_before_the_first_agent_is_back() -> None:
    script = Script()
    script.feed(ConfigurationAged(SINCE))
    script.feed(DirectoryChanged(dataclasses.replace(DIRECTORY, tokens={}, deleted=dict(DIRECTORY.tokens))))
    script.feed(ConfigurationAged(""))
    script.admit(1)
    assert script.refusal().code == "HAWSE-2003"


def test_offers_are_not_sent_to_sessions_that_were_sent_away() -> None:
    script = Script()
    script.admit(1)
    script.feed(ConfigurationAged(SINCE))
    script.feed(DirectoryChanged(dataclasses.replace(DIRECTORY, offers={"token-1": (SHOP, BLOG)})))
    assert script.out == ()
