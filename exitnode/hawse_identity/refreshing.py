"""The refresh cookie: what renews a session and ends it at the provider. Pure.

Tokens of the provider travel only in here, sealed. Called by `service`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hawse_identity import cookies, sealed, sessions
from hawse_identity.sites import Site


@dataclass(frozen=True, slots=True)
class Renewal:
    """What the browser keeps for us."""

    sign_in: sessions.SignIn
    subject: str
    policy_uid: str
    refresh_token: str = field(repr=False)
    """Empty: the provider gave none; when the session is over the browser goes to the provider again."""
    id_token: str = field(repr=False)
    """For signing out at the provider; empty: it was too long for a cookie."""
    claims: Mapping[str, Any] = field(repr=False)
    """That the session was made of: they count again if a renewal brings no ID token (Core, 12.2)."""


def read(site: Site, sent: Mapping[str, str], now: float) -> Renewal | None:
    """The renewal of a request's cookies; None: none of this tunnel and policy, or the sign-in is too long ago."""
    text = cookies.read_refresh(sent)
    kept = sealed.unseal(sealed.Kind.REFRESH, text, site.keys.sealing) if text else None
    if kept is None:
        return None
    try:
        renewal = Renewal(**{**kept, "sign_in": sessions.SignIn(**kept["sign_in"])})
    except (KeyError, TypeError):  # sealed by another version of this program
        return None
    is_ours = renewal.policy_uid == site.policy_uid
    return renewal if is_ours and _left_s(renewal, site, now) > 0 else None


def write(renewal: Renewal, site: Site, sent: Mapping[str, str], now: float) -> list[str]:
    """Set-Cookie fields. What does not fit is left out, the least needed first; nothing fits: none is kept."""
    without_id = replace(renewal, id_token="")
    for smaller in (renewal, without_id, replace(without_id, claims={}), replace(renewal, refresh_token="")):
        value = sealed.seal(sealed.Kind.REFRESH, asdict(smaller), site.keys.sealing)
        if cookies.fits(value):
            return cookies.write_refresh(value, sent, max_age_s=int(_left_s(renewal, site, now)))
    return cookies.write_refresh("", sent, max_age_s=0)


def _left_s(renewal: Renewal, site: Site, now: float) -> float:
    return renewal.sign_in.signed_in_at + site.lifetime_s - now
