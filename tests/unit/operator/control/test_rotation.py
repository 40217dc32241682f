"""A rotation as a script: at each moment everybody's certificate is accepted by everybody who may still hold it."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from hawse_api import spiffe
from hawse_operator.control import ca, rotation
from hawse_operator.control.rotation import Rotation

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
DAY = ca.LEAF_LIFETIME
AGENT = spiffe.AgentId("tunnels.example.com", "team-a", "uid-1", "agent-1")
FIRST = Rotation(ca.new_ca(NOW))
FRESH = ca.new_ca(NOW)


def advance(now_is: Rotation, *, request: str = "", at: datetime = NOW) -> Rotation | None:
    return rotation.advance(now_is, request=request, now=at, make=lambda: FRESH)


def step(now_is: Rotation, at: datetime) -> Rotation:
    found = advance(now_is, request="please", at=at)
    assert found is not None
    return found


def test_nothing_happens_unasked() -> None:
    assert advance(FIRST) is None
    assert advance(FIRST, at=NOW + timedelta(days=3000)) is None


@pytest.mark.parametrize(("request_", "days"), [("please", 0), ("", 3285)], ids=["asked", "its end is near"])
def test_it_begins_by_trusting_another_one(request_: str, days: int) -> None:
    at = NOW + timedelta(days=days)
    trusted = advance(FIRST, request=request_, at=at)
    assert trusted is not None
    assert trusted.authority.certificate == FIRST.authority.certificate, "the first signs"
    assert trusted.authority.roots == (FIRST.authority.certificate, FRESH.certificate)
    assert (trusted.since, trusted.request) == (at, request_)


def test_each_step_lasts_as_long_as_a_certificate_lives_and_the_last_one_ends_it() -> None:
    trusted = step(FIRST, NOW)
    assert advance(trusted, request="please", at=NOW + DAY - timedelta(seconds=1)) is None
    signing = step(trusted, NOW + DAY)
    assert signing.authority.roots == (FRESH.certificate, FIRST.authority.certificate)
    assert signing.authority.key == FRESH.key
    assert signing.next_key is None
    assert advance(signing, request="please", at=NOW + 2 * DAY - timedelta(seconds=1)) is None
    done = step(signing, NOW + 2 * DAY)
    assert (done.authority.roots, done.authority.retired) == ((FRESH.certificate,), (FIRST.authority.certificate,))
    assert done.step_ends is None
    assert advance(done, request="please", at=NOW + 3 * DAY) is None, "the request was taken up"


def test_a_second_request_waits_for_the_end_of_the_first() -> None:
    trusted = step(FIRST, NOW)
    assert advance(trusted, request="again", at=NOW + timedelta(hours=1)) is None
    done = step(step(trusted, NOW + DAY), NOW + 2 * DAY)
    again = advance(done, request="again", at=NOW + 2 * DAY)
    assert again is not None
    assert again.request == "again"


def test_no_certificate_in_use_is_refused_at_any_moment() -> None:
    """Certificates are renewed at half life: who holds one at any hour is trusted, and trusts every signer."""
    now_is, held = FIRST, []
    for hour in range(0, 72):
        at = NOW + timedelta(hours=hour)
        now_is = advance(now_is, request="please", at=at) or now_is
        issued = ca.issue_agent(now_is.authority, ca.new_key().public_key(), AGENT, at)
        held = [(since, leaf, roots) for since, leaf, roots in held if at - since < DAY]
        held.append((at, issued, now_is.authority.roots))
        for _, leaf, roots in held:
            assert ca.is_signed_by_us(now_is.authority, leaf, at)
            assert now_is.authority.certificate in roots, f"hour {hour}: somebody does not know the signer yet"
    assert now_is.authority.roots == (FRESH.certificate,)


STEPS = [FIRST, (trusted := step(FIRST, NOW)), (signing := step(trusted, NOW + DAY)), step(signing, NOW + 2 * DAY)]


@pytest.mark.parametrize("now_is", STEPS, ids=["at rest", "trusted", "signing", "done"])
def test_another_leader_goes_on_from_what_was_written(now_is: Rotation) -> None:
    since = now_is.since.isoformat() if now_is.since else ""
    read = rotation.load(rotation.dump(now_is), since=since, request=now_is.request, lifetime=DAY)
    keys = [ca.key_pem(one.next_key) if one.next_key else b"" for one in (read, now_is)]
    assert keys[0] == keys[1]
    assert ca.key_pem(read.authority.key) == ca.key_pem(now_is.authority.key)
    same = dataclasses.replace(read, next_key=now_is.next_key, authority=now_is.authority)
    assert (read.authority.roots, read.authority.retired) == (now_is.authority.roots, now_is.authority.retired)
    assert same == now_is


@pytest.mark.parametrize("name", [rotation.CRT, rotation.KEY, rotation.NEXT_KEY, rotation.RETIRED])
def test_a_damaged_part_is_told(name: str) -> None:
    data = rotation.dump(STEPS[1]) | {name: b"nonsense"}
    with pytest.raises(ca.AuthorityUnreadableError):
        rotation.load(data, since="", request="", lifetime=DAY)


def test_the_key_of_the_next_one_must_be_another() -> None:
    data = rotation.dump(STEPS[1])
    with pytest.raises(ca.AuthorityUnreadableError, match="signs already"):
        rotation.load(data | {rotation.NEXT_KEY: data[rotation.KEY]}, since="", request="", lifetime=DAY)


def test_without_a_time_what_is_trusted_stays_so() -> None:
    read = rotation.load(rotation.dump(STEPS[2]), since="yesterday", request="please", lifetime=DAY)
    assert advance(read, request="please", at=NOW + 30 * DAY) is None
    assert len(read.authority.roots) == 2


def test_keys_are_not_shown() -> None:
    assert "key" not in repr(STEPS[1]).replace("key hidden", "")
