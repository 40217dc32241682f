"""Durations, sizes, lists."""

import pytest

from hawse_agent import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (45, "45 s"), (60, "1 min"), (90, "1 min 30 s"), (11520, "3 h 12 min"), (-11520, "3 h 12 min"),
        (7201, "2 h"), (187200, "2 d 4 h"), (86400 * 3, "3 d"), (86460, "1 d 1 min"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (20_000_000, "20 MB"), (10**13, "10 TB"), (999_600, "1.0 MB")],
)
def test_a_size_is_told_with_two_digits(count: int, text: str) -> None:
    assert words.size(count) == text


def test_a_long_list_is_cut_with_the_number_of_the_rest() -> None:
    assert words.listing(["a", "b", "c"], most=2) == "a, b and 1 more"
    assert words.listing([]) == "none"


def test_foreign_text_is_one_printable_line() -> None:
    assert words.printable("a\n\tb\x1b[0m") == "a b?[0m"
    assert len(words.printable("x" * 1000)) == 300
