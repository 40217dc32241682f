"""What the demo prints."""

import io

import pytest

from demo.report import Report, format_table, seconds


@pytest.mark.parametrize(
    ("value", "text"), [(0.0042, "4 ms"), (0.35, "350 ms"), (1.0, "1.0 s"), (9.94, "9.9 s"), (41.4, "41 s")]
)
def test_durations_are_short(value: float, text: str):
    assert seconds(value) == text


def test_a_table_is_as_wide_as_its_widest_cells():
    assert format_table(("REGION", "TIME"), [("eu-west", "4 ms"), ("us", "12 ms")]) == [
        "REGION    TIME",
        "eu-west   4 ms",
        "us        12 ms",
    ]


def test_the_last_line_counts_every_check():
    report = Report(io.StringIO())
    report.check("one", held=True)
    report.check("two", held=False, detail="why")
    report.check("three", held=True)
    assert report.summary == "demo: 2 checks passed, 1 failed"
    assert report.failed == ["two"]


def test_without_a_terminal_there_are_no_colours_and_no_live_line():
    stream = io.StringIO()
    report = Report(stream)
    report.step(1, "A cluster")
    report.command("kubectl get pods")
    with report.waiting("pods") as ticker:
        ticker.started -= 10
        ticker.tick()
    report.check("pods are there", held=True, detail="2 s")
    assert stream.getvalue() == "\n1  A cluster\n   $ kubectl get pods\n   ✓ pods are there (2 s)\n"
