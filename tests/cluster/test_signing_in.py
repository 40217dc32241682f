"""Signing in from kubectl to the app: the operator discovers a real provider, exit nodes check and renew sessions."""

import contextlib
import copy
import http.server
import ssl
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from hawse_api import names
from support import identity, oidc_provider
from support.guarded import client
from support.oidc_provider import Person, Running
from support.operator import FLEET, SYSTEM, Api, tunnel, wait_for
from support.whole import HOST, TEAM, TUNNEL, installed, laptop, without_operator

pytestmark = pytest.mark.timeout(900)  # a cold machine builds Helm first
SOON_S = 60.0
PAGE = {"accept": "text/html"}


class Tells(http.server.BaseHTTPRequestHandler):
    """Answers with the header fields that reached it."""

    def do_GET(self) -> None:
        body = "\n".join(f"{name.lower()}: {value}" for name, value in self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with oidc_provider.running(tmp_path_factory.mktemp("provider"), [client(f"https://{HOST}")]) as made:
        yield made


@pytest.fixture(scope="module")
def api(provider: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("signing-in")
    app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tells)
    threading.Thread(target=app.serve_forever, name="app", daemon=True).start()
    regions = {"eu-1": "eu-west", "us-1": "us-east"}
    with installed(directory, regions=regions) as api, laptop(directory, api, app.server_port):
        fleet = copy.deepcopy(FLEET)
        fleet["spec"]["targets"] = {"allowedCIDRs": ["127.0.0.0/8"]}  # where the provider is
        api.apply(fleet)
        yield api
    app.shutdown()
    app.server_close()


def policy(provider: Running, **more: Any) -> dict[str, Any]:
    oidc = {
        "issuer": provider.issuer,
        "clientID": oidc_provider.CLIENT_ID,
        "clientSecretRef": {"name": "oidc"},
        "scopes": ["email", "groups"],
        **more,
    }
    rules = [{"name": "staff", "claim": "groups", "anyOf": ["staff"]}]
    return {
        "apiVersion": names.API_VERSION,
        "kind": "AccessPolicy",
        "metadata": {"name": "people", "namespace": TEAM},
        "spec": {"oidc": oidc, "authorization": {"rules": rules}},
    }


SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "oidc", "namespace": TEAM},
    "stringData": {"clientSecret": identity.SECRET},
}


@contextlib.contextmanager
def visitor(api: Api, exit_node: str) -> Iterator[httpx.Client]:
    """A browser at an exit node's pod, whose certificate is the operator's own."""
    (pod,) = api.list("pods", "-n", SYSTEM, "-l", f"{names.LABEL_EXIT_NODE}={exit_node}")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def name_it(request: httpx.Request) -> None:
        request.extensions = {**request.extensions, "sni_hostname": HOST}

    with httpx.Client(
        base_url=f"https://{pod['status']['podIP']}:8443",
        headers={"host": HOST, **PAGE},
        verify=context,
        trust_env=False,
        timeout=20.0,
        event_hooks={"request": [name_it]},
    ) as http:
        yield http


def sign_in(http: httpx.Client, person: Person) -> httpx.Response:
    begun = http.get(http.get("/").headers["location"])
    back = urlsplit(person.sign_in(begun.headers["location"]))
    assert back.netloc == HOST
    done = http.get(f"{back.path}?{back.query}")
    assert done.status_code == 303, done.text
    return http.get("/")


def as_cookies(http: httpx.Client) -> dict[str, str]:
    """What a thief would copy."""
    return {"cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in http.cookies.jar), **PAGE}


def test_a_policy_is_ready_once_its_provider_was_discovered(api: Api, provider: Running) -> None:
    api.apply(tunnel(TUNNEL, TEAM, access={"policyRef": {"name": "people"}}), SECRET)
    api.apply(policy(provider, issuer="http://127.0.0.1:9"))
    said = api.wait_reason("accesspolicy", "people", "Discovered", "ProviderUnreachable", TEAM, timeout_s=SOON_S)
    assert "http://127.0.0.1:9/.well-known/openid-configuration" in said["message"]
    with visitor(api, "eu-1") as http:
        wait_for("it is closed", lambda: http.get("/").status_code == 503, timeout_s=SOON_S)
        api.apply(policy(provider))
        api.wait_reason("accesspolicy", "people", "Ready", "Ready", TEAM, timeout_s=SOON_S)
        wait_for("visitors are led to the login", lambda: http.get("/").status_code == 303, timeout_s=SOON_S)
    api.wait_reason("tunnel", TUNNEL, "Ready", "Ready", TEAM, timeout_s=SOON_S)


def test_sessions_hold_at_every_exit_node_and_end_at_all_of_them(api: Api) -> None:
    with visitor(api, "eu-1") as europe, visitor(api, "us-1") as america:
        seen = sign_in(europe, Person("staff-ada")).text
        assert "x-hawse-user: staff-ada" in seen
        assert "cookie" not in seen
        copied = as_cookies(europe)
        assert america.get("/", headers=copied).status_code == 200
        assert europe.get("/.hawse/logout").status_code == 303
        assert europe.get("/", headers=copied).status_code == 303
        wait_for("it is over there too", lambda: america.get("/", headers=copied).status_code == 303)


def test_whom_no_rule_names_stays_out(api: Api) -> None:
    with visitor(api, "us-1") as http:
        assert sign_in(http, Person("mallory")).status_code == 403


def test_sessions_are_checked_and_renewed_while_the_operator_is_away(api: Api) -> None:
    with visitor(api, "eu-1") as http:
        assert sign_in(http, Person("staff-ada")).status_code == 200
        with without_operator(api):
            assert http.get("/").status_code == 200
            http.cookies.delete("__Host-hawse")
            assert http.get("/").status_code == 200
            assert "__Host-hawse" in http.cookies
        api.wait_reason("accesspolicy", "people", "Ready", "Ready", TEAM, timeout_s=SOON_S)
        assert http.get("/").status_code == 200  # under the next leader's keys, which are the same
