"""Access policies from kubectl to the app: chart's operator, real exit node and agent, an app that tells all."""

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from hawse_api import names
from support.issuer import certificate, issuing, token
from support.operator import FLEET, SYSTEM, Api, namespace, tunnel, wait_for
from support.whole import TEAM, TUNNEL, installed, laptop

pytestmark = pytest.mark.timeout(900)  # a cold machine builds Helm first
SOON_S = 45.0
"""Secrets are looked at every 10 s; a busy machine takes its time for the rest."""
ADA = ("authorization", "Basic " + base64.b64encode(b"ada:U*U").decode())
HASH = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""Of the password "U*U" (a vector of crypt_blowfish)."""
KEY = "0123456789abcdef"
PEM: dict[str, Path] = {}
"""The issuer's certificate, which the operator trusts."""
FORGED = [("x-hawse-user", "root"), ("X_Hawse_User", "root"), ("x-hawse-groups", "admins"), ("cookie", "a=1")]


class Tells(http.server.BaseHTTPRequestHandler):
    """Answers with the header fields that reached it."""

    def do_GET(self) -> None:
        body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("access")
    trust = {"SSL_CERT_FILE": str(PEM.setdefault("issuer", certificate(directory)))}
    app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tells)
    threading.Thread(target=app.serve_forever, name="app", daemon=True).start()
    with (
        installed(directory, regions={"eu-1": "eu-west"}, environment=trust) as api,
        laptop(directory, api, app.server_port),
    ):
        yield api
    app.shutdown()
    app.server_close()


def secret(name: str, **values: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": TEAM},
        "stringData": values,
    }


def policy(**more: Any) -> dict[str, Any]:
    spec = {"basic": {"secretRef": {"name": "users"}}, "apiKeys": {"secretRef": {"name": "keys"}}, **more}
    metadata = {"name": "staff", "namespace": TEAM}
    return {"apiVersion": names.API_VERSION, "kind": "AccessPolicy", "metadata": metadata, "spec": spec}


def guarded(name: str, where: str = TEAM, agent: str = "laptop", **ref: str) -> dict[str, Any]:
    return tunnel(name, where, agent=agent, access={"policyRef": {"name": "staff", **ref}})


def visit(api: Api, name: str, *fields: tuple[str, str]) -> httpx.Response:
    """GET / at the exit node's pod. Its certificate is the operator's own."""
    (pod,) = api.list("pods", "-n", SYSTEM, "-l", f"{names.LABEL_EXIT_NODE}=eu-1")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host = f"{name}.tunnels.example.com"
    with httpx.Client(verify=context, trust_env=False, timeout=20.0) as client:
        url = f"https://{pod['status']['podIP']}:8443/"
        return client.get(url, headers=[("host", host), *fields], extensions={"sni_hostname": host})


def outcome(api: Api, name: str, *fields: tuple[str, str]) -> str:
    """The status, and the code of a page of the edge."""
    answer = visit(api, name, *fields)
    return f"{answer.status_code} {answer.headers.get('x-hawse-error', '')}".strip()


def wait_outcome(api: Api, expected: str, name: str, *fields: tuple[str, str]) -> None:
    wait_for(f"{name} answers {expected}", lambda: outcome(api, name, *fields) == expected, timeout_s=SOON_S)


def test_from_its_policy_on_a_tunnel_asks_and_the_app_learns_who_visits_and_nothing_else(api: Api) -> None:
    assert outcome(api, TUNNEL) == "200"
    api.apply(guarded(TUNNEL))
    api.wait_reason("tunnel", TUNNEL, "ResolvedRefs", "AccessPolicyNotFound", TEAM)
    wait_outcome(api, "503 HAWSE-1020", TUNNEL, ADA)
    api.apply(policy(), secret("users", htpasswd=f"ada:{HASH}\n"), secret("keys", ci=KEY))
    api.wait_reason("accesspolicy", "staff", "Ready", "Ready", TEAM, timeout_s=SOON_S)
    wait_outcome(api, "200", TUNNEL, ADA)
    api.wait_reason("tunnel", TUNNEL, "Ready", "Ready", TEAM, timeout_s=SOON_S)

    refused = visit(api, TUNNEL, *FORGED)
    assert (refused.status_code, refused.headers["x-hawse-error"]) == (401, "HAWSE-1018")
    assert refused.headers["www-authenticate"].startswith('Basic realm="shop.tunnels.example.com"')
    assert outcome(api, TUNNEL, ("x-api-key", KEY[:-1] + "g")) == "401 HAWSE-1018"
    for credential, user in ((ADA, "ada"), (("x-api-key", KEY), "ci")):
        seen = visit(api, TUNNEL, credential, *FORGED).json()
        ours = sorted(name for name, _ in seen if "hawse" in name)
        assert ours == ["x-hawse-request-id", "x-hawse-user"], seen
        assert ["x-hawse-user", user] in seen
        assert not {name for name, _ in seen} & {"authorization", "x-api-key"}
        assert ["cookie", "a=1"] in seen


def test_two_tunnels_share_a_policy_and_each_waits_for_it(api: Api) -> None:
    api.apply(guarded("blog", agent="nobody"))
    wait_outcome(api, "503 HAWSE-1008", "blog")  # its token is not there
    agent = {"apiVersion": names.API_VERSION, "kind": "AgentToken", "metadata": {"name": "nobody", "namespace": TEAM}}
    api.apply({**agent, "spec": {}})
    wait_outcome(api, "401 HAWSE-1018", "blog")
    assert outcome(api, "blog", ADA) == "503 HAWSE-1002", "let in, and no agent is there"
    assert outcome(api, TUNNEL, ADA) == "200"


