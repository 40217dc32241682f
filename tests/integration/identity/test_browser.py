"""Signing in as people do: in Chromium, at a real provider, through exit node, agent and app."""

import json
from collections.abc import Iterator

import pytest

from support import browser, guarded
from support.browser import Chromium
from support.guarded import Guarded


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    rules = {"groups": ["staff"]}
    with guarded.serving(tmp_path_factory.mktemp("browser"), rules=rules) as made:
        yield made


@pytest.fixture(scope="module")
def started(fleet: Guarded) -> Iterator[Chromium]:
    domain, address = fleet.fleet.trial.fleet.domain, fleet.fleet.nodes[0].place.address
    with browser.running({f"*.{domain}": address}) as chromium:
        yield chromium


@pytest.fixture
def chromium(started: Chromium) -> Chromium:
    started("fresh")
    return started


def seen_by_app(page: dict[str, str]) -> dict[str, list[str]]:
    """Headers that the app shows."""
    headers: dict[str, list[str]] = json.loads(page["text"])["headers"]
    return headers


def test_a_person_signs_in_sees_the_app_and_signs_out(fleet: Guarded, chromium: Chromium) -> None:
    page = chromium("open", url=f"{fleet.origin()}/headers?from=bookmark")
    assert page["url"].startswith(fleet.oidc.issuer)
    page = chromium("signIn", login="staff-ada")
    assert page["url"] == f"{fleet.origin()}/headers?from=bookmark"
    headers = seen_by_app(page)
    assert headers["x-hawse-user"] == ["staff-ada"]
    assert "cookie" not in headers
    assert "authorization" not in headers
    assert "eyJ" not in page["text"]

    ours = {cookie["name"]: cookie for cookie in chromium("cookies") if cookie["name"].startswith("__Host-hawse")}
    assert set(ours) == {"__Host-hawse", "__Host-hawse-refresh-0"}
    for cookie in ours.values():
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Lax")
        assert cookie["domain"] == fleet.origin().removeprefix("https://").partition(":")[0]  # no leading dot
    scripted = chromium("scripted", path="/headers")
    assert (scripted["cookie"], scripted["status"]) == ("", 200)

    page = chromium("open", url=f"{fleet.origin()}/.hawse/logout")
    assert page["url"].startswith(fleet.oidc.issuer)
    page = chromium("signOut")
    assert page["url"].startswith(f"{fleet.origin()}/.hawse/logout")
    assert "You are signed out." in page["text"]
    page = chromium("open", url=f"{fleet.origin()}/headers")
    assert page["url"].startswith(fleet.oidc.issuer)  # which has forgotten them too:
    assert "x-hawse-user" in seen_by_app(chromium("signIn", login="staff-bea"))


def test_somebody_else_is_told_so(fleet: Guarded, chromium: Chromium) -> None:
    chromium("open", url=f"{fleet.origin()}/headers")
    page = chromium("signIn", login="mallory")
    assert page["url"] == f"{fleet.origin()}/headers"
    assert "HAWSE-1019" in page["text"]


def test_a_session_that_has_expired_is_renewed_unseen(fleet: Guarded, chromium: Chromium) -> None:
    chromium("open", url=f"{fleet.origin()}/")
    chromium("signIn", login="staff-ada")
    chromium("forget", name="__Host-hawse")
    scripted = chromium("scripted", path="/headers")
    assert scripted["status"] == 200
    assert "__Host-hawse" in {cookie["name"] for cookie in chromium("cookies")}
    assert "__Host-hawse" not in scripted["text"]


def test_a_script_without_a_session_gets_401(fleet: Guarded, chromium: Chromium) -> None:
    chromium("open", url=f"{fleet.origin()}/")
    chromium("signIn", login="staff-ada")
    for name in ("__Host-hawse", "__Host-hawse-refresh-0"):
        chromium("forget", name=name)
    assert chromium("scripted", path="/headers")["status"] == 401


def test_cookies_of_one_host_are_nothing_on_another(fleet: Guarded, chromium: Chromium) -> None:
    chromium("open", url=f"{fleet.origin()}/headers")
    chromium("signIn", login="staff-ada")
    stolen = [cookie for cookie in chromium("cookies") if cookie["name"].startswith("__Host-hawse")]
    chromium("fresh")
    replayed = [
        {"name": cookie["name"], "value": cookie["value"], "url": fleet.origin(1), "secure": True} for cookie in stolen
    ]
    chromium("addCookies", cookies=replayed)
    assert chromium("open", url=f"{fleet.origin(1)}/")["url"].startswith(fleet.oidc.issuer)
