"""Where the app listens, as a user types it: 3000, localhost:3000, host:port, [::1]:3000, http://localhost:3000. Pure.

For a TCP tunnel it is tcp://localhost:5432.

Also the address of an exit node, which has the same form. Resolves nothing: probe.py and the core do.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from hawse_agent.errors import UsageError

_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})?)*\.?")
_EXAMPLES = "Give a port (3000), host:port (localhost:3000, [::1]:3000) or {}://host:port."


@dataclass(frozen=True, slots=True)
class Target:
    """Host and port of the local app."""

    host: str
    """A name or an address, without brackets."""
    port: int

    def __str__(self) -> str:
        """As people read it: brackets around IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str, scheme: str = "http") -> Target:
    """Read what the user typed. `scheme`: what a URL has to begin with ("tcp": and then it names a port).

    Raises:
        UsageError: with examples.
    """
    stripped = text.strip()
    typed, separator, rest = stripped.partition("://")
    if separator:
        return _from_url(stripped, (typed.lower(), scheme), rest)
    if stripped.isascii() and stripped.isdigit():
        stripped = f"localhost:{stripped}"
    elif stripped.startswith(":"):
        stripped = f"localhost{stripped}"
    found = parse_address(stripped)
    if found is None:
        raise _nowhere(text, scheme)
    return found


def parse_address(text: str) -> Target | None:
    """host:port, or None. Port 1-65535; IPv6 in brackets."""
    if text.startswith("["):
        host, separator, port = text[1:].partition("]:")
        valid = bool(separator) and _is_ipv6(host)
    else:
        host, separator, port = text.rpartition(":")
        valid = bool(separator) and _HOST.fullmatch(host) is not None
    if not valid or not (port.isascii() and port.isdigit()) or len(port) > 5 or not 1 <= int(port) <= 65535:
        return None
    return Target(host, int(port))


def _from_url(text: str, schemes: tuple[str, str], rest: str) -> Target:
    typed, scheme = schemes
    examples = _EXAMPLES.format(scheme)
    if typed != scheme:
        raise UsageError(f'{_shown(text)}: apps are reached over plain "{scheme}" only, not "{typed[:20]}". {examples}')
    if urlsplit(text).path not in ("", "/") or "?" in rest or "#" in rest or "@" in rest:
        raise UsageError(f"{_shown(text)}: a tunnel leads to a whole app: give host and port without path. {examples}")
    place = rest.rstrip("/")
    found = parse_address(place) or (parse_address(f"{place}:80") if scheme == "http" else None)
    if found is None:
        raise _nowhere(text, scheme)
    return found


def _nowhere(text: str, scheme: str) -> UsageError:
    return UsageError(f"{_shown(text)} is not a place where an app listens. {_EXAMPLES.format(scheme)}")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def _shown(text: str) -> str:
    """What was typed, short and printable."""
    return '"' + "".join(letter if letter.isprintable() else "?" for letter in text[:60]) + '"'
