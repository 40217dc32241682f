"""Visitors sign in through exit node, agent and app: what the app sees of them, and who stays out."""

import json
from collections.abc import Iterator

import pytest

from support import guarded
from support.guarded import Guarded
from support.oidc_provider import Person


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    rules = {"groups": ["staff"]}
    with guarded.serving(tmp_path_factory.mktemp("guarded"), rules=rules) as made:
        yield made


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_the_app_sees_who_it_is_and_nothing_of_how(fleet: Guarded, http2: bool) -> None:
    with guarded.visitor(fleet, http2=http2) as http:
        page = guarded.sign_in(http, Person("staff-ada"), "/headers?x=1")
        assert page.status_code == 200
        forged = {"X-Hawse-User": "root", "X-Hawse-Groups": "wheel", "Cookie": "mine=1"}
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in http.cookies.jar)
        forged["Cookie"] = f"mine=1; {cookies}; __host-HAWSE-flow-x=y"
        seen = json.loads(http.get("/headers", headers=forged).text)["headers"]
        assert seen["x-hawse-user"] == ["staff-ada"]
        assert seen["x-hawse-email"] == ["staff-ada@example.com"]
        assert seen["x-hawse-groups"] == ["staff,everyone"]
        assert seen["cookie"] == ["mine=1"]
        dump = json.dumps(seen)
        assert "eyJ" not in dump  # no token of the provider, sealed or not
        assert "root" not in dump
        assert "wheel" not in dump
        assert len(http.cookies) == 2


def test_whom_no_rule_names_is_known_and_kept_out(fleet: Guarded) -> None:
    with guarded.visitor(fleet) as http:
        page = guarded.sign_in(http, Person("ada"))
        assert (page.status_code, page.headers["x-hawse-error"]) == (403, "HAWSE-1019")
        assert http.get("/.hawse/logout").status_code == 303  # to try again as somebody else


def test_apis_and_websockets_get_a_problem_and_not_a_page(fleet: Guarded) -> None:
    with guarded.visitor(fleet) as http:
        websocket = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        for fields in ({"Accept": "application/json"}, {"Sec-Fetch-Mode": "cors"}, websocket):
            answer = http.get("/ws", headers=fields)
            assert answer.status_code == 401
            assert answer.headers["x-hawse-error"] == "HAWSE-1018"
        answer = http.post("/upload", content=b"x", headers={"Accept": "*/*"})
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_session_that_is_gone_is_renewed_on_the_way(fleet: Guarded) -> None:
    with guarded.visitor(fleet) as http:
        guarded.sign_in(http, Person("staff-ada"))
        before = http.cookies["__Host-hawse-refresh-0"]
        http.cookies.delete("__Host-hawse")
        answer = http.post("/upload", content=b"body", headers={"Accept": "*/*"})
        assert answer.status_code == 200
        assert json.loads(answer.text)["bytes"] == 4
        assert http.cookies["__Host-hawse"]
        assert http.cookies["__Host-hawse-refresh-0"] != before


def test_signing_out_counts_at_once_for_copies_too(fleet: Guarded) -> None:
    with guarded.visitor(fleet) as http, guarded.visitor(fleet) as thief:
        assert guarded.sign_in(http, Person("staff-ada")).status_code == 200
        copied = {cookie.name: cookie.value for cookie in http.cookies.jar}
        thief.headers["cookie"] = "; ".join(f"{name}={value}" for name, value in copied.items())
        assert thief.get("/headers").status_code == 200
        assert http.get("/.hawse/logout").status_code == 303
        assert http.get("/").status_code == 303
        assert thief.get("/headers").status_code == 303
        assert thief.get("/headers", headers={"Accept": "*/*"}).status_code == 401


def test_cookies_of_one_host_open_no_other(fleet: Guarded) -> None:
    with guarded.visitor(fleet) as http, guarded.visitor(fleet, tunnel=1) as blog:
        assert guarded.sign_in(http, Person("staff-ada")).status_code == 200
        blog.headers["cookie"] = "; ".join(f"{cookie.name}={cookie.value}" for cookie in http.cookies.jar)
        assert blog.get("/", headers={"Accept": "*/*"}).status_code == 401
        assert blog.get("/").headers["location"] == "/.hawse/login?to=/"


def test_changed_cookies_open_nothing(fleet: Guarded) -> None:
    with guarded.visitor(fleet) as http:
        assert guarded.sign_in(http, Person("staff-ada")).status_code == 200
        session = http.cookies["__Host-hawse"]
        http.cookies.clear()
        for forged in (
            session[:-2] + "AA",
            session.replace("v1.", "v1.A"),
            session.partition(".")[0],
            "v1..",
            "x" * 4000,
        ):
            http.headers["cookie"] = f"__Host-hawse={forged}"
            assert http.get("/headers", headers={"Accept": "*/*"}).status_code == 401


def test_who_is_signed_in_goes_on_without_the_provider(fleet: Guarded) -> None:
    with guarded.visitor(fleet) as http:
        assert guarded.sign_in(http, Person("staff-ada")).status_code == 200
        kept, fleet.oidc.token_endpoint = fleet.oidc.token_endpoint, "http://127.0.0.1:9/token"
        try:
            fleet.write()
            fleet.fleet.nodes[0].process.wait_until(
                lambda: "read the file again" in fleet.fleet.nodes[0].process.err, "it has read the file"
            )
            assert http.get("/headers").status_code == 200
            http.cookies.delete("__Host-hawse")
            answer = http.get("/headers")
            assert (answer.status_code, answer.headers["x-hawse-error"]) == (502, "HAWSE-1022")
        finally:
            fleet.oidc.token_endpoint = kept
            fleet.write()
