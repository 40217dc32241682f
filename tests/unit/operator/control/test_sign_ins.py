"""Sign-ins that ended early: what one exit node says, all get."""

import pytest

from hawse_operator.control import sign_ins

NOW = 1_000_000


def test_what_is_new_is_added_and_what_is_known_is_no_news() -> None:
    known: dict[str, int] = {}
    assert sign_ins.merge(known, {"a": NOW - 5, "b": NOW}, now=NOW)
    assert not sign_ins.merge(known, {"a": NOW - 9}, now=NOW)
    assert not sign_ins.merge(known, {}, now=NOW)
    assert sign_ins.merge(known, {"a": NOW}, now=NOW)
    assert known == {"a": NOW, "b": NOW}


@pytest.mark.parametrize("said", [{"": NOW}, {"x" * 65: NOW}, {"a": NOW + 301}, {"a": NOW - 86_401}, {"a": -1}])
def test_what_makes_no_sense_is_not_taken(said: dict[str, int]) -> None:
    known: dict[str, int] = {}
    assert not sign_ins.merge(known, said, now=NOW)
    assert known == {}


def test_what_no_cookie_outlives_is_forgotten_and_the_rest_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_ins, "MAX_ENDED", 2)
    known = {"old": NOW - 86_401, "a": NOW - 3}
    assert sign_ins.merge(known, {"b": NOW - 2, "c": NOW - 1}, now=NOW)
    assert known == {"b": NOW - 2, "c": NOW - 1}
