"""What ends the demo early. One class: whatever fails, a person wants the hop, the cause, the log and the way out."""

from pathlib import Path


class DemoError(Exception):
    """The demo cannot go on.

    `hop` names the part of the chain that failed, `log` the file whose end explains it, `fix` what to do.
    """

    def __init__(self, hop: str, message: str, *, log: Path | None = None, fix: str = "") -> None:
        super().__init__(message)
        self.hop = hop
        self.message = message
        self.log = log
        self.fix = fix
