"""What a provider must not be believed: the negative matrix of the OpenID certification, and more."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from hawse_identity import cookies
from support import identity
from support.bad_provider import BadProvider, Claims, make_key


@pytest.fixture
async def provider() -> AsyncIterator[BadProvider]:
    async with BadProvider() as made:
        yield made


async def sign_in(browser: identity.Browser, provider: BadProvider, to: str = "/") -> httpx.Response:
    asked = await browser.begin(to)
    provider.nonce = asked["nonce"]
    return await browser.get(f"/.hawse/callback?code=c&state={asked['state']}")


def without(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


def with_(**changes: object) -> Callable[[Claims], Claims]:
    return lambda claims: claims | changes


REFUSED: dict[str, tuple[Callable[[Claims], Claims], str]] = {
    "wrong issuer": (with_(iss="http://127.0.0.1:1"), "(iss)"),
    "missing sub": (without("sub"), "(sub)"),
    "empty sub": (with_(sub=""), "(sub)"),
    "wrong audience": (with_(aud="somebody"), "(aud)"),
    "no audience": (without("aud"), "(aud)"),
    "several audiences without azp": (with_(aud=["hawse", "somebody"]), "(azp)"),
    "another azp": (with_(azp="somebody"), "(azp)"),
    "missing iat": (without("iat"), "(iat)"),
    "iat of long ago": (with_(iat=int(time.time()) - 7200), "(iat)"),
    "iat to come": (with_(iat=int(time.time()) + 86_400), "(iat)"),
    "expired": (with_(exp=int(time.time()) - 120), "(exp)"),
    "missing exp": (without("exp"), "(exp)"),
    "exp that is no number": (with_(exp="tomorrow"), "(exp)"),
    "not valid yet": (with_(nbf=int(time.time()) + 86_400), "(nbf)"),
    "wrong nonce": (with_(nonce="another"), "(nonce)"),
    "no nonce": (without("nonce"), "(nonce)"),
    "at_hash of another token": (with_(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), "(at_hash)"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_an_id_token_with_wrong_claims_lets_nobody_in(case: str, provider: BadProvider, tmp_path: Path) -> None:
    provider.change, named = REFUSED[case]
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        answer = await sign_in(browser, provider)
        assert answer.status_code == 502
        assert answer.headers["x-hawse-error"] == "HAWSE-1022"
        assert named in answer.text
        assert browser.session is None


async def test_the_honest_token_lets_in(provider: BadProvider, tmp_path: Path) -> None:
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        answer = await sign_in(browser, provider, "/reports?x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{identity.ORIGIN}/reports?x=1")
        assert browser.session is not None
        assert browser.session.subject == "ada"


async def test_a_token_that_is_not_signed_lets_nobody_in(provider: BadProvider, tmp_path: Path) -> None:
    provider.header = {"alg": "none"}
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        answer = await sign_in(browser, provider)
        assert answer.status_code == 502
        assert "not signed with an accepted algorithm" in answer.text
        assert browser.session is None


async def test_a_token_signed_by_another_key_lets_nobody_in(provider: BadProvider, tmp_path: Path) -> None:
    oidc = provider.oidc()
    provider.key = make_key("one", 2)  # says it is the published one
    async with identity.serving(tmp_path, oidc) as browser:
        answer = await sign_in(browser, provider)
        assert answer.status_code == 502
        assert "signature" in answer.text


async def test_a_token_without_kid_counts_if_there_is_one_key(provider: BadProvider, tmp_path: Path) -> None:
    provider.header = {"alg": "RS256"}
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        assert (await sign_in(browser, provider)).status_code == 303


async def test_a_token_without_kid_is_refused_if_there_are_several_keys(provider: BadProvider, tmp_path: Path) -> None:
    provider.header = {"alg": "RS256"}
    provider.published.append(make_key("two"))
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        answer = await sign_in(browser, provider)
        assert answer.status_code == 502
        assert "(kid)" in answer.text


async def test_new_keys_are_fetched_once_for_a_kid_that_is_not_known(provider: BadProvider, tmp_path: Path) -> None:
    oidc = provider.oidc()
    rotated = make_key("two")
    provider.key, provider.header, provider.published = rotated, {"alg": "RS256", "kid": "two"}, [rotated]
    async with identity.serving(tmp_path, oidc) as browser:
        assert (await sign_in(browser, provider)).status_code == 303
        provider.header = {"alg": "RS256", "kid": "invented"}
        for _ in range(3):
            assert (await sign_in(browser, provider)).status_code == 502
        assert [path for path, _, _ in provider.asked].count("/jwks") == 1


async def test_userinfo_is_asked_only_if_the_policy_needs_it(provider: BadProvider, tmp_path: Path) -> None:
    async with identity.serving(tmp_path, provider.oidc(), rules={"team": ["blue"]}) as browser:
        provider.userinfo = {"sub": "ada", "team": "blue"}
        assert (await sign_in(browser, provider)).status_code == 303
        assert browser.session is not None
        assert list(browser.session.claims["team"].values) == ["blue"]
        provider.change = with_(team="red")
        assert (await sign_in(browser, provider)).status_code == 303
        assert list(browser.session.claims["team"].values) == ["red"]
        assert [path for path, _, _ in provider.asked].count("/userinfo") == 1


async def test_userinfo_of_another_user_lets_nobody_in(provider: BadProvider, tmp_path: Path) -> None:
    provider.userinfo = {"sub": "eve", "team": "blue"}
    async with identity.serving(tmp_path, provider.oidc(), rules={"team": ["blue"]}) as browser:
        answer = await sign_in(browser, provider)
        assert answer.status_code == 502
        assert browser.session is None


@pytest.mark.parametrize(
    ("method", "header", "form"),
    [
        ("client_secret_basic", "Basic aGF3c2U6cytlJTJCYyUyRnIlMjV0", None),
        ("client_secret_post", None, "s e+c/r%t"),
        ("none", None, None),
    ],
)
async def test_the_client_proves_itself_as_the_provider_wants(
    method: str, header: str | None, form: str | None, provider: BadProvider, tmp_path: Path
) -> None:
    oidc = provider.oidc(token_endpoint_auth_method=method, material_id=f"access/{identity.POLICY_UID}/oidc")
    async with identity.serving(tmp_path, oidc) as browser:
        assert (await sign_in(browser, provider)).status_code == 303
    (_, fields, sent) = provider.asked[0]
    assert fields.get("Authorization") == header
    assert sent.get("client_secret") == form


async def test_a_provider_that_does_not_answer_is_named(provider: BadProvider, tmp_path: Path) -> None:
    async with identity.serving(tmp_path, provider.oidc(token_endpoint="http://127.0.0.1:9/token")) as browser:
        answer = await sign_in(browser, provider)
        assert answer.status_code == 502
        assert "cannot be reached" in answer.text


async def test_an_address_that_only_the_cluster_reaches_is_not_asked(provider: BadProvider, tmp_path: Path) -> None:
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        del browser.configuration.objects["fleet"].fleet.allowed_cidrs[:]
        answer = await sign_in(browser, provider)
        assert answer.status_code == 502
        assert provider.asked == []


async def test_an_answer_without_end_is_cut(provider: BadProvider, tmp_path: Path) -> None:
    provider.answer = lambda answer: answer | {"filling": "x" * 1_000_000}
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        answer = await sign_in(browser, provider)
        assert answer.status_code == 502
        assert "too long" in answer.text


async def test_requests_that_come_together_renew_once(provider: BadProvider, tmp_path: Path) -> None:
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        assert (await sign_in(browser, provider)).status_code == 303
        kept = dict(browser.cookies)
        provider.hold.clear()
        provider.asked_again.clear()
        together = [asyncio.ensure_future(browser.refresh()) for _ in range(8)]
        await provider.asked_again.wait()
        provider.hold.set()
        assert {answer.status_code for answer in await asyncio.gather(*together)} == {200}
        browser.cookies = kept  # one more of the same browser, which had not seen the newer cookie yet
        assert (await browser.refresh()).status_code == 200
        assert len(provider.asked) == 2


async def test_a_renewal_of_another_user_is_refused(provider: BadProvider, tmp_path: Path) -> None:
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        assert (await sign_in(browser, provider)).status_code == 303
        provider.change = with_(sub="eve")
        assert (await browser.refresh()).status_code == 502


async def test_a_renewal_that_the_provider_refuses_signs_out(provider: BadProvider, tmp_path: Path) -> None:
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        assert (await sign_in(browser, provider)).status_code == 303
        provider.status = 400
        assert (await browser.refresh()).status_code == 401
        assert browser.cookies == {}


async def test_a_provider_that_is_away_does_not_sign_out(provider: BadProvider, tmp_path: Path) -> None:
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        assert (await sign_in(browser, provider)).status_code == 303
        provider.status = 503
        assert (await browser.refresh()).status_code == 502
        provider.status = 200
        assert (await browser.refresh()).status_code == 200


async def test_a_renewal_without_id_token_asks_userinfo_and_keeps_the_rest(
    provider: BadProvider, tmp_path: Path
) -> None:
    async with identity.serving(tmp_path, provider.oidc(), rules={"team": ["blue"], "floor": ["3"]}) as browser:
        provider.change = with_(team="blue", floor=3)
        assert (await sign_in(browser, provider)).status_code == 303
        provider.userinfo = {"sub": "ada", "team": "red"}
        provider.answer = lambda answer: {"access_token": "at-2"}
        assert (await browser.refresh()).status_code == 200
        assert browser.session is not None
        assert list(browser.session.claims["team"].values) == ["red"]
        assert list(browser.session.claims["floor"].values) == ["3"]


async def test_many_groups_still_fit_a_cookie(provider: BadProvider, tmp_path: Path) -> None:
    groups = [f"department-{number:04d}-of-the-company" for number in range(200)]
    provider.change = with_(groups=groups)
    async with identity.serving(tmp_path, provider.oidc(), rules={"groups": [groups[199]]}) as browser:
        assert (await sign_in(browser, provider)).status_code == 303
        assert browser.session is not None
        assert list(browser.session.groups) == [groups[199]]
        assert cookies.REFRESH + "-1" in browser.cookies
        assert (await browser.refresh()).status_code == 200


LOGOUT_EVENT = {"http://schemas.openid.net/event/backchannel-logout": {}}


async def test_the_provider_ends_one_session_by_its_sid(provider: BadProvider, tmp_path: Path) -> None:
    provider.change = with_(sid="s-1")
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        assert (await sign_in(browser, provider)).status_code == 303
        session = browser.session
        assert session is not None
        token = provider.sign(provider.claims(jti="j-1", events=LOGOUT_EVENT, sid="s-1"))
        assert (await browser.notify(token)).status_code == 200
        assert list(browser.ended[0]) == [session.provider_mark]
        assert (await browser.refresh()).status_code == 401
        assert (await browser.notify(token)).status_code == 400  # used


async def test_the_provider_ends_all_sessions_of_a_user(provider: BadProvider, tmp_path: Path) -> None:
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        assert (await sign_in(browser, provider)).status_code == 303
        token = provider.sign(provider.claims(jti="j-1", events=LOGOUT_EVENT))
        assert (await browser.notify(token)).status_code == 200
        assert (await browser.refresh()).status_code == 401
        browser.clock.ahead_s = 5
        assert (await sign_in(browser, provider)).status_code == 303  # a later sign-in is another matter
        assert (await browser.refresh()).status_code == 200


NO_LOGOUT: dict[str, Callable[[Claims], Claims]] = {
    "an ID token": without("events"),
    "another event": with_(events={"http://schemas.openid.net/event/other": {}}),
    "an event that is no object": with_(events={"http://schemas.openid.net/event/backchannel-logout": "yes"}),
    "a nonce": with_(nonce="n"),
    "no jti": without("jti"),
    "nobody": without("sub"),
    "another client": with_(aud="somebody"),
    "another issuer": with_(iss="http://127.0.0.1:1"),
    "old": with_(iat=int(time.time()) - 7200),
}


@pytest.mark.parametrize("case", NO_LOGOUT)
async def test_what_is_no_logout_token_ends_nothing(case: str, provider: BadProvider, tmp_path: Path) -> None:
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        token = provider.sign(NO_LOGOUT[case](provider.claims(jti="j-1", events=LOGOUT_EVENT)))
        assert (await browser.notify(token)).status_code == 400
        assert browser.ended == []


async def test_a_logout_token_is_no_id_token(provider: BadProvider, tmp_path: Path) -> None:
    provider.header |= {"typ": "logout+jwt"}
    async with identity.serving(tmp_path, provider.oidc()) as browser:
        assert (await sign_in(browser, provider)).status_code == 502
