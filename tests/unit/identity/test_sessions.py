"""The session cookie and what ends it."""

import pytest

from hawse_api.ir import core_pb2
from hawse_identity import memory, sessions

KEYS = sessions.Keys(b"s" * 32, b"e" * 32)
SESSION = core_pb2.Session(
    id="one", subject="ada", signed_in_at=1000, subject_mark="ada's", provider_mark="sid", hostname="h"
)
SIGN_IN = sessions.sign_in_of(SESSION)


def test_the_edge_reads_this_form() -> None:
    """The same bytes as access/sessions.rs verifies: change both or none."""
    value = sessions.encode(core_pb2.Session(id="s1", subject="ada", expires_at=5), KEYS)
    assert value == "v1.CgJzMRIDYWRhOAU.DzEL9j1zBE5mPIsmOTiZZ6BlvIhDlv_ZIv4kGbLyyX4"
    assert sessions.decode(value, KEYS) is not None


@pytest.mark.parametrize("value", ["", ".", "v1.", "v1..", "v1.AA.BB", "ä.ä", "v1.CgJzMQ." + "A" * 43])
def test_what_we_did_not_sign_is_none(value: str) -> None:
    assert sessions.decode(value, KEYS) is None


def test_another_key_or_a_changed_byte_is_none() -> None:
    value = sessions.encode(SESSION, KEYS)
    assert sessions.decode(value, KEYS) == SESSION
    assert sessions.decode(value, sessions.Keys(b"x" * 32, b"e" * 32)) is None
    assert sessions.decode(value.replace("v1.", "v1.A"), KEYS) is None


def test_keys_are_masked_and_of_one_length() -> None:
    assert repr(KEYS) == "Keys(***)"
    assert sessions.split_keys(b"s" * 32 + b"e" * 32) == KEYS
    assert sessions.split_keys(b"short") is None


def test_marks_of_different_parts_differ() -> None:
    marks = {
        sessions.mark("sub", "https://i", "c", "x"),
        sessions.mark("sid", "https://i", "c", "x"),
        sessions.mark("sub", "https://ic", "", "x"),
        sessions.mark("sub", "https://i", "cx", ""),
    }
    assert len(marks) == 4


@pytest.mark.parametrize("mark", ["one", "ada's", "sid"])
def test_a_sign_in_is_over_until_when_it_was_ended(mark: str) -> None:
    assert SIGN_IN.is_over({mark: 1000})
    assert not SIGN_IN.is_over({mark: 999})
    assert not SIGN_IN.is_over({"other": 2000, "": 2000})


def test_what_no_cookie_outlives_is_forgotten_and_nothing_begins_again() -> None:
    ended = memory.Ended()
    ended.add({"a": 10, "b": 90_000}, now=1000)
    ended.add({"b": 5}, now=1000)
    assert ended.until == {"a": 10, "b": 90_000}
    ended.add({}, now=10 + sessions.MAX_SIGN_IN_S + 1)
    assert ended.until == {"b": 90_000}


def test_the_list_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_ENDED", 3)
    ended = memory.Ended()
    ended.add({"a": 4, "b": 1, "c": 3, "d": 2}, now=5)
    assert set(ended.until) == {"a", "c", "d"}


def test_a_text_counts_once_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    used = memory.Used(lifetime_s=10)
    assert used.is_first("x", 0)
    assert not used.is_first("x", 9)
    assert used.is_first("x", 10)
    monkeypatch.setattr(memory, "MAX_USED", 2)
    for text in "abc":
        assert used.is_first(text, 11)
    assert used.is_first("a", 11)  # the oldest went
    assert not used.is_first("c", 11)
