"""Small pieces of text that several messages share: durations, ages, lists, counts. Pure."""

from collections.abc import Sequence

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def duration(seconds: float) -> str:
    """The two largest units: "3 h 12 min", "2 d 4 h", "45 s"."""
    left = round(abs(seconds))
    parts = []
    for size, unit in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    if left and not any(part.endswith(("h", "d")) for part in parts):
        parts.append(f"{left} s")
    return " ".join(parts[:2]) or "0 s"


def size(count: int) -> str:
    """Bytes for people: "512 B", "1.5 kB", "20 MB"."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if value >= 9.95 or units[0] == "B" else f"{value:.1f} {units[0]}"


def listing(items: Sequence[str], most: int = 8) -> str:
    """Like "a, b, c and 4 more"; "none" for nothing."""
    if not items:
        return "none"
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown


def printable(text: str, most: int = 300) -> str:
    """Foreign text for a terminal: one line, no control characters, bounded."""
    flat = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "?" for letter in flat)[:most]
