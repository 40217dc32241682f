"""What the demo prints: headings, commands as typed, aligned facts, tables and named checks; and it counts the checks.

Colours and the live line only on a terminal, NO_COLOR is honoured. Decides nothing. Used by every module of the demo.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TextIO

_INDENT = "   "
_LABEL = 12


@dataclass(slots=True)
class Report:
    """The terminal."""

    stream: TextIO
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    _live: bool = False
    _coloured: bool = False

    def __post_init__(self) -> None:
        self._live = self.stream.isatty()
        self._coloured = self._live and "NO_COLOR" not in os.environ

    @property
    def summary(self) -> str:
        """The last line of the demo."""
        return f"demo: {self.passed} checks passed, {len(self.failed)} failed"

    def line(self, text: str = "") -> None:
        """A line of text."""
        self.stream.write(f"{text}\n")
        self.stream.flush()

    def step(self, number: int, title: str) -> None:
        """A new step."""
        self.line()
        self.line(self._paint("1", f"{number}  {title}"))

    def note(self, text: str) -> None:
        """A sentence below the step."""
        self.line(_INDENT + text)

    def fact(self, label: str, value: str) -> None:
        """A labelled value, aligned with its neighbours."""
        self.line(f"{_INDENT}{label:<{_LABEL}}{value}")

    def command(self, text: str) -> None:
        """A command, as a person would type it."""
        first, *more = text.splitlines()
        self.line(_INDENT + self._paint("36", f"$ {first}"))
        for line in more:
            self.line(_INDENT + self._paint("36", f"  {line}"))

    def output(self, text: str) -> None:
        """What a command printed."""
        for line in text.rstrip().splitlines():
            self.line(f"{_INDENT}{line}".rstrip())

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns as wide as their widest cell."""
        for index, line in enumerate(format_table(header, rows)):
            self.line(_INDENT + (line if index else self._paint("2", line)))

    def check(self, name: str, held: bool, detail: str = "") -> bool:
        """Count an expectation; `detail` says what was seen instead, or how long it took."""
        if held:
            self.passed += 1
        else:
            self.failed.append(name)
        mark = self._paint("32", "✓") if held else self._paint("31", "✗")
        self.line(f"{_INDENT}{mark} {name}{f' ({detail})' if detail else ''}")
        return held

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator["Ticker"]:
        """A live line while something is waited for; nothing where no terminal is."""
        ticker = Ticker(self, text, time.monotonic())
        try:
            yield ticker
        finally:
            ticker.erase()

    def live(self, text: str) -> None:
        """Write over the current line, on a terminal only."""
        if self._live:
            self.stream.write(f"\r\033[K{text}")
            self.stream.flush()

    def bad(self, text: str) -> None:
        """A line that must not be missed."""
        self.line(self._paint("31;1", text))

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._coloured else text


@dataclass(slots=True)
class Ticker:
    """The live line of one wait."""

    report: Report
    text: str
    started: float
    _shown: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """Since the wait began."""
        return time.monotonic() - self.started

    def tick(self) -> None:
        """Renew the line, at most five times a second and not for the first half second."""
        elapsed = self.elapsed_s
        if elapsed - self._shown >= 0.2 and elapsed > 0.5:
            self._shown = elapsed
            self.report.live(f"{_INDENT}… {self.text} ({elapsed:.0f} s)")

    def erase(self) -> None:
        """Remove the line."""
        if self._shown:
            self.report.live("")


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, three spaces between columns, like kubectl."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def seconds(value: float) -> str:
    """Format a duration for people: 350 ms, 2.4 s, 41 s."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
