"""Who somebody is: from the claims of a provider to what the session cookie says. Pure.

The app gets user, mail and groups; the edge decides by the claims that the policy's rules name. Nothing else is kept.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hawse_api.ir import core_pb2
from hawse_identity import sessions
from hawse_identity.errors import ProviderError
from hawse_identity.sites import Site
from hawse_identity.tokens import MAX_TEXT

EMAIL = "email"
GROUPS = "groups"
MAX_VALUES = 1000
"""Of one claim that are read at all."""


def missing(claims: Mapping[str, Any], site: Site) -> list[str]:
    """Claims that the policy needs and the ID token lacks: asked of the userinfo endpoint."""
    wanted = list(site.rule_claims)
    if EMAIL in site.provider.scopes:
        wanted.append(EMAIL)
    return [name for name in dict.fromkeys(wanted) if name not in claims]


def build_sign_in(claims: Mapping[str, Any], site: Site, random: bytes, now: float) -> sessions.SignIn:
    """A new sign-in from 16 bytes of randomness."""
    issuer, client_id, sid = site.provider.issuer, site.provider.client_id, claims.get("sid")
    return sessions.SignIn(
        id=random.hex(),
        signed_in_at=int(now),
        subject_mark=sessions.mark("sub", issuer, client_id, str(claims["sub"])),
        provider_mark=sessions.mark("sid", issuer, client_id, sid) if isinstance(sid, str) and sid else "",
    )


def relevant(claims: Mapping[str, Any], site: Site) -> Mapping[str, Any]:
    """Those that a session is made of."""
    names = {"sub", EMAIL, "email_verified", GROUPS, *site.rule_claims}
    return {name: value for name, value in claims.items() if name in names}


def merge_userinfo(claims: Mapping[str, Any], userinfo: Mapping[str, Any]) -> Mapping[str, Any]:
    """Both together; what the signed token says counts (Core, 5.3.2).

    Raises:
        ProviderError: they speak of different users.
    """
    if userinfo.get("sub") != claims.get("sub"):
        raise ProviderError("the provider's userinfo is another user's (sub)")
    return {**userinfo, **claims}


def build_session(claims: Mapping[str, Any], site: Site, sign_in: sessions.SignIn, now: float) -> core_pb2.Session:
    """The session cookie's content.

    It has to fit a cookie: of very many groups only those stay that the rules look for.

    Raises:
        ProviderError: not even then.
    """
    for kept in (None, site.rule_values):
        session = _session(claims, site, sign_in, int(now), kept)
        if len(sessions.encode(session, site.keys)) <= sessions.MAX_CHARACTERS:
            return session
    raise ProviderError("the claims that the policy's rules need do not fit into a cookie")


def _session(
    claims: Mapping[str, Any], site: Site, sign_in: sessions.SignIn, now: int, kept: Collection[str] | None
) -> core_pb2.Session:
    believed = {**claims, EMAIL: _email(claims)}

    def values(name: str) -> list[str]:
        return [value for value in _values(believed.get(name)) if kept is None or value in kept]

    session = core_pb2.Session(
        id=sign_in.id,
        subject=str(claims["sub"]),
        email=believed[EMAIL],
        groups=values(GROUPS),
        issued_at=now,
        expires_at=now + sessions.LIFETIME_S,
        policy_uid=site.policy_uid,
        hostname=site.hostname,
        signed_in_at=sign_in.signed_in_at,
        subject_mark=sign_in.subject_mark,
        provider_mark=sign_in.provider_mark,
    )
    for name in site.rule_claims:
        if name not in ("sub", EMAIL, GROUPS):
            session.claims[name].values.extend(values(name))
    return session


def _email(claims: Mapping[str, Any]) -> str:
    """Not one that the provider says is unproved: whoever types it in must not become its owner."""
    email = claims.get(EMAIL)
    is_proved = claims.get("email_verified", True) in (True, "true")
    return email if isinstance(email, str) and is_proved and len(email) <= MAX_TEXT else ""


def _values(claim: object) -> Sequence[str]:
    if isinstance(claim, bool):
        return ["true" if claim else "false"]
    if isinstance(claim, str | int | float):
        return [str(claim)] if claim != "" else []
    if isinstance(claim, list):
        return [text for item in claim[:MAX_VALUES] if isinstance(item, str | int) for text in _values(item)]
    return []
