"""Our cookies: found among others, cut and put together."""

import pytest

from hawse_identity import cookies


def test_only_ours_are_read_and_the_first_counts() -> None:
    fields = ["a=1; __Host-hawse=v1.x.y; __Host-hawse=second", "__Host-hawse-refresh-0=r;__Host-hawse-evil=1", "b"]
    assert cookies.read(fields) == {"__Host-hawse": "v1.x.y", "__Host-hawse-refresh-0": "r"}


@pytest.mark.parametrize("length", [0, 1, 3499, 3500, 3501, 7000, 14_000])
def test_a_long_cookie_is_the_same_after_its_chunks(length: int) -> None:
    value = "".join(chr(97 + number % 26) for number in range(length))
    fields = cookies.write_refresh(value, {}, max_age_s=60)
    assert all(len(field) <= 4096 for field in fields)
    kept = dict(field.partition(";")[0].split("=", 1) for field in fields)
    assert cookies.read_refresh(kept) == value
    assert cookies.fits(value)


def test_what_is_left_of_a_longer_one_is_cleared() -> None:
    sent = {f"{cookies.REFRESH}-{number}": "x" for number in range(3)} | {cookies.SESSION: "s"}
    fields = cookies.write_refresh("y" * 10, sent, max_age_s=60)
    assert [field.partition("=")[0] for field in fields] == [f"{cookies.REFRESH}-{number}" for number in range(3)]
    assert ["Max-Age=0" in field for field in fields] == [False, True, True]


def test_past_its_bound_it_does_not_fit() -> None:
    assert not cookies.fits("x" * 14_001)


def test_signing_out_clears_all_that_were_sent() -> None:
    sent = {cookies.SESSION: "s", f"{cookies.REFRESH}-0": "r", f"{cookies.FLOW}abc": "f"}
    fields = cookies.clear_all(sent)
    assert {field.partition("=")[0] for field in fields} == set(sent)
    assert all("Max-Age=0; Secure; HttpOnly; SameSite=Lax" in field for field in fields)
