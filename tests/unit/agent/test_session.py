"""Sessions as event scripts: what happens in, what is done out."""

from hypothesis import given
from hypothesis import strategies as st

from hawse_agent import backoff, moves, notices, session
from hawse_agent.choice import Route, Wanted
from hawse_agent.credentials import MAX_ADDRESSES
from hawse_agent.endings import Failure
from hawse_agent.session_state import Phase
from support.agent_script import API, APP, REFUSED, SHOP, SHOP_AGAIN, A, B, Script, ending, told


def test_every_known_exit_node_is_dialled_at_once() -> None:
    assert Script(A, B).commands == [moves.Dial(A), moves.Dial(B)]


def test_an_address_that_is_named_twice_is_dialled_once() -> None:
    assert Script(A, A).commands == [moves.Dial(A)]


def test_a_link_is_greeted_with_its_slot_and_an_epoch_of_the_clock() -> None:
    script = Script()
    assert script.send(moves.Dialled(A, 1)) == [moves.Greet(1, A, 1_000_000)]


def test_an_epoch_grows_even_if_the_clock_went_back() -> None:
    script = Script(A, B)
    script.send(moves.Dialled(A, 1))
    script.unix_ms = 5
    assert script.send(moves.Dialled(B, 2)) == [moves.Greet(2, B, 1_000_001)]


def test_a_slot_is_never_longer_than_a_node_allows() -> None:
    address = "a" * 200 + ".example:7443"
    script = Script(address)
    (greet,) = script.send(moves.Dialled(address, 1))
    assert isinstance(greet, moves.Greet)
    assert len(greet.slot) == 64


def test_two_agents_of_one_login_have_different_slots() -> None:
    now = moves.Moment(0, 1, 0)
    state = session.begin(Wanted((("shop", APP),)), (A,), now, slot="shop", token="t", epoch=0, patience_s=15)
    state, _ = session.step(state, moves.Tick(), now)
    _, commands = session.step(state, moves.Dialled(A, 1), now)
    assert commands == [moves.Greet(1, f"{A}/shop", 1)]


def test_the_only_tunnel_is_attached_registered_and_told_once_the_node_confirms() -> None:
    script = Script()
    link = script.connect()
    route = Route(SHOP, APP)
    assert script.send(moves.OfferChanged(link, (SHOP,))) == [moves.Serve(link, (route,))]
    served = script.send(moves.RegistrationChanged(link, frozenset({"u1"})))
    assert served == [moves.Tell(notices.Serving((route,), ()))]


def test_the_second_exit_node_registers_without_telling_again() -> None:
    script = Script(A, B)
    script.serve(A)
    link = script.connect(B)
    commands = script.send(moves.OfferChanged(link, (SHOP,)), moves.RegistrationChanged(link, frozenset({"u1"})))
    assert commands == [moves.Serve(link, (Route(SHOP, APP),))]


def test_an_exit_node_that_is_new_to_it_is_kept_and_dialled_and_none_is_left() -> None:
    script = Script(A)
    link = script.serve(A)
    told_of = moves.OfferChanged(link, (SHOP,), (B, B, A), (8443, 8443, 443))
    assert script.send(told_of) == [moves.RememberAddresses((B,), (8443,)), moves.Dial(B)]
    assert script.send(moves.OfferChanged(link, (SHOP,), (B,), (8443,))) == []
    assert script.phase(A) is Phase.UP


def test_so_many_exit_nodes_are_dialled_and_no_more() -> None:
    script = Script(A)
    link = script.serve(A)
    many = tuple(f"192.0.2.{number}:7443" for number in range(1, 100))
    script.send(moves.OfferChanged(link, (SHOP,), many, (443,) * len(many)))
    assert len(script.state.nodes) == MAX_ADDRESSES


def test_without_a_tunnel_it_says_so_once_and_waits() -> None:
    script = Script(A, B)
    links = [script.connect(A), script.connect(B)]
    commands = script.send(*(moves.OfferChanged(link, ()) for link in links))
    assert told(commands, notices.Waiting) == [notices.Waiting((), (), (), "team-a/laptop")]
    assert ending(commands) is None


def test_a_deleted_tunnel_is_told_and_served_again_when_applied_again() -> None:
    script = Script()
    link = script.serve()
    gone = script.send(moves.OfferChanged(link, ()), moves.RegistrationChanged(link, frozenset()))
    assert told(gone, notices.Waiting) == [notices.Waiting((), (), ("shop",), "team-a/laptop")]
    assert moves.Serve(link, ()) in gone
    back = script.send(moves.OfferChanged(link, (SHOP_AGAIN,)), moves.RegistrationChanged(link, frozenset({"u9"})))
    assert back == [
        moves.Serve(link, (Route(SHOP_AGAIN, APP),)),
        moves.Tell(notices.Serving((Route(SHOP_AGAIN, APP),), ())),
    ]


def test_several_tunnels_end_it_with_the_list() -> None:
    script = Script()
    link = script.connect()
    commands = script.send(moves.OfferChanged(link, (SHOP, API)))
    assert ending(commands) == ("HAWSE-2005", 2)
    assert "api, shop" in next(one.ending.message for one in commands if isinstance(one, moves.Finish))


def test_a_second_tunnel_that_appears_later_changes_nothing() -> None:
    script = Script()
    link = script.serve()
    assert script.send(moves.OfferChanged(link, (SHOP, API))) == []


def test_a_named_tunnel_that_is_not_offered_ends_it_with_those_that_are() -> None:
    script = Script(wanted=Wanted((("blog", APP),)))
    link = script.connect()
    assert ending(script.send(moves.OfferChanged(link, (SHOP,)))) == ("HAWSE-2004", 2)


