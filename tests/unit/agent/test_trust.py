"""A wrong clock is told as a wrong clock."""

import pytest

from hawse_agent import trust

LEAD = "the exit node at 203.0.113.7:7443 could not prove that it is connect.example: "


@pytest.mark.parametrize(
    ("message", "code", "expected"),
    [
        (
            f"{LEAD}certificate not valid yet: verification time 1 (UNIX), but certificate is not valid before 2 "
            "(11520 seconds in future)",
            "HAWSE-2011",
            ("your clock is at least 3 h 12 min behind the exit node. Set it and try again.", "HAWSE-3007"),
        ),
        (
            f"{LEAD}certificate expired: verification time 3 (UNIX), but certificate is not valid after 2 "
            "(7200 seconds ago)",
            "HAWSE-2011",
            (
                "by your clock the exit node's certificate is over since 2 h. Set the clock if it is ahead; "
                "if it is right, ask the platform team to look at the exit node.",
                "HAWSE-3007",
            ),
        ),
        (f"{LEAD}UnknownIssuer", "HAWSE-2011", (f"{LEAD}UnknownIssuer", "HAWSE-2011")),
        ("timed\nout", "HAWSE-2001", ("timed out", "HAWSE-2001")),
    ],
    ids=["behind", "ahead", "another CA", "no answer"],
)  # fmt: skip
def test_a_failed_dial_is_explained(message: str, code: str, expected: tuple[str, str]) -> None:
    assert trust.explain(message, code) == expected
