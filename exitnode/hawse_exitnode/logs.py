"""Log lines of the exit node: one line each on stderr, `extra` as key=value. Called once by `__main__`."""

import logging
import sys
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """`2026-11-24T06:00:00.123Z INFO hawse_exitnode.control connected pod=a-1`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback, if any, follows it."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"{at} {record.levelname} {record.name} {record.getMessage()}"
        extras = "".join(f" {key}={_quoted(value)}" for key, value in vars(record).items() if key not in _STANDARD)
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{line}{extras}{trace}"


def set_up(level: int = logging.INFO) -> None:
    """Send everything to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("grpc").setLevel(logging.WARNING)


def _quoted(value: object) -> str:
    text = str(value)
    if text and all(char.isprintable() and char not in ' ="' for char in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
