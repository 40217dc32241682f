"""Where an agent's words go: plain lines, JSON lines, or a live view on a terminal. Shell; the wording is render.py's.

The contract of every view: the first thing on stdout is the public URL, or for JSON the events; everything that is not
the result goes to stderr behind "hawse: ". A reader that went away (a closed pipe) never ends the agent.
"""

import shutil
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from hawse_agent import notices, render

_CLEAR_BELOW = "\x1b[J"
_UP = "\x1b[{}F"


class View(Protocol):
    """What runner.py and cli/ write to."""

    def tell(self, notice: notices.Notice) -> None:
        """Show a notice."""

    def refresh(self, picture: render.Picture) -> None:
        """Show what is going on right now; called about once a second."""

    def close(self) -> None:
        """Leave the terminal as it should be."""


@dataclass(slots=True)
class PlainView:
    """For pipes, files and service managers."""

    out: TextIO
    err: TextIO

    def tell(self, notice: notices.Notice) -> None:
        """URLs to stdout, one a line; the rest to stderr."""
        if isinstance(notice, notices.Serving):
            for route in notice.routes:
                _write(self.out, f"{route.tunnel.url}\n")
        _write(self.err, f"hawse: {render.line(notice)}\n")

    def refresh(self, picture: render.Picture) -> None:
        """Nothing: logs are not for counters (hawse status shows them)."""

    def close(self) -> None:
        """Nothing to do."""


@dataclass(slots=True)
class JsonView:
    """One JSON object a line on stdout."""

    out: TextIO

    def tell(self, notice: notices.Notice) -> None:
        """Every notice is an event."""
        _write(self.out, render.as_json(notice) + "\n")

    def refresh(self, picture: render.Picture) -> None:
        """Nothing: see PlainView."""

    def close(self) -> None:
        """Nothing to do."""


@dataclass(slots=True)
class LiveView:
    """A compact picture that is redrawn in place, notices above it."""

    out: TextIO
    drawn: int = field(default=0)
    picture: render.Picture | None = None

    def tell(self, notice: notices.Notice) -> None:
        """Above the picture. What the picture shows anyway is left out."""
        if isinstance(notice, notices.Connected | notices.Serving):
            return
        self._erase()
        _write(self.out, f"hawse: {render.line(notice)}\n")
        self._draw()

    def refresh(self, picture: render.Picture) -> None:
        """Redraw."""
        self.picture = picture
        self._erase()
        self._draw()

    def close(self) -> None:
        """The last picture stays on the screen."""
        self.drawn = 0

    def _erase(self) -> None:
        if self.drawn:
            _write(self.out, _UP.format(self.drawn) + _CLEAR_BELOW)
            self.drawn = 0

    def _draw(self) -> None:
        if self.picture is None:
            return
        size = shutil.get_terminal_size()
        lines = render.view(self.picture, size.columns)[: max(size.lines - 1, 1)]
        _write(self.out, "".join(f"{text}\n" for text in lines))
        self.drawn = len(lines)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (BrokenPipeError, ValueError):
        pass  # the reader has gone; the tunnel is worth more than the log
