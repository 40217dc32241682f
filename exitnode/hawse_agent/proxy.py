"""The HTTP proxy that the environment names: HTTPS_PROXY, https_proxy, NO_PROXY, no_proxy. Pure; parsed strictly.

Only links over TCP go through it (CONNECT, RFC 9110 section 9.3.6). No message repeats the value: it may hold a
password. Read by cli/ before anything is dialled, so that a typing error ends the command; used by dialling.py.
"""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit

from hawse_agent.errors import UsageError
from hawse_agent.target import Target, parse_address

_VARIABLES = ("https_proxy", "HTTPS_PROXY")
"""Lower case first, as curl and Python do."""
_EXEMPT = ("no_proxy", "NO_PROXY")
_PORT = 80
_MOST = 2048
_EXAMPLE = "It looks like http://proxy.example.com:3128 or http://user:password@proxy.example.com:3128."


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where it is and how it knows us."""

    address: str
    """host:port"""
    authorization: str = field(default="", repr=False)
    """Value of Proxy-Authorization, or empty."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """What the environment says."""

    proxy: Proxy | None = None
    exempt: str = ""
    """NO_PROXY: names, suffixes, addresses and networks, by commas; "*" is everything."""

    def towards(self, address: str) -> Proxy | None:
        """The proxy on the way to host:port, or None."""
        host = address.rpartition(":")[0].strip("[]").lower()
        entries = [entry.strip().lower() for entry in self.exempt.split(",")]
        return None if any(_covers(entry, host, address.lower()) for entry in entries if entry) else self.proxy


NO_PROXIES = Proxies()


def read(environ: Mapping[str, str]) -> Proxies:
    """What the environment says.

    Raises:
        UsageError: the proxy cannot be used as it is written; the message names the variable and never its value.
    """
    exempt = next((environ[name] for name in _EXEMPT if environ.get(name)), "")
    for name in _VARIABLES:
        if value := environ.get(name, "").strip():
            return Proxies(_parse(name, value), exempt)
    return Proxies(None, exempt)


def _covers(entry: str, host: str, address: str) -> bool:
    """Does this part of NO_PROXY mean that host?"""
    if entry in ("*", address):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        suffix = entry.removeprefix("*").lstrip(".")
        return host == suffix or host.endswith(f".{suffix}")


def _parse(name: str, value: str) -> Proxy:
    if len(value) > _MOST:
        raise _wrong(name, f"it is longer than {_MOST} characters")
    if any(not letter.isprintable() or letter.isspace() for letter in value):
        raise _wrong(name, "it has a space or a control character")
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
    except ValueError:
        raise _wrong(name, "it is not a URL") from None
    if parts.scheme != "http":
        raise _wrong(name, "only a proxy that is spoken to in plain HTTP (http://) is supported")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _wrong(name, 'it has a path; write "/", "?", "#" and "@" in a password as %2F, %3F, %23 and %40')
    user, at, place = parts.netloc.rpartition("@")
    return Proxy(str(_place(name, place)), _basic(name, user) if at else "")


def _place(name: str, text: str) -> Target:
    found = parse_address(text) or parse_address(f"{text}:{_PORT}")
    if found is None:
        raise _wrong(name, "host and port are not valid")
    return found


def _basic(name: str, text: str) -> str:
    """RFC 7617; UTF-8."""
    if "@" in text:
        raise _wrong(name, 'it has more than one "@"; write it in a password as %40')
    user, _, password = text.partition(":")
    plain = unquote_to_bytes(user), unquote_to_bytes(password)
    if not plain[0]:
        raise _wrong(name, "it has a password and no user")
    if b":" in plain[0]:
        raise _wrong(name, "a user name cannot have a colon")
    if any(byte < 0x20 or byte == 0x7F for byte in b"".join(plain)):
        raise _wrong(name, "user or password has a control character")
    return "Basic " + base64.b64encode(b":".join(plain)).decode("ascii")


def _wrong(name: str, why: str) -> UsageError:
    return UsageError(f"{name} cannot be used: {why}. {_EXAMPLE} Without a proxy: unset {name}.")
