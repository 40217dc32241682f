"""What an OpenID provider says of itself, and whether exit nodes may rely on it. Pure.

OpenID Connect Discovery 1.0, section 4.3; RFC 8414. Called by reconcile.providers with what the shell fetched.
"""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hawse_api import v1alpha1

DISCOVERY_PATH = "/.well-known/openid-configuration"
MAX_URL_CHARACTERS = 1024
BASIC, POST, NONE = "client_secret_basic", "client_secret_post", "none"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a provider cannot be relied on; for the policy's owner."""

    message: str
    is_unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Whom to ask, and which networks a Fleet allows although nothing is dialled there otherwise."""

    issuer: str
    allowed_cidrs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of asking: both documents, or why not."""

    configuration: bytes = b""
    keys: bytes = b""
    problem: str = ""


def discovery_url(issuer: str) -> str:
    """Where the provider describes itself."""
    return issuer.rstrip("/") + DISCOVERY_PATH


def judge_configuration(issuer: str, document: bytes) -> v1alpha1.ProviderStatus | Problem:
    """Read the provider's description."""
    said = _object(document)
    if said is None:
        return Problem(f"{discovery_url(issuer)} is not a JSON object.")
    if said.get("issuer") != issuer:
        return Problem(
            f'The provider calls itself "{str(said.get("issuer"))[:200]}", not "{issuer}": '
            "spec.oidc.issuer has to be exactly what it says, slashes included."
        )
    required = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    optional = ("userinfo_endpoint", "end_session_endpoint")
    for name in (*required, *optional):
        url = said.get(name)
        if (name in required or url is not None) and not (isinstance(url, str) and is_address(url, issuer)):
            return Problem(f"The provider's {name} is missing or no https address.")
    if "code" not in _list(said, "response_types_supported", ["code"]):
        return Problem("The provider does not offer the authorization code flow.")
    if "S256" not in _list(said, "code_challenge_methods_supported", ["S256"]):
        return Problem("The provider does not take PKCE with S256.")
    methods = _list(said, "token_endpoint_auth_methods_supported", [BASIC])
    return v1alpha1.ProviderStatus(
        issuer=issuer,
        authorization_endpoint=said["authorization_endpoint"],
        token_endpoint=said["token_endpoint"],
        jwks_uri=said["jwks_uri"],
        userinfo_endpoint=said.get("userinfo_endpoint"),
        end_session_endpoint=said.get("end_session_endpoint"),
        auth_methods=tuple(method for method in (BASIC, POST) if method in methods),
        offline_access="offline_access" in _list(said, "scopes_supported", []),
    )


def judge(issuer: str, fetched: Fetched) -> v1alpha1.ProviderStatus | Problem:
    """What an answer of a provider is worth; a problem to reach it is one too."""
    if fetched.problem:
        return Problem(fetched.problem, is_unreachable=True)
    found = judge_configuration(issuer, fetched.configuration)
    return found if isinstance(found, Problem) else judge_keys(fetched.keys) or found


def judge_keys(document: bytes) -> Problem | None:
    """Whether the provider publishes keys."""
    said = _object(document)
    keys = said.get("keys") if said else None
    if not isinstance(keys, list) or not any(isinstance(key, dict) for key in keys):
        return Problem("The provider publishes no keys (jwks_uri).")
    return None


def auth_method(provider: v1alpha1.ProviderStatus, *, has_secret: bool) -> str | Problem:
    """How our client proves itself."""
    if not has_secret:
        return NONE
    if provider.auth_methods:
        return provider.auth_methods[0]
    return Problem(f"The provider takes no client secret by {BASIC} or {POST}.")


def is_address(url: str, issuer: str) -> bool:
    """https; http only of a provider on this very machine, whose issuer says so too: for tests and trials."""
    parts = urlsplit(url)
    if len(url) > MAX_URL_CHARACTERS or not parts.hostname or parts.username or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url) and is_loopback(issuer))


def is_loopback(url: str) -> bool:
    """Whether it names this machine by address."""
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False


def _object(document: bytes) -> Mapping[str, Any] | None:
    try:
        said = json.loads(document)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _list(said: Mapping[str, Any], name: str, default: list[str]) -> list[str]:
    value = said.get(name, default)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
