"""Tunnels that lead to a Service and to a URL, and a hot standby, with the chart's operator and a real exit node."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.cluster import build_deployment, build_service, build_web_pod, new_cluster
from support.operator import FLEET, SYSTEM, Api, exit_node, namespace, token, tunnel, wait_for

pytestmark = pytest.mark.timeout(900)  # a cold machine builds Helm first
ROOT = Path(__file__).parents[2]
CLUSTER_IPS = "127.96.0.0/11"
"""Of the embedded cluster; a real one's lie in a private range, which Services may have."""


def in_team(*bodies: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**body, "metadata": {**body["metadata"], "namespace": "team-a"}} for body in bodies]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with new_cluster(tmp_path_factory.mktemp("targets")) as cluster:
        api = Api(cluster)
        api.apply(namespace(SYSTEM))
        chart, images = str(ROOT / "charts" / "hawse"), "image.tag=,exitNode.image.tag="
        cluster.helm("install", "hawse", chart, "-n", SYSTEM, "--set", images, "--timeout", "90s")
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/hawse-operator", "--timeout=90s", timeout_s=100)
        spec: dict[str, Any] = {**FLEET["spec"], "targets": {"allowedCIDRs": [CLUSTER_IPS]}}  # type: ignore[dict-item]
        api.apply({**FLEET, "spec": spec}, exit_node("eu-1", "eu-west"), namespace("team-a"), token("laptop", "team-a"))
        api.apply(*in_team(build_deployment("web", 1, build_web_pod()), build_service("web")))
        cluster.kubectl("-n", "team-a", "wait", "--for=condition=Available", "deployment/web", "--timeout=60s")
        wait_for("eu-1 is ready", lambda: is_ready(api, "eu-1"), timeout_s=90.0)
        yield api


def is_ready(api: Api, exit_node_name: str) -> bool:
    return api.condition("exitnode", exit_node_name, "Ready").get("status") == "True"


def visit(api: Api, name: str) -> httpx.Response:
    """GET / at the exit node's pod. Its certificate is the operator's own."""
    (pod,) = api.list("pods", "-n", SYSTEM, "-l", "hawse.dev/exit-node=eu-1")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host = f"{name}.tunnels.example.com"
    with httpx.Client(verify=context, trust_env=False, timeout=20.0) as client:
        url = f"https://{pod['status']['podIP']}:8443/"
        return client.get(url, headers={"host": host}, extensions={"sni_hostname": host})


def service(name: str, port: int | str = "http") -> dict[str, Any]:
    return {"type": "Service", "service": {"name": name, "port": port}}


def test_a_tunnel_leads_to_a_service_without_any_agent(api: Api) -> None:
    api.apply(tunnel("web", "team-a", target=service("web")))
    api.wait_reason("tunnel", "web", "Ready", "Ready", "team-a")
    assert api.condition("tunnel", "web", "TargetReady", "team-a")["reason"] == "Dialled"
    answer = visit(api, "web")
    assert (answer.status_code, answer.text.startswith("web-")) == (200, True), answer.text


def test_a_service_that_comes_later_is_found(api: Api) -> None:
    api.apply(tunnel("late", "team-a", target=service("late", 8080)))
    refused = api.wait_reason("tunnel", "late", "ResolvedRefs", "ServiceNotFound", "team-a")
    assert refused["message"] == 'Service "late" does not exist in namespace team-a.'
    body = build_service("late")
    body["spec"]["selector"] = {"app": "web"}
    api.apply(*in_team(body))
    api.wait_reason("tunnel", "late", "Programmed", "Programmed", "team-a")
    answer = visit(api, "late")
    assert answer.text.startswith("web-"), answer.text


@pytest.mark.parametrize("url", ["http://169.254.169.254", "http://127.0.0.1:8441", "https://[::1]"])
def test_a_url_into_the_cluster_is_refused_with_the_reason(api: Api, url: str) -> None:
    api.apply(tunnel("inside", "team-a", target={"type": "URL", "url": url}))

    def is_named() -> bool:
        found = api.condition("tunnel", "inside", "ResolvedRefs", "team-a")
        return found.get("reason") == "TargetNotAllowed" and url in found["message"]

    wait_for("it is refused", is_named)


