"""Renewal as event scripts."""

import dataclasses
import datetime as dt
import itertools

from cryptography.hazmat.primitives import serialization

from hawse_agent import identity, notices, renewal
from hawse_agent.endings import Failure
from hawse_agent.renewal import AddressesWanted, Answered, Ask, Finish, Refused, State, Tell, Tick
from hawse_agent.trial import fleet, pki
from hawse_api.ir import frames_pb2

NOW = dt.datetime(2026, 11, 24, 7, 0, tzinfo=dt.UTC)
FRESH = State(renew_at=1000.0, expires_at=2000.0)
FLEET = fleet.make_fleet("tunnels.example.com", NOW)
LOGIN = fleet.build_login(FLEET, {"203.0.113.7:7443": 8443}, agent_id="a1")


def test_a_login_is_renewed_at_half_life() -> None:
    state = renewal.begin(LOGIN)
    # The trial's certificates live 25 hours, one of them in the past.
    assert state.renew_at == (NOW + dt.timedelta(hours=11.5)).timestamp()
    assert state.expires_at == (NOW + dt.timedelta(hours=24)).timestamp()


def test_nothing_is_asked_before_half_life() -> None:
    assert renewal.step(FRESH, Tick(), 999, [1]) == (FRESH, [])


def test_the_best_session_is_asked_once() -> None:
    state, commands = renewal.step(FRESH, Tick(), 1000, [7, 8])
    assert commands == [Ask(7)]
    assert renewal.step(state, Tick(), 1001, [7, 8])[1] == []


def test_without_a_session_it_waits() -> None:
    assert renewal.step(FRESH, Tick(), 1500, [])[1] == []


def test_a_session_that_ends_before_the_answer_is_replaced_after_a_while() -> None:
    state, _ = renewal.step(FRESH, Tick(), 1000, [7])
    state, commands = renewal.step(state, Tick(), 1001, [8])
    assert [type(one) for one in commands] == [Tell]
    assert renewal.step(state, Tick(), 1062, [8])[1] == [Ask(8)]


def test_no_answer_in_time_is_told_once_in_a_row() -> None:
    state, _ = renewal.step(FRESH, Tick(), 1000, [7])
    state, first = renewal.step(state, Tick(), 1021, [7])
    state, again = renewal.step(state, Tick(), 1090, [7])
    _, second = renewal.step(state, Tick(), 1111, [7])
    assert [type(one) for one in first] == [Tell]
    assert again == [Ask(7)]
    assert second == []


def test_a_refusal_is_told_with_the_time_that_is_left() -> None:
    state, _ = renewal.step(FRESH, Tick(), 1000, [7])
    _, commands = renewal.step(state, Refused(Failure("away", "HAWSE-3009")), 1005, [7])
    assert commands == [Tell(notices.RenewalFailed("away", "HAWSE-3009", 995))]


def test_little_time_left_makes_it_try_more_often() -> None:
    state = dataclasses.replace(FRESH, asked_link=7, asked_until=1999.0)
    state, _ = renewal.step(state, Refused(Failure("away")), 1950, [])
    assert state.renew_at == 1955


def test_an_answer_starts_the_next_half_life() -> None:
    state, _ = renewal.step(FRESH, Tick(), 1000, [7])
    state, commands = renewal.step(state, Answered(3000, 4000, moved=False), 1001, [7])
    assert commands == []
    assert (state.renew_at, state.expires_at, state.asked_link) == (3000, 4000, 0)


def test_an_expired_certificate_ends_it() -> None:
    _, commands = renewal.step(FRESH, Tick(), 2060, [7])
    (finish,) = commands
    assert isinstance(finish, Finish)
    assert finish.ending.code == "HAWSE-2014"
    assert finish.ending.error.exit_code == 3


def test_addresses_are_asked_for_early_and_spread_by_luck() -> None:
    state, commands = renewal.step(FRESH, AddressesWanted(0.5), 100, [7])
    assert commands == []
    state, commands = renewal.step(state, Tick(), 102.5, [7])
    assert commands == [Ask(7)]


def test_addresses_that_bring_nothing_new_are_asked_for_less_and_less() -> None:
    state, at, asked = FRESH, 100.0, []
    for _ in range(4):
        state, commands = renewal.step(state, AddressesWanted(0), at, [7])
        while not commands:
            at += 1
            state, commands = renewal.step(state, Tick(), at, [7])
        asked.append(at)
        state, _ = renewal.step(state, Answered(9000, 9999, moved=False), at, [7])
    assert [later - earlier for earlier, later in itertools.pairwise(asked)] == [60, 120, 240]
    state, _ = renewal.step(state, Answered(9000, 9999, moved=True), at, [7])
    assert state.learn_wait_s == renewal.LEARN_WAIT_S


def test_a_failure_to_learn_addresses_is_not_worth_a_word() -> None:
    state, _ = renewal.step(FRESH, AddressesWanted(0), 100, [7])
    state, commands = renewal.step(state, Refused(Failure("no operator", "HAWSE-3009", final=True)), 101, [7])
    assert commands == []
    assert state.renew_at == FRESH.renew_at


def respond(key: identity.NewKey, authority: pki.Authority, **changes: object) -> frames_pb2.RenewResponse:
    private = serialization.load_der_private_key(key.private, password=None)
    uri = "spiffe://tunnels.example.com/ns/default/agenttoken/t/agent/a1"
    leaf = authority.issue("a1", now=NOW, uri=uri, key=private)  # type: ignore[arg-type]
    fields: dict[str, object] = {"chain": leaf.chain_der[:1], "addresses": ["203.0.113.9:7443"]}
    return frames_pb2.RenewResponse(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_good_answer_replaces_certificate_key_and_addresses() -> None:
    key = identity.make_key("a1")
    renewed = renewal.accept(LOGIN, key, respond(key, FLEET.authority))
    assert not isinstance(renewed, Failure)
    assert (renewed.key, renewed.addresses) == (key.private, ("203.0.113.9:7443",))
    assert renewed.roots == LOGIN.roots
    assert renewed.agent_id == LOGIN.agent_id


def test_an_answer_for_another_key_is_refused() -> None:
    failure = renewal.accept(LOGIN, identity.make_key("a1"), respond(identity.make_key("a1"), FLEET.authority))
    assert isinstance(failure, Failure)
    assert (failure.code, "another key" in failure.why) == ("HAWSE-2011", True)


def test_an_answer_of_another_ca_is_refused() -> None:
    key = identity.make_key("a1")
    failure = renewal.accept(LOGIN, key, respond(key, FLEET.visitors))
    assert isinstance(failure, Failure)
    assert failure.code == "HAWSE-2011"


def test_the_operators_refusal_is_passed_on() -> None:
    refused = frames_pb2.Refused(code="HAWSE-3003", message="the token was deleted", final=True)
    failure = renewal.accept(LOGIN, identity.make_key("a1"), frames_pb2.RenewResponse(refused=refused))
    assert failure == Failure("the token was deleted", "HAWSE-3003", final=True)