def test_a_drain_is_told_addresses_are_asked_for_and_the_link_stays_until_its_deadline() -> None:
    script = Script()
    link = script.serve()
    commands = script.send(moves.DrainStarted(link, 30, "rolling update"))
    assert commands == [moves.Tell(notices.Draining("eu-west-1", "rolling update", 30)), moves.LearnAddresses()]
    assert not any(isinstance(one, moves.Close) for one in script.send(moves.Tick(), after=31))
    assert moves.Close(link, "", "drained") in script.send(moves.Tick(), after=2)


def test_a_drained_node_is_dialled_again_after_it_closed() -> None:
    script = Script()
    link = script.serve()
    script.send(moves.DrainStarted(link, 30, ""), moves.LinkLost(link, Failure("stopping", "HAWSE-2015")))
    assert moves.Dial(A) in script.send(moves.Tick(), after=1)


def test_a_node_that_stopped_in_order_is_not_waited_for_with_long_pauses_for_a_minute() -> None:
    script = Script()
    script.luck = 0.999
    link = script.serve()
    script.send(moves.DrainStarted(link, 5, ""), moves.LinkLost(link, Failure("stopping", "HAWSE-2015")))
    drained, pauses = script.at, []
    while script.at < drained + session.RETURN_S + 60:
        script.send(moves.Tick(), after=script.state.nodes[0].retry_at - script.at)
        script.send(moves.NotDialled(A, REFUSED))
        pauses.append((script.at - drained, script.state.nodes[0].retry_at - script.at))
    assert max(pause for since, pause in pauses if since < session.RETURN_S) <= 1
    assert max(pause for since, pause in pauses if since > session.RETURN_S) > 10


def test_a_node_that_says_nothing_after_hello_is_left() -> None:
    script = Script()
    script.send(moves.Dialled(A, 1))
    assert moves.Close(1, "", "no Welcome") in script.send(moves.Tick(), after=session.GREETING_S)
    assert script.phase() is Phase.WAITING


def test_new_addresses_are_dialled_and_old_ones_left_when_their_link_ends() -> None:
    script = Script(A)
    link = script.serve(A)
    assert moves.Dial(B) in script.send(moves.AddressesChanged((B,)))
    assert script.phase(A) is Phase.UP
    script.send(moves.LinkLost(link, Failure("gone")))
    assert [node.address for node in script.state.nodes] == [B]


def test_events_of_links_that_are_gone_change_nothing() -> None:
    script = Script()
    before = script.state
    assert script.send(moves.OfferChanged(77, (SHOP,)), moves.LinkLost(77, REFUSED)) == []
    assert script.state == before


def test_a_link_nobody_waits_for_is_closed() -> None:
    script = Script()
    script.connect()
    assert script.send(moves.Dialled(A, 50)) == [moves.Close(50, "", "not needed any more")]


def test_the_next_wake_is_the_end_of_the_patience_while_dialling() -> None:
    assert session.next_wake(Script().state) == 115.0


_EVENTS = st.one_of(
    st.builds(moves.Tick),
    st.builds(moves.Dialled, st.sampled_from([A, B]), st.integers(1, 4)),
    st.builds(moves.NotDialled, st.sampled_from([A, B]), st.just(REFUSED)),
    st.builds(moves.Welcomed, st.integers(1, 4), st.just("n"), st.just("r"), st.just("1")),
    st.builds(moves.OfferChanged, st.integers(1, 4), st.sampled_from([(), (SHOP,), (SHOP_AGAIN,)])),
    st.builds(moves.RegistrationChanged, st.integers(1, 4), st.sampled_from([frozenset(), frozenset({"u1"})])),
    st.builds(moves.DrainStarted, st.integers(1, 4), st.just(5.0), st.just("")),
    st.builds(moves.LinkLost, st.integers(1, 4), st.just(REFUSED)),
    st.builds(moves.AddressesChanged, st.sampled_from([(A,), (B,), (A, B)])),
)


@given(st.lists(st.tuples(_EVENTS, st.floats(0, 20)), max_size=40))
def test_whatever_happens_every_node_has_a_way_on(script: list[tuple[moves.Event, float]]) -> None:
    run = Script(A, B)
    dialling = {A, B}
    epochs: list[int] = []
    for event, after in script:
        if isinstance(event, moves.Dialled | moves.NotDialled):
            dialling.discard(event.address)
        commands = run.send(event, after=after)
        dialling |= {one.address for one in commands if isinstance(one, moves.Dial)}
        epochs += [one.epoch for one in commands if isinstance(one, moves.Greet)]
        for node in run.state.nodes:
            assert node.phase is not Phase.WAITING or node.retry_at > run.at
            assert node.phase is not Phase.DIALLING or node.link == 0
    assert epochs == sorted(set(epochs))


def test_a_node_that_was_started_again_is_dialled_without_a_long_pause() -> None:
    script = Script()
    for link in range(1, 8):  # it fails again and again: pauses have grown
        script.send(moves.Dialled(A, link), moves.Welcomed(link, "eu-west-1", "eu-west", "0.1.0"))
        script.send(moves.LinkLost(link, REFUSED), after=1)
        script.send(moves.Tick(), after=15)
    script.send(moves.Dialled(A, 8), moves.Welcomed(8, "eu-west-1", "eu-west", "0.1.0"))
    script.send(moves.LinkLost(8, Failure("it was started again", back=True)))
    (node,) = script.state.nodes
    assert node.retry_at - script.at <= backoff.BASE_S