def test_a_name_that_leads_into_the_cluster_is_refused_by_the_exit_node(api: Api) -> None:
    api.apply(tunnel("rebound", "team-a", target={"type": "URL", "url": "http://localhost:8441"}))
    api.wait_reason("tunnel", "rebound", "Programmed", "Programmed", "team-a")
    answer = visit(api, "rebound")
    assert (answer.status_code, answer.headers["x-hawse-error"]) == (502, "HAWSE-1016"), json.dumps(
        dict(answer.headers)
    )


def scale(api: Api, where: str, name: str, replicas: int) -> None:
    api.cluster.kubectl("-n", where, "scale", f"deployment/{name}", f"--replicas={replicas}")


def test_the_standby_answers_while_the_operator_is_away_and_is_told_when_it_is_back(api: Api) -> None:
    api.apply(*in_team(build_deployment("first", 1, build_web_pod()), build_service("first")))
    api.cluster.kubectl("-n", "team-a", "wait", "--for=condition=Available", "deployment/first", "--timeout=60s")
    check = {"interval": "500ms", "timeout": "1s"}
    standby = {"target": service("web"), "healthCheck": check, "failback": {"after": "1s"}}
    api.apply(tunnel("two", "team-a", target=service("first"), standby=standby))
    api.wait_reason("tunnel", "two", "Programmed", "Programmed", "team-a")
    wait_for("the first answers", lambda: visit(api, "two").text.startswith("first-"))

    scale(api, SYSTEM, "hawse-operator", 0)
    gone = "-l", "app.kubernetes.io/component=operator"
    wait_for("the operator is gone", lambda: not api.list("pods", "-n", SYSTEM, *gone), timeout_s=60.0)
    scale(api, "team-a", "first", 0)
    answers: list[httpx.Response] = []

    def is_from_standby() -> bool:
        answers.append(visit(api, "two"))
        return answers[-1].headers.get("x-hawse-target") == "standby"

    wait_for("the standby answers", is_from_standby)
    assert {answer.status_code for answer in answers} == {200}, "no request failed meanwhile"
    assert answers[-1].text.startswith("web-")

    scale(api, SYSTEM, "hawse-operator", 1)

    def active() -> str:
        return str(((api.get("tunnel", "two", "team-a") or {}).get("status") or {}).get("activeTarget"))

    wait_for("the operator tells of it", lambda: active() == "Standby", timeout_s=60.0)
    scale(api, "team-a", "first", 1)
    wait_for("the first answers again", lambda: visit(api, "two").text.startswith("first-"), timeout_s=60.0)
    wait_for("the operator tells of that too", lambda: active() == "Primary", timeout_s=60.0)

    def told() -> bool:
        events = api.list("events", "-n", "team-a")
        return {"FailedOver", "FailedBack"} <= {event["reason"] for event in events}

    wait_for("events were written", told)


def test_the_standby_serves_on_when_the_targets_token_is_deleted(api: Api) -> None:
    api.apply(token("doomed", "team-a"))
    agent = {"type": "Agent", "agent": {"tokenRef": {"name": "doomed"}}}
    api.apply(tunnel("orphan", "team-a", target=agent, standby={"target": service("web")}))
    api.wait_reason("tunnel", "orphan", "Programmed", "Programmed", "team-a")
    api.cluster.kubectl("-n", "team-a", "delete", "agenttoken", "doomed")
    missing = api.wait_reason("tunnel", "orphan", "ResolvedRefs", "TokenNotFound", "team-a")
    assert 'AgentToken "doomed" does not exist' in missing["message"]
    api.wait_reason("tunnel", "orphan", "Programmed", "Programmed", "team-a")
    answer = visit(api, "orphan")
    assert (answer.status_code, answer.headers.get("x-hawse-target")) == (200, "standby"), answer.text
    found = api.wait_reason("tunnel", "orphan", "TargetReady", "FailedOver", "team-a")
    assert found["status"] == "True"
