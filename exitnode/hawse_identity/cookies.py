"""Names and bounds of our cookies, read from a request and written to an answer. Pure.

All have the prefix `__Host-`: browsers take them over TLS only and for one host, so no sibling can set or see them.
SameSite is Lax and not Strict, because the way back from the provider begins at another site. Used by all that answer.
"""

import re
from collections.abc import Iterable, Mapping

SESSION = "__Host-hawse"
REFRESH = "__Host-hawse-refresh"
FLOW = "__Host-hawse-flow-"

CHUNK_CHARACTERS = 3500
"""Browsers keep 4,096 bytes of a cookie, with its name and attributes (RFC 6265, section 6.1)."""
MAX_CHUNKS = 4
"""14,000 characters: with the session and the app's own cookies below the edge's 32 KiB for a head."""

_OURS = re.compile(r"^__Host-hawse(-refresh-[0-9]{1,2}|-flow-[A-Za-z0-9_-]{1,32})?$")


def read(fields: Iterable[str]) -> dict[str, str]:
    """Our cookies among those of a request; the first of a name counts."""
    found: dict[str, str] = {}
    for field in fields:
        for pair in field.split(";"):
            name, _, value = pair.strip(" \t").partition("=")
            if _OURS.match(name):
                found.setdefault(name, value)
    return found


def write(name: str, value: str, *, max_age_s: int) -> str:
    """A Set-Cookie field."""
    return f"{name}={value}; Path=/; Max-Age={max_age_s}; Secure; HttpOnly; SameSite=Lax"


def clear(name: str) -> str:
    """A Set-Cookie field that makes the browser forget it."""
    return write(name, "", max_age_s=0)


def write_refresh(value: str, sent: Mapping[str, str], *, max_age_s: int) -> list[str]:
    """The refresh cookie in chunks; what is left of a longer one is cleared."""
    chunks = [value[at : at + CHUNK_CHARACTERS] for at in range(0, len(value), CHUNK_CHARACTERS)]
    fields = [write(f"{REFRESH}-{index}", chunk, max_age_s=max_age_s) for index, chunk in enumerate(chunks)]
    written = {f"{REFRESH}-{index}" for index in range(len(chunks))}
    return fields + [clear(name) for name in sorted(sent) if name.startswith(REFRESH) and name not in written]


def read_refresh(sent: Mapping[str, str]) -> str:
    """The refresh cookie, put together; empty: there is none."""
    chunks = []
    for index in range(MAX_CHUNKS):
        chunk = sent.get(f"{REFRESH}-{index}")
        if chunk is None:
            break
        chunks.append(chunk)
    return "".join(chunks)


def fits(value: str) -> bool:
    """Whether it may become a refresh cookie."""
    return len(value) <= CHUNK_CHARACTERS * MAX_CHUNKS


def clear_all(sent: Mapping[str, str]) -> list[str]:
    """Sign a browser out."""
    return [clear(name) for name in sorted(sent)]
