"""Tunnel.spec.traffic.shield: answers that several visitors share. What they mean is in docs/shield.md."""

from typing import Annotated, Any

from pydantic import Field

from hawse_api.v1alpha1.meta import Duration, between
from hawse_api.v1alpha1.schema import LIST_SET, Bool, Model, Rule

_FIELD = r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$"
_COOKIE = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"
"""A token of RFC 9110."""


def _absent(name: str) -> Rule:
    """A field that has no part in telling visitors apart by itself: Cookie would make each visitor's answer its own."""
    return Rule(
        cel=f"!self.matches('^(?i){name}$')",
        message=f"{name} cannot be a key header: name the cookies that count in bypassCookies",
        holds=lambda text: text.lower() != name,
    )


HeaderName = Annotated[str, Field(min_length=1, max_length=63, pattern=_FIELD), _absent("cookie")]
CookieName = Annotated[str, Field(min_length=1, max_length=128, pattern=_COOKIE)]


def _set(longest: int) -> Any:
    return Field(max_length=longest, json_schema_extra=LIST_SET)


class Shield(Model):
    """Identical requests become one, and its answer serves those who come after. `{}` is on."""

    ttl: Annotated[Duration, between("1ms", "1h")] | None = None
    """For how long an answer is fresh that does not say it (no max-age, s-maxage or Expires); absent: it is shared only
    by those who ask while it is fetched."""
    collapse: Bool = True
    """Requests for the same page at the same time become one request to the app."""
    stale_if_error: Annotated[Duration, between("1s", "168h")] | None = None
    """For how long after that an answer is given out while the app fails or no agent is connected."""
    stale_while_revalidate: Annotated[Duration, between("1s", "24h")] | None = None
    """For how long after that an answer is given out while one request asks the app again."""
    key_headers: Annotated[tuple[HeaderName, ...], _set(8)] = ()
    """Request fields that tell pages apart even where the app does not say so by Vary, such as Accept-Language."""
    bypass_cookies: Annotated[tuple[CookieName, ...], _set(32)] = ()
    """Cookies that tell visitors apart: a request with one of them goes to the app for itself. All others do not count.
    Empty: nothing is known of any cookie, and a request with one shares only what the app calls public."""
    share_authorized: Bool = False
    """True: requests with Authorization are shared like others. They then all see the same answer."""
