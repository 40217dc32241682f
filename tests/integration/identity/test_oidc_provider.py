"""Signing in at npm's `oidc-provider`: the whole way, and what must not work on it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from hawse_identity import cookies
from support import identity, oidc_provider
from support.oidc_provider import Person, Running

CLIENT = {
    "client_id": oidc_provider.CLIENT_ID,
    "client_secret": identity.SECRET,
    "redirect_uris": [f"{identity.ORIGIN}/.hawse/callback"],
    "post_logout_redirect_uris": [f"{identity.ORIGIN}/.hawse/logout"],
    "grant_types": ["authorization_code", "refresh_token"],
    "backchannel_logout_session_required": True,
}
MATERIAL = f"access/{identity.POLICY_UID}/oidc"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with oidc_provider.running(tmp_path_factory.mktemp("provider"), [CLIENT]) as made:
        yield made


@pytest.fixture
async def browser(provider: Running, tmp_path: Path) -> AsyncIterator[identity.Browser]:
    async with identity.serving(tmp_path, provider.oidc(material_id=MATERIAL)) as made:
        yield made


async def sign_in(browser: identity.Browser, person: Person, to: str = "/") -> str:
    """Where the browser is led after the whole way."""
    begun = await browser.get(f"/.hawse/login?to={to}")
    back = person.sign_in(begun.headers["location"])
    assert back.startswith(f"{identity.ORIGIN}/.hawse/callback?"), back
    answer = await browser.get(back)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_a_person_signs_in_and_comes_back_to_the_page(browser: identity.Browser) -> None:
    assert await sign_in(browser, Person("staff-ada"), "/reports") == f"{identity.ORIGIN}/reports"
    session = browser.session
    assert session is not None
    assert (session.subject, session.email) == ("staff-ada", "staff-ada@example.com")
    assert list(session.groups) == ["staff", "everyone"]
    assert (session.hostname, session.policy_uid) == (identity.HOST, identity.POLICY_UID)
    assert session.expires_at - session.issued_at == 300
    assert set(browser.cookies) == {cookies.SESSION, f"{cookies.REFRESH}-0"}


async def test_provider_tokens_cannot_be_read_from_the_cookies(browser: identity.Browser) -> None:
    await sign_in(browser, Person("ada"))
    assert not any("eyJhbGciOiJSUzI1NiI" in value for value in browser.cookies.values())


async def test_a_session_is_renewed_with_a_token_that_rotates(browser: identity.Browser) -> None:
    await sign_in(browser, Person("ada"))
    first, kept = browser.session, dict(browser.cookies)
    browser.clock.ahead_s = 40  # past the time for which a renewal is told again
    for _ in range(3):
        assert (await browser.refresh()).status_code == 200
    assert first is not None
    assert browser.session is not None
    assert browser.session.issued_at > first.issued_at
    assert browser.session.id == first.id
    assert browser.cookies != kept


async def test_signing_out_ends_it_at_the_provider_and_for_copies(browser: identity.Browser) -> None:
    person = Person("ada")
    await sign_in(browser, person)
    copied = dict(browser.cookies)
    answer = await browser.get("/.hawse/logout")
    assert answer.status_code == 303
    assert browser.cookies == {}
    assert person.sign_out(answer.headers["location"]).startswith(f"{identity.ORIGIN}/.hawse/logout")
    ended = await browser.get("/.hawse/logout")
    assert ended.status_code == 200
    assert "signed out" in ended.text
    browser.cookies = copied
    assert (await browser.refresh()).status_code == 401
    assert len(browser.ended) == 1
    assert person.is_asked_to_sign_in((await browser.get("/.hawse/login")).headers["location"])


async def test_a_replayed_answer_is_refused(browser: identity.Browser) -> None:
    begun = await browser.get("/.hawse/login")
    flow = dict(browser.cookies)
    back = Person("ada").sign_in(begun.headers["location"])
    assert (await browser.get(back)).status_code == 303
    browser.cookies = flow  # as if it had not been cleared
    answer = await browser.get(back)
    assert (answer.status_code, answer.headers["x-hawse-error"]) == (400, "HAWSE-1021")
    assert "counts once" in answer.text
    assert browser.session is None


async def test_a_used_code_is_refused_by_the_provider_too(browser: identity.Browser) -> None:
    begun = await browser.get("/.hawse/login")
    person = Person("ada")
    back = person.sign_in(begun.headers["location"])
    assert (await browser.get(back)).status_code == 303
    code = parse_qs(urlsplit(back).query)["code"][0]
    asked = await browser.begin()
    answer = await browser.get(f"/.hawse/callback?code={code}&state={asked['state']}")
    assert (answer.status_code, answer.headers["x-hawse-error"]) == (400, "HAWSE-1021")


async def test_a_forged_or_foreign_state_is_refused(browser: identity.Browser) -> None:
    asked = await browser.begin()
    back = Person("ada").sign_in((await browser.get("/.hawse/login")).headers["location"])
    for state in ("", "x", f"{asked['state'].partition('.')[0]}.forged", "." * 5000):
        answer = await browser.get(f"/.hawse/callback?code=c&state={state}")
        assert answer.status_code == 400
    browser.cookies = {}  # another browser, that was sent a finished answer (login CSRF)
    assert (await browser.get(back)).status_code == 400
    assert browser.session is None


async def test_a_sign_in_takes_ten_minutes_at_most(browser: identity.Browser) -> None:
    back = Person("ada").sign_in((await browser.get("/.hawse/login")).headers["location"])
    browser.clock.ahead_s = 601
    assert (await browser.get(back)).status_code == 400


async def test_another_issuer_in_the_answer_is_refused(browser: identity.Browser) -> None:
    asked = await browser.begin()
    answer = await browser.get(f"/.hawse/callback?code=c&state={asked['state']}&iss=https://evil.example")
    assert answer.status_code == 502
    assert "(iss)" in answer.text


async def test_the_providers_no_is_told(browser: identity.Browser) -> None:
    asked = await browser.begin()
    answer = await browser.get(f"/.hawse/callback?error=access_denied&state={asked['state']}")
    assert answer.status_code == 400
    assert "access_denied" in answer.text
    answer = await browser.get(f"/.hawse/callback?error=<script>&state={asked['state']}")
    assert "<script>" not in answer.text


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:x=1",
        "/.hawse/logout",
        "/a%20b",
        "",
        "/" + "x" * 2000,
    ],
)
async def test_nobody_is_led_away_after_signing_in(to: str, browser: identity.Browser) -> None:
    assert await sign_in(browser, Person("ada"), to) == f"{identity.ORIGIN}/"


async def test_two_tabs_do_not_disturb_each_other_and_old_ones_go(browser: identity.Browser) -> None:
    first = await browser.get("/.hawse/login?to=/first")
    second = await browser.get("/.hawse/login?to=/second")
    person = Person("ada")
    assert (await browser.get(person.sign_in(first.headers["location"]))).headers["location"].endswith("/first")
    assert (await browser.get(person.sign_in(second.headers["location"]))).headers["location"].endswith("/second")
    for _ in range(9):
        browser.clock.ahead_s += 1
        await browser.get("/.hawse/login")
    assert len([name for name in browser.cookies if name.startswith(cookies.FLOW)]) == 4


async def test_cookies_of_one_host_mean_nothing_on_another(browser: identity.Browser) -> None:
    await sign_in(browser, Person("ada"))
    other = "4d1c3f02-0000-4000-8000-000000000002"
    told = browser.configuration
    twin = told.objects[f"tunnel/{identity.TUNNEL_UID}"].tunnel
    copy = type(told.objects["fleet"])(key=f"tunnel/{other}", tunnel=twin)
    copy.tunnel.uid, copy.tunnel.hostname = other, "other.example.test"
    told.objects[copy.key] = copy
    told.materials[f"session/{other}"] = b"o" * 64
    browser.tunnel_uid = other
    assert browser.session is None
    assert (await browser.refresh()).status_code == 401


async def test_cookies_of_an_earlier_holder_mean_nothing(browser: identity.Browser) -> None:
    await sign_in(browser, Person("ada"))
    browser.configuration.materials[f"session/{identity.TUNNEL_UID}"] = b"n" * 64
    assert browser.session is None
    assert (await browser.refresh()).status_code == 401


async def test_a_sign_in_ends_after_its_lifetime(browser: identity.Browser) -> None:
    await sign_in(browser, Person("ada"))
    browser.clock.ahead_s = 12 * 3600 + 1
    assert (await browser.refresh()).status_code == 401


async def test_what_is_missing_here_closes_the_way(browser: identity.Browser) -> None:
    told = browser.configuration
    for key in (f"session/{identity.TUNNEL_UID}", MATERIAL):
        kept = told.materials.pop(key)
        answer = await browser.get("/.hawse/login")
        assert (answer.status_code, answer.headers["x-hawse-error"]) == (503, "HAWSE-1020")
        told.materials[key] = kept
    told.objects[f"access/{identity.POLICY_UID}"].access.broken = "the provider was never reached"
    assert "never reached" in (await browser.get("/.hawse/login")).text


async def test_the_provider_tells_when_somebody_signs_out_there(tmp_path: Path) -> None:
    notices: list[str] = []

    async def take(request: web.Request) -> web.Response:
        answer = await browser.notify(str((await request.post())["logout_token"]))
        notices.append(str(answer.status_code))
        return web.Response(status=answer.status_code)

    app = web.Application()
    app.add_routes([web.post("/notice", take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    uri = f"http://127.0.0.1:{runner.addresses[0][1]}/notice"
    try:
        with oidc_provider.running(tmp_path, [CLIENT | {"backchannel_logout_uri": uri}]) as provider:
            async with identity.serving(tmp_path, provider.oidc(material_id=MATERIAL)) as browser:
                person = Person("ada")
                await sign_in(browser, person)
                session = browser.session
                assert session is not None
                end = f"{provider.issuer}/session/end?client_id={oidc_provider.CLIENT_ID}"
                await asyncio.to_thread(person.sign_out, end)  # the notice comes meanwhile
                assert notices == ["200"], provider.log.read_text()
                assert list(browser.ended[0]) == [session.provider_mark]
                assert (await browser.refresh()).status_code == 401
    finally:
        await runner.cleanup()
