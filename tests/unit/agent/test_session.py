"""Sessions as event scripts: what happens in, what is done out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawse_agent import backoff, moves, notices, session, upgrades
from hawse_agent.choice import Offered, Route, Wanted
from hawse_agent.credentials import MAX_ADDRESSES
from hawse_agent.endings import Failure
from hawse_agent.moves import Moment
from hawse_agent.racing import Transport
from hawse_agent.session import Phase, State
from hawse_agent.target import Target

A, B = "203.0.113.7:7443", "203.0.113.8:7443"
APP = Target("localhost", 3000)
SHOP = Offered("u1", "team-a", "shop", "https://shop.example/")
SHOP_AGAIN = Offered("u9", "team-a", "shop", "https://shop.example/")
API = Offered("u2", "team-a", "api", "https://api.example/")
REFUSED = Failure("connection refused", "HAWSE-2001")


class Script:
    """Runs events against the table; remembers all commands."""

    def __init__(self, *addresses: str, wanted: Wanted | None = None, unix_ms: int = 1_000_000) -> None:
        self.at, self.unix_ms, self.luck = 100.0, unix_ms, 0.5
        self.commands: list[moves.Command] = []
        self.links = 0
        self.state: State = session.begin(
            wanted or Wanted((("", APP),)), addresses or (A,), self.now, slot="", token="team-a/laptop", epoch=0,
            patience_s=15,
        )  # fmt: skip
        self.send(moves.Tick())

    @property
    def now(self) -> Moment:
        return Moment(self.at, self.unix_ms, self.luck)

    def send(self, *events: moves.Event, after: float = 0.0) -> list[moves.Command]:
        self.at += after
        done: list[moves.Command] = []
        for event in events:
            self.state, commands = session.step(self.state, event, self.now)
            done += commands
        self.commands += done
        return done

    def connect(self, address: str = A, name: str = "eu-west-1") -> int:
        self.links += 1
        link = self.links
        self.send(moves.Dialled(address, link), moves.Welcomed(link, name, "eu-west", "0.1.0"))
        return link

    def serve(self, address: str = A, *offered: Offered) -> int:
        link = self.connect(address)
        self.send(moves.OfferChanged(link, offered or (SHOP,)))
        self.send(moves.RegistrationChanged(link, frozenset(one.uid for one in offered or (SHOP,))))
        return link

    def phase(self, address: str = A) -> Phase:
        return next(node.phase for node in self.state.nodes if node.address == address)


def told(commands: Sequence[moves.Command], kind: type[notices.Notice]) -> list[notices.Notice]:
    return [one.notice for one in commands if isinstance(one, moves.Tell) and isinstance(one.notice, kind)]


def ending(commands: Sequence[moves.Command]) -> tuple[str, int] | None:
    found = [one.ending for one in commands if isinstance(one, moves.Finish)]
    return (found[0].code, found[0].error.exit_code) if found else None


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
    now = Moment(0, 1, 0)
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


def test_a_failed_first_dial_is_repeated_with_growing_jitter() -> None:
    script = Script()
    waits = []
    for _ in range(6):
        before = script.at
        script.send(moves.NotDialled(A, REFUSED))
        wake = next(node.retry_at for node in script.state.nodes)
        waits.append(wake - before)
        script.send(moves.Tick(), after=wake - before)
        if script.phase() is not Phase.DIALLING:
            break
    assert waits == sorted(waits)
    assert waits[0] < 0.5
    assert max(waits) <= 15


def test_no_exit_node_within_the_patience_ends_it_with_every_reason() -> None:
    script = Script(A, B)
    script.send(moves.NotDialled(A, REFUSED))
    assert ending(script.send(moves.Tick(), after=14.9)) is None
    commands = script.send(moves.Tick(), after=0.2)
    assert ending(commands) == ("HAWSE-2001", 4)
    message = next(one.ending.message for one in commands if isinstance(one, moves.Finish))
    assert f"{A}: connection refused" in message
    assert f"{B}: no answer" in message


def test_once_connected_it_never_gives_up() -> None:
    script = Script()
    link = script.serve()
    script.send(moves.LinkLost(link, Failure("gone")))
    for _ in range(200):
        assert ending(script.send(moves.Tick(), moves.NotDialled(A, REFUSED), after=16)) is None


def test_a_lost_session_is_told_with_the_others_that_stay() -> None:
    script = Script(A, B)
    link = script.serve(A)
    script.serve(B)
    commands = script.send(moves.LinkLost(link, Failure("nothing was heard")))
    (lost,) = told(commands, notices.Lost)
    assert isinstance(lost, notices.Lost)
    assert (lost.where, lost.others) == ("eu-west-1", 1)
    assert not told(commands, notices.Waiting)


def test_a_session_that_lived_long_begins_its_back_off_anew() -> None:
    script = Script()
    for _ in range(8):
        script.send(moves.NotDialled(A, REFUSED), moves.Tick(), after=16)
    link = script.connect()
    script.send(moves.LinkLost(link, Failure("gone")), after=60)
    assert script.state.nodes[0].retry_at - script.at < 0.5


def test_a_session_that_dies_at_once_keeps_its_back_off() -> None:
    script = Script()
    script.luck = 0.99
    for _ in range(6):
        link = script.connect()
        script.send(moves.LinkLost(link, Failure("gone")))
        wait = script.state.nodes[0].retry_at - script.at
        script.send(moves.Tick(), after=wait)
    assert wait > 10


@pytest.mark.parametrize(
    ("code", "exit_code"), [("HAWSE-2003", 3), ("HAWSE-2007", 1), ("HAWSE-2014", 3)], ids=lambda value: str(value)
)
def test_a_refusal_of_the_login_ends_it_whichever_node_says_it(code: str, exit_code: int) -> None:
    script = Script(A, B)
    script.serve(A)
    link = script.serve(B)
    commands = script.send(moves.RefusedByNode(link, Failure("The AgentToken was deleted.", code, final=True)))
    assert ending(commands) == (code, exit_code)


def test_a_refusal_that_is_not_final_is_tried_again() -> None:
    script = Script()
    link = script.connect()
    assert ending(script.send(moves.RefusedByNode(link, Failure("not known here yet", "HAWSE-2003")))) is None
    assert moves.Dial(A) in script.send(moves.Tick(), after=1)


def test_an_epoch_that_no_clock_can_have_had_is_not_believed() -> None:
    """The last number of 64 bits could never be topped: this login would be locked out everywhere, for good."""
    script = Script()
    link = script.connect()
    before = script.state.epoch
    script.send(moves.RefusedByNode(link, Failure("A newer session is known.", "HAWSE-2007"), epoch=(1 << 64) - 1))
    assert script.state.epoch == before


def test_a_node_that_knows_a_higher_epoch_gets_one_above_it() -> None:
    script = Script()
    script.send(moves.Dialled(A, 1))
    script.send(moves.RefusedByNode(1, Failure("A newer session is known.", "HAWSE-2007"), epoch=9_000_000))
    script.send(moves.Tick(), after=1)
    assert script.send(moves.Dialled(A, 2)) == [moves.Greet(2, A, 9_000_001)]


def test_a_node_of_another_version_is_set_aside_while_others_serve() -> None:
    script = Script(A, B)
    script.serve(A)
    script.send(moves.Dialled(B, 9))
    commands = script.send(moves.RefusedByNode(9, Failure("Update hawse.", "HAWSE-2002", final=True)))
    assert ending(commands) is None
    assert script.state.nodes[1].retry_at - script.at == session.ASIDE_S


def test_it_ends_when_every_node_is_of_another_version() -> None:
    script = Script(A, B)
    final = Failure("exit node 9.0.0 speaks version 4. Update hawse on this machine.", "HAWSE-2002", final=True)
    assert ending(script.send(moves.NotDialled(A, final))) is None
    assert ending(script.send(moves.NotDialled(B, final))) == ("HAWSE-2002", 1)


def test_an_exit_node_that_cannot_prove_itself_ends_it_at_the_start() -> None:
    script = Script()
    commands = script.send(moves.NotDialled(A, Failure("unknown CA", "HAWSE-2011", final=True)))
    assert ending(commands) == ("HAWSE-2011", 3)


def test_an_exit_node_that_cannot_prove_itself_later_is_tried_again() -> None:
    script = Script()
    link = script.serve()
    script.send(moves.LinkLost(link, Failure("gone")), moves.Tick(), after=20)
    script.send(moves.Tick(), after=20)
    commands = script.send(moves.NotDialled(A, Failure("unknown CA", "HAWSE-2011", final=True)))
    assert ending(commands) is None


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


# --- from TCP to QUIC ------------------------------------------------------------------------------------------------
def over_tcp() -> Script:
    """A session over TCP that serves, at the moment when QUIC is tried again."""
    script = Script()
    script.send(moves.Dialled(A, 1, Transport.TCP), moves.Welcomed(1, "eu-west-1", "eu-west", "0.1.0"))
    script.send(moves.OfferChanged(1, (SHOP,)), moves.RegistrationChanged(1, frozenset({"u1"})))
    assert moves.Dial(A, upgrade=True) not in script.send(moves.Tick(), after=29)
    assert script.send(moves.Tick(), after=upgrades.FIRST_S - 29) == [moves.Dial(A, upgrade=True)]
    return script


def try_quic(script: Script) -> None:
    """The new link is up, and was greeted, welcomed and offered the tunnel."""
    epoch = script.state.epoch
    assert script.send(moves.Dialled(A, 2, Transport.QUIC, upgrade=True)) == [moves.Greet(2, A, epoch + 1)]
    script.send(moves.Welcomed(2, "eu-west-1", "eu-west", "0.1.0"))
    assert script.send(moves.OfferChanged(2, (SHOP,))) == [moves.Serve(2, (Route(SHOP, APP),))]
    assert script.state.nodes[0].link == 1


def test_a_session_over_tcp_moves_to_quic_once_that_serves() -> None:
    script = over_tcp()
    try_quic(script)
    commands = script.send(moves.RegistrationChanged(2, frozenset({"u1"})))
    assert commands == [moves.Tell(notices.Moved("eu-west-1"))]
    assert (script.state.nodes[0].link, script.state.nodes[0].transport) == (2, Transport.QUIC)
    superseded = Failure("Another session took its place.", "HAWSE-2007", final=True)
    assert script.send(moves.RefusedByNode(1, superseded, script.state.epoch), moves.LinkLost(1, superseded)) == []
    assert moves.Dial(A, upgrade=True) not in script.send(moves.Tick(), after=upgrades.MOST_S)


@pytest.mark.parametrize("failure", ["not dialled", "lost", "silent", "refused"])
def test_a_move_that_fails_leaves_the_session_and_doubles_the_pause(failure: str) -> None:
    script = over_tcp()
    if failure != "not dialled":
        script.send(moves.Dialled(A, 2, Transport.QUIC, upgrade=True))
    event, after = {
        "not dialled": (moves.NotDialled(A, REFUSED, upgrade=True), 0.0),
        "lost": (moves.LinkLost(2, REFUSED), 0.0),
        "silent": (moves.Tick(), upgrades.GREETING_S),
        "refused": (moves.RefusedByNode(2, REFUSED), 0.0),
    }[failure]
    script.send(event, after=after)
    node = script.state.nodes[0]
    assert (node.phase, node.link, node.upgrade) == (Phase.UP, 1, None)
    assert node.upgrade_at - script.at == upgrades.pause_s(1, script.luck) == 2 * upgrades.pause_s(0, script.luck)


@pytest.mark.parametrize("superseded", [True, False])
def test_an_old_link_that_ends_first_leaves_the_session_to_the_new_one(superseded: bool) -> None:
    script = over_tcp()
    try_quic(script)
    failure = Failure("gone", "HAWSE-2007", final=True)
    event = moves.RefusedByNode(1, failure, script.state.epoch) if superseded else moves.LinkLost(1, failure)
    assert ending(script.send(event)) is None
    assert (script.state.nodes[0].link, script.state.nodes[0].phase) == (2, Phase.UP)


def test_a_session_that_ends_while_quic_is_dialled_takes_its_trial_along() -> None:
    script = over_tcp()
    script.send(moves.LinkLost(1, REFUSED))
    assert script.state.nodes[0].upgrade is None
    late = script.send(moves.Dialled(A, 2, Transport.QUIC, upgrade=True))
    assert late == [moves.Close(2, "", "not needed any more")]


def test_another_hawse_with_the_login_still_ends_it_during_a_move() -> None:
    script = over_tcp()
    try_quic(script)
    other = Failure("hawse runs twice", "HAWSE-2007", final=True)
    assert ending(script.send(moves.RefusedByNode(1, other, script.state.epoch + 1))) == ("HAWSE-2007", 1)


def test_pauses_between_moves_grow_to_half_an_hour() -> None:
    pauses = [upgrades.pause_s(failed, 0.999999) for failed in range(8)]
    assert [round(one) for one in pauses] == [60, 120, 240, 480, 960, 1800, 1800, 1800]
