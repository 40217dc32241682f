"""Limits of attempts: bursts, rates, and bounded memory."""

import pytest

from hawse_operator.control.attempts import AttemptLimits, Attempts, Limit, address_key

WIDE = Limit(burst=1000, per_minute=1000)


def limits(**changes: Limit | int) -> AttemptLimits:
    return AttemptLimits(**({"address": WIDE, "token": WIDE, "total": WIDE} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["address", "token", "total"])
def test_a_burst_is_allowed_and_then_the_rate(what: str) -> None:
    attempts = Attempts(limits(**{what: Limit(burst=3, per_minute=6)}))
    assert [attempts.allow("192.0.2.1:1", "t", 100.0) for _ in range(3)] == [0, 0, 0]
    assert attempts.allow("192.0.2.1:2", "t", 100.0) == pytest.approx(10.0)
    assert attempts.allow("192.0.2.1:3", "t", 109.9) > 0
    assert attempts.allow("192.0.2.1:4", "t", 110.0) == 0


def test_a_refused_attempt_costs_nothing() -> None:
    attempts = Attempts(limits(address=Limit(burst=1, per_minute=60)))
    attempts.allow("192.0.2.1:1", "t", 0.0)
    for _ in range(100):
        assert attempts.allow("192.0.2.1:1", "t", 0.5) > 0
    assert attempts.allow("192.0.2.1:1", "t", 1.0) == 0


def test_one_address_does_not_use_up_anothers_attempts() -> None:
    attempts = Attempts(limits(address=Limit(burst=1, per_minute=1)))
    assert attempts.allow("192.0.2.1:1", "t", 0.0) == 0
    assert attempts.allow("192.0.2.2:1", "t", 0.0) == 0


def test_memory_is_bounded_by_forgetting_the_longest_unused() -> None:
    attempts = Attempts(limits(address=Limit(burst=1, per_minute=1), max_keys=10))
    for number in range(1000):
        attempts.allow(f"10.0.{number // 250}.{number % 250}:1", f"t{number}", 0.0)
    assert len(attempts) <= 21
    assert attempts.allow("10.0.3.249:1", "new", 0.0) > 0, "the newest is remembered"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("192.0.2.1:4000", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]:4000", "2001:db8::/64"),
        ("2001:db8::2", "2001:db8::/64"),
        ("[::ffff:192.0.2.1]:4000", "192.0.2.1"),
        ("", "unreadable"),
        ("x" * 1000, "unreadable"),
    ],
)
def test_an_address_is_an_ipv4_address_or_a_64(text: str, key: str) -> None:
    assert address_key(text) == key
