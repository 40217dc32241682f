"""Log lines: one JSON object each, with the variables apart."""

import json
import logging

from hawse_operator.telemetry import JsonLines


def test_a_line_holds_the_event_and_its_variables() -> None:
    record = logging.LogRecord("hawse", logging.INFO, "f.py", 1, "name %s", ("reserved",), None)
    record.host = "a.b"
    line = json.loads(JsonLines().format(record))
    assert (line["event"], line["level"], line["logger"], line["host"]) == ("name reserved", "INFO", "hawse", "a.b")
    assert "args" not in line


def test_a_traceback_stays_in_its_line() -> None:
    exc = ValueError("no")
    record = logging.LogRecord("hawse", logging.ERROR, "f.py", 1, "failed", (), (ValueError, exc, None))
    text = JsonLines().format(record)
    assert "\n" not in text
    assert "ValueError: no" in json.loads(text)["traceback"]
