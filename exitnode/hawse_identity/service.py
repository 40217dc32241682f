"""The sign-in of a visitor, step by step: login, callback, renewal, sign-out, and the provider's word that one is over.

Shell: gathers (cookies, provider, clock, randomness), lets the pure modules decide, and says what to answer as an
`Answer`. HTTP itself is `server`'s.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hawse_identity import claims, cookies, flows, memory, refreshing, requests, sessions, tokens
from hawse_identity.errors import GrantRefusedError, ProviderError, SignInError, TokenError
from hawse_identity.provider_client import ProviderClient
from hawse_identity.sites import Site

logger = logging.getLogger(__name__)

RENEWED_S = 30.0
"""How long a renewal is told again to requests that still bring the older cookie: a browser sends many at once, and a
provider that sees a used refresh token again ends the whole sign-in."""
MAX_RENEWALS = 1000


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to the service."""

    site: Site
    cookies: Mapping[str, str]
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the browser is told: go there; or, without `location`, a status alone."""

    status: int
    location: str = ""
    set_cookies: tuple[str, ...] = ()


class Service:
    """One for the process."""

    def __init__(
        self,
        client: ProviderClient,
        *,
        ended: memory.Ended,
        outcomes: Counter[str],
        on_ended: Callable[[Mapping[str, int]], None],
        wall_clock: Callable[[], float] = time.time,  # noqa: TID251  # the shell's own clock
    ) -> None:
        """`ended`: sign-ins that ended at this node; `Site.ended` has those of the whole fleet.

        `on_ended` hears of them: marks and times, as in ir.Revoked. `outcomes` counts, for metrics.
        """
        self._client = client
        self._ended = ended
        self._on_ended = on_ended
        self._now = wall_clock
        self._used_states = memory.Used(flows.LIFETIME_S)
        self._used_notices = memory.Used(tokens.MAX_AGE_S + 2 * tokens.SKEW_S)
        self._renewals: dict[str, tuple[float, asyncio.Future[Answer]]] = {}
        self.outcomes = outcomes
        """signed_in, refused, provider_failed, unavailable, renewed, renewal_refused, signed_out, ended_by_provider."""

    # --- the visitor's way -------------------------------------------------------------------------------------------
    def login(self, visit: Visit) -> Answer:
        """Send the browser to the provider."""
        now = self._now()
        flow = flows.begin(visit.query.get("to", "/"), secrets.token_bytes(flows.RANDOM_BYTES), now)
        fields = flows.remember(flow, visit.site, visit.cookies, now)
        return Answer(303, requests.authorization_url(visit.site, flow), tuple(fields))

    async def callback(self, visit: Visit) -> Answer:
        """The browser is back: trade its code, check who it is, give it a session."""
        site, now = visit.site, self._now()
        flow, code = flows.finish(visit.query, site, visit.cookies, now)
        if not self._used_states.is_first(flow.state, now):
            raise SignInError("This sign-in was ended already: its answer counts once.")
        try:
            answer = await self._client.trade(requests.code_form(site, flow, code))
        except GrantRefusedError as exc:
            raise SignInError("The identity provider does not accept this sign-in any more.") from exc
        known = await self._who(site, answer, self._expected(site, answer, nonce=flow.nonce))
        sign_in = claims.build_sign_in(known, site, secrets.token_bytes(16), now)
        fields = self._session_cookies(visit, answer, known, sign_in, before=None)
        self.outcomes["signed_in"] += 1
        logger.info("a visitor signed in", extra={"tunnel": site.tunnel, "session": sign_in.id})
        return Answer(303, site.origin + flow.to, (*fields, cookies.clear(flow.cookie)))

    async def refresh(self, visit: Visit) -> Answer:
        """A newer session for the edge: 200 with cookies; 401: the visitor has to sign in again.

        Requests with the same cookie share one answer, for a while after it too.
        """
        sent = cookies.read_refresh(visit.cookies)
        if not sent:
            return Answer(401)
        now = asyncio.get_running_loop().time()
        key = hashlib.sha256(f"{visit.site.hostname}:{sent}".encode()).hexdigest()
        for old in [old for old, (until, _) in self._renewals.items() if until <= now]:
            del self._renewals[old]
        if shared := self._renewals.get(key):
            return await asyncio.shield(shared[1])
        while len(self._renewals) >= MAX_RENEWALS:
            del self._renewals[next(iter(self._renewals))]
        renewal: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._renewals[key] = (now + RENEWED_S, renewal)
        try:
            answer = await self._renew(visit)
        except BaseException as exc:
            del self._renewals[key]
            renewal.set_exception(exc if isinstance(exc, Exception) else ProviderError("the exit node is stopping"))
            renewal.exception()  # seen, though nobody may be waiting
            raise
        renewal.set_result(answer)
        return answer

    def logout(self, visit: Visit) -> Answer:
        """Forget the browser's cookies, make copies of them worthless, and go on to the provider; 200: it is done."""
        site, now = visit.site, self._now()
        renewal = refreshing.read(site, visit.cookies, now)
        session = sessions.decode(visit.cookies.get(cookies.SESSION, ""), site.keys)
        if session is None and renewal is None:
            return Answer(200)
        sign_in = renewal.sign_in if renewal else sessions.sign_in_of(session) if session else None
        if sign_in is not None:
            self._end({sign_in.id: int(now)})
        self.outcomes["signed_out"] += 1
        location = requests.logout_url(site, renewal.id_token if renewal else "")
        return Answer(303 if location else 200, location, tuple(cookies.clear_all(visit.cookies)))

    async def backchannel_logout(self, site: Site, logout_token: str) -> None:
        """The provider says that sign-ins are over.

        Raises:
            TokenError: it did not say so, or has said it before.
        """
        now = self._now()
        provider = site.provider
        signed = await self._client.verify(provider, logout_token)
        notice = tokens.check_logout_token(signed, provider.issuer, provider.client_id, now)
        if not self._used_notices.is_first(f"{site.policy_uid}:{notice.jti}", now):
            raise TokenError("the logout token was used before (jti)")
        kind, value = ("sid", notice.sid) if notice.sid else ("sub", notice.subject)
        self._end({sessions.mark(kind, provider.issuer, provider.client_id, value): notice.issued_at})
        self.outcomes["ended_by_provider"] += 1
        logger.info("the provider ended sign-ins", extra={"tunnel": site.tunnel, "by": kind})

    # --- inside ------------------------------------------------------------------------------------------------------
    async def _renew(self, visit: Visit) -> Answer:
        site, now = visit.site, self._now()
        renewal = refreshing.read(site, visit.cookies, now)
        forget = Answer(401, set_cookies=tuple(cookies.clear_all(visit.cookies)))
        if renewal is None or self._is_over(site, renewal.sign_in):
            return forget
        if not renewal.refresh_token:
            return Answer(401)  # its ID token still serves at sign-out
        try:
            answer = await self._client.trade(requests.refresh_form(site, renewal.refresh_token))
        except GrantRefusedError:
            self.outcomes["renewal_refused"] += 1
            logger.info("the provider renews a sign-in no longer", extra={"tunnel": site.tunnel})
            return forget
        known = await self._who_still(site, answer, renewal)
        if self._is_over(site, renewal.sign_in):  # while the provider was asked
            return forget
        fields = self._session_cookies(visit, answer, known, renewal.sign_in, before=renewal)
        self.outcomes["renewed"] += 1
        return Answer(200, set_cookies=tuple(fields))

    async def _who(self, site: Site, answer: Mapping[str, Any], expected: tokens.Expected) -> Mapping[str, Any]:
        """The claims of a token answer, completed by userinfo where the policy needs more."""
        signed = await self._client.verify(site.provider, _text(answer, "id_token"))
        known = tokens.check_id_token(signed, expected, self._now())
        if not claims.missing(known, site):
            return known
        return await self._complete(site, known, answer)

    async def _who_still(self, site: Site, answer: Mapping[str, Any], renewal: refreshing.Renewal) -> Mapping[str, Any]:
        if "id_token" in answer:
            return await self._who(site, answer, self._expected(site, answer, subject=renewal.subject))
        known = await self._complete(site, {"sub": renewal.subject}, answer)
        return {**renewal.claims, **known}

    async def _complete(self, site: Site, known: Mapping[str, Any], answer: Mapping[str, Any]) -> Mapping[str, Any]:
        if not site.provider.userinfo_endpoint or "access_token" not in answer:
            return known
        userinfo = await self._client.userinfo(site.provider, _text(answer, "access_token"))
        return claims.merge_userinfo(known, userinfo)

    def _expected(
        self, site: Site, answer: Mapping[str, Any], *, nonce: str | None = None, subject: str | None = None
    ) -> tokens.Expected:
        access_token = answer.get("access_token")
        return tokens.Expected(
            site.provider.issuer,
            site.provider.client_id,
            nonce=nonce,
            subject=subject,
            access_token=access_token if isinstance(access_token, str) else "",
        )

    def _session_cookies(
        self,
        visit: Visit,
        answer: Mapping[str, Any],
        known: Mapping[str, Any],
        sign_in: sessions.SignIn,
        *,
        before: refreshing.Renewal | None,
    ) -> list[str]:
        site, now = visit.site, self._now()
        session = claims.build_session(known, site, sign_in, now)
        renewal = refreshing.Renewal(
            sign_in=sign_in,
            subject=session.subject,
            policy_uid=site.policy_uid,
            refresh_token=_optional(answer, "refresh_token") or (before.refresh_token if before else ""),
            id_token=_optional(answer, "id_token") or (before.id_token if before else ""),
            claims=claims.relevant(known, site),
        )
        # The cookie outlives the session: that is how the edge knows that somebody was signed in.
        value = sessions.encode(session, site.keys)
        return [
            cookies.write(cookies.SESSION, value, max_age_s=int(site.lifetime_s)),
            *refreshing.write(renewal, site, visit.cookies, now),
        ]

    def _is_over(self, site: Site, sign_in: sessions.SignIn) -> bool:
        return sign_in.is_over(site.ended) or sign_in.is_over(self._ended.until)

    def _end(self, ended: Mapping[str, int]) -> None:
        self._ended.add(ended, self._now())
        self._on_ended(ended)


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise ProviderError(f"the provider's answer has no {name}")
    return value


def _optional(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    return value if isinstance(value, str) else ""