def test_a_secret_that_goes_closes_and_one_that_comes_back_opens(api: Api) -> None:
    api.delete("secret", "users", TEAM)
    wait_outcome(api, "503 HAWSE-1020", TUNNEL, ADA)
    assert outcome(api, TUNNEL, ("x-api-key", KEY)) == "503 HAWSE-1020", "the other method does not help"
    said = api.wait_reason("accesspolicy", "staff", "Ready", "SecretNotFound", TEAM)
    assert 'Secret "users" does not exist in namespace team-a' in said["message"]
    api.wait_reason("tunnel", TUNNEL, "Ready", "AccessPolicyNotReady", TEAM)
    api.apply(secret("users", htpasswd="ada:plain"))
    api.wait_reason("accesspolicy", "staff", "Ready", "SecretUnreadable", TEAM, timeout_s=SOON_S)
    assert outcome(api, TUNNEL, ADA) == "503 HAWSE-1020"
    api.apply(secret("users", htpasswd=f"ada:{HASH}\n"))
    wait_outcome(api, "200", TUNNEL, ADA)
    api.wait_reason("tunnel", TUNNEL, "Ready", "Ready", TEAM, timeout_s=SOON_S)


def test_another_namespace_may_name_it_only_if_it_says_so(api: Api) -> None:
    api.apply(namespace("team-b"), guarded("theirs", "team-b", namespace=TEAM))
    agent = {
        "apiVersion": names.API_VERSION,
        "kind": "AgentToken",
        "metadata": {"name": "laptop", "namespace": "team-b"},
    }
    api.apply({**agent, "spec": {}})
    api.wait_reason("tunnel", "theirs", "ResolvedRefs", "AccessPolicyNotAllowed", "team-b")
    wait_outcome(api, "503 HAWSE-1020", "theirs", ADA)
    api.apply(policy(allowedNamespaces={"from": "All"}))
    wait_outcome(api, "401 HAWSE-1018", "theirs")
    wait_outcome(api, "503 HAWSE-1002", "theirs", ADA)
    api.apply(policy())
    wait_outcome(api, "503 HAWSE-1020", "theirs", ADA)
    assert outcome(api, TUNNEL, ADA) == "200"


def test_a_fleet_may_require_a_policy_of_tunnels_that_name_none(api: Api) -> None:
    api.apply(tunnel(TUNNEL, TEAM))
    wait_outcome(api, "200", TUNNEL)
    defaults = {"policyRef": {"name": "staff", "namespace": TEAM}, "mode": "Required"}
    spec: dict[str, Any] = {**FLEET["spec"], "accessDefaults": defaults}  # type: ignore[dict-item]
    api.apply({**FLEET, "spec": spec})
    wait_outcome(api, "401 HAWSE-1018", TUNNEL)
    wait_outcome(api, "200", TUNNEL, ADA)
    api.apply(FLEET, guarded(TUNNEL))
    wait_outcome(api, "401 HAWSE-1018", TUNNEL)


def test_tokens_let_in_also_while_their_issuer_is_away(api: Api) -> None:
    spec: dict[str, Any] = {**FLEET["spec"], "targets": {"allowedCIDRs": ["127.0.0.0/8"]}}  # type: ignore[dict-item]
    api.apply({**FLEET, "spec": spec}, guarded(TUNNEL))
    with issuing(PEM["issuer"]) as url:
        issuer = {"issuer": url, "audiences": ["shop"], "jwksURI": f"{url}/keys"}
        api.apply(policy(jwt=[issuer]))
        bearer = ("authorization", f"Bearer {token(url, email='ada@example.org', groups=['staff'])}")
        wait_outcome(api, "200", TUNNEL, bearer)
        seen = visit(api, TUNNEL, bearer, *FORGED).json()
        told = [["x-hawse-email", "ada@example.org"], ["x-hawse-groups", "staff"], ["x-hawse-user", "ada"]]
        assert sorted(field for field in seen if field[0].startswith("x-hawse-") and "request" not in field[0]) == told
        assert "authorization" not in {name for name, _ in seen}
        forged = token(url, key=ed25519.Ed25519PrivateKey.generate())
        assert outcome(api, TUNNEL, ("authorization", f"Bearer {forged}")) == "401 HAWSE-1018"
    api.apply(policy(jwt=[issuer], mode="Any", ipRanges={"deny": ["192.0.2.0/24"]}))  # makes the operator look again
    assert outcome(api, TUNNEL, bearer) == "200"
    api.apply(policy(jwt=[{**issuer, "jwksURI": "https://127.0.0.1:1/keys"}]))
    wait_outcome(api, "503 HAWSE-1020", TUNNEL, bearer)
    said = api.wait_reason("accesspolicy", "staff", "Ready", "KeysNotFetched", TEAM)
    assert "https://127.0.0.1:1/keys: it cannot be reached" in said["message"]
    api.apply(policy())
    wait_outcome(api, "200", TUNNEL, ADA)


def test_a_policy_that_is_deleted_closes_all_its_tunnels(api: Api) -> None:
    api.delete("accesspolicy", "staff", TEAM)
    for name in (TUNNEL, "blog"):
        wait_outcome(api, "503 HAWSE-1020", name, ADA)
        api.wait_reason("tunnel", name, "ResolvedRefs", "AccessPolicyNotFound", TEAM)
    api.apply(policy())
    wait_outcome(api, "200", TUNNEL, ADA)
    api.apply(tunnel(TUNNEL, TEAM))
    wait_outcome(api, "200", TUNNEL)
