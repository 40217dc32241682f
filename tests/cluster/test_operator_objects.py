"""Children, Secrets and many Tunnels: made once, corrected, and never written without need."""

import base64
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import devcluster
from hawse_operator.k8s.events import CONTROLLER
from support.operator import (
    FLEET,
    SYSTEM,
    Api,
    Operator,
    cluster_with_crds,
    exit_node,
    namespace,
    running,
    token,
    tunnel,
    wait_for,
)

pytestmark = pytest.mark.timeout(420)
STATIC = {"type": "Static", "static": {"ips": ["203.0.113.7"]}}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devcluster.Cluster]:
    with cluster_with_crds(tmp_path_factory.mktemp("objects")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def operator(cluster: devcluster.Cluster) -> Iterator[Operator]:
    with running(cluster, HAWSE_RESYNC_SECONDS="4") as operator:
        Api(cluster).apply(FLEET, namespace("team-a"), exit_node("eu-1", "eu-west", address=STATIC))
        yield operator


@pytest.fixture
def api(cluster: devcluster.Cluster, operator: Operator) -> Api:
    assert operator.process.poll() is None
    return Api(cluster)


def deployment(api: Api, exit_node_name: str) -> dict[str, Any] | None:
    found = api.list("deployment", "-n", SYSTEM, "-l", f"hawse.dev/exit-node={exit_node_name}")
    return found[0] if found else None


def test_an_exit_node_gets_its_deployment(api: Api) -> None:
    found = wait_for("the Deployment", lambda: deployment(api, "eu-1"))
    (owner,) = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ExitNode", "eu-1", True)
    status = wait_for("the status", lambda: (api.get("exitnode", "eu-1") or {}).get("status"))
    assert status["addresses"] == ["203.0.113.7"]
    assert "hawse.dev/exit-node=eu-1" in status["selector"]
    api.wait_reason("exitnode", "eu-1", "Programmed", "Unavailable")


def test_a_foreign_edit_of_a_child_is_corrected(api: Api) -> None:
    found = wait_for("the Deployment", lambda: deployment(api, "eu-1"))
    name = found["metadata"]["name"]
    image = found["spec"]["template"]["spec"]["containers"][0]["image"]
    api.cluster.kubectl("set", "image", "-n", SYSTEM, f"deployment/{name}", "exitnode=evil/image")

    def corrected() -> bool:
        now = deployment(api, "eu-1")
        return now is not None and now["spec"]["template"]["spec"]["containers"][0]["image"] == image

    wait_for("the image is ours again", corrected)
    api.delete("deployment", name, SYSTEM)
    wait_for("the Deployment is back", lambda: deployment(api, "eu-1"))


SCALED = {"minReplicas": 2, "maxReplicas": 5, "targetCPU": 70, "targetConnections": 2_000}


def around(api: Api, kind: str, exit_node_name: str = "scaled") -> dict[str, Any] | None:
    found = api.list(kind, "-n", SYSTEM, "-l", f"hawse.dev/exit-node={exit_node_name}")
    return found[0] if found else None


def replicas(api: Api) -> int | None:
    found = deployment(api, "scaled")
    return found["spec"]["replicas"] if found else None


def desired(api: Api) -> int | None:
    status: dict[str, Any] = (api.get("exitnode", "scaled") or {}).get("status") or {}
    return status.get("desiredReplicas")


def writes(operator: Operator) -> dict[str, str]:
    """Counters of what is written around ExitNodes."""
    kinds = ("deployments", "horizontalpodautoscalers", "poddisruptionbudgets")
    lines = operator.ask("/metrics").text.splitlines()
    return {
        line.rpartition(" ")[0]: line.rpartition(" ")[2]
        for line in lines
        if line.startswith("hawse_operator_writes_total{") and any(f'"{kind}"' in line for kind in kinds)
    }


def test_an_autoscaler_chooses_the_replicas_until_it_is_taken_away(api: Api, operator: Operator) -> None:
    api.apply(exit_node("scaled", "eu-west", address=STATIC, replicas=3))
    wait_for("the replicas of the spec", lambda: replicas(api) == 3)
    api.apply(exit_node("scaled", "eu-west", address=STATIC, replicas=1, autoscaling=SCALED))
    found = wait_for("the autoscaler", lambda: around(api, "hpa"))
    assert found["spec"]["scaleTargetRef"]["name"] == found["metadata"]["name"]
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"]) == (2, 5)
    assert [metric["type"] for metric in found["spec"]["metrics"]] == ["ContainerResource", "Pods"]
    wait_for("the budget", lambda: around(api, "pdb"))
    assert replicas(api) == 3, "nobody has chosen yet, so they are as many as before"
    name = found["metadata"]["name"]
    api.cluster.kubectl("scale", "-n", SYSTEM, f"deployment/{name}", "--replicas=4")
    wait_for("its choice is told", lambda: desired(api) == 4)

    # A change of the Deployment leaves them alone, and so does a resync, which writes nothing.
    requests = {"cpu": "1000m", "memory": "1024Mi"}  # which the API server writes in its own way: 1 and 1Gi
    managed = {"nodeSelector": {"example.com/edge": "true"}, "resources": {"requests": requests}}
    changed = {"deployment": {"type": "Managed", "managed": managed}}
    api.apply(exit_node("scaled", "eu-west", address=STATIC, replicas=1, autoscaling=SCALED, **changed))
    template = lambda: (deployment(api, "scaled") or {})["spec"]["template"]["spec"]  # noqa: E731
    wait_for("the change", lambda: template().get("nodeSelector") == {"example.com/edge": "true"})
    assert replicas(api) == 4
    before, runs = writes(operator), operator.metric("hawse_operator_reconciles_total")
    resyncs = lambda: operator.metric("hawse_operator_reconciles_total") > runs + 12  # noqa: E731
    wait_for("resyncs", resyncs, timeout_s=30.0)
    assert writes(operator) == before

    # To 0 an autoscaler would leave it for ever.
    api.cluster.kubectl("scale", "-n", SYSTEM, f"deployment/{name}", "--replicas=0")
    wait_for("the least of its bounds", lambda: replicas(api) == 2)
    api.apply(exit_node("scaled", "eu-west", address=STATIC, replicas=3))
    wait_for("no autoscaler", lambda: around(api, "hpa") is None)
    wait_for("the replicas of the spec", lambda: replicas(api) == 3)
    assert around(api, "pdb") is not None
    api.cluster.kubectl("scale", "exitnode/scaled", "--replicas=1")
    wait_for("one replica", lambda: replicas(api) == 1)
    wait_for("no budget", lambda: around(api, "pdb") is None)


def test_autoscaler_and_budget_are_put_back_and_go_with_their_exit_node(api: Api) -> None:
    api.apply(exit_node("scaled", "eu-west", address=STATIC, autoscaling=SCALED))
    name = wait_for("the autoscaler", lambda: around(api, "hpa"))["metadata"]["name"]
    wait_for("the budget", lambda: around(api, "pdb"))
    api.cluster.kubectl("patch", "hpa", name, "-n", SYSTEM, "-p", '{"spec":{"maxReplicas":50}}')
    api.cluster.kubectl("patch", "pdb", name, "-n", SYSTEM, "-p", '{"spec":{"maxUnavailable":2}}')
    wait_for("the bounds are ours again", lambda: (around(api, "hpa") or {})["spec"]["maxReplicas"] == 5)
    wait_for("the budget is ours again", lambda: (around(api, "pdb") or {})["spec"]["maxUnavailable"] == 1)
    for kind in ("hpa", "pdb"):
        api.delete(kind, name, SYSTEM)
        wait_for(f"the {kind} is back", lambda kind=kind: around(api, kind))
    api.delete("exitnode", "scaled")
    children = lambda: [kind for kind in ("hpa", "pdb", "deployment") if around(api, kind)]  # noqa: E731
    wait_for("nothing is left", lambda: not children(), timeout_s=75.0)


def test_a_service_comes_and_goes_with_the_address_type(api: Api) -> None:
    def services() -> list[dict[str, Any]]:
        return api.list("service", "-n", SYSTEM, "-l", "hawse.dev/exit-node=served")

    api.apply(exit_node("served", "eu-west", address={"type": "Service", "service": {"type": "ClusterIP"}}))
    (service,) = wait_for("the Service", services)
    assert {(port["port"], port["protocol"]) for port in service["spec"]["ports"]} == {
        (443, "TCP"),
        (443, "UDP"),
        (7443, "UDP"),
    }
    wait_for(
        "its address",
        lambda: (api.get("exitnode", "served") or {})["status"]["addresses"] == [service["spec"]["clusterIP"]],
    )
    api.apply(exit_node("served", "eu-west", address=STATIC))
    wait_for("no Service", lambda: not services())
    api.delete("exitnode", "served")
    # The garbage collector learns of new kinds every 30 s.
    wait_for("no Deployment", lambda: deployment(api, "served") is None, timeout_s=75.0)


def text_of(api: Api, name: str) -> str:
    found = api.get("secret", f"{name}-token", "team-a")
    return base64.b64decode(found["data"]["token"]).decode() if found else ""


def test_a_token_is_issued_and_issued_anew(api: Api, operator: Operator) -> None:
    api.apply(token("laptop", "team-a"))
    api.wait_reason("agenttoken", "laptop", "Ready", "Ready", "team-a")
    first = text_of(api, "laptop")
    assert first.startswith("hwt1.")
    api.cluster.kubectl("annotate", "agenttoken", "laptop", "hawse.dev/reissue=now", "-n", "team-a")
    second = wait_for("another text", lambda: text if (text := text_of(api, "laptop")) != first else None)
    everything = (
        json.dumps([api.list(kind, "-A") for kind in ("agenttoken", "events", "tunnel")]) + operator.log.read_text()
    )
    assert first not in everything
    assert second not in everything


def test_the_text_follows_the_addresses_and_keeps_its_secret(api: Api) -> None:
    api.apply(token("mobile", "team-a"))
    api.wait_reason("agenttoken", "mobile", "Ready", "Ready", "team-a")
    first = text_of(api, "mobile")
    more = {"type": "Static", "static": {"ips": ["203.0.113.7", "203.0.113.8"]}}
    api.apply(exit_node("eu-1", "eu-west", address=more))
    second = wait_for("another text", lambda: text if (text := text_of(api, "mobile")) != first else None)
    raw = base64.urlsafe_b64decode(second.removeprefix("hwt1.") + "==")
    assert b"203.0.113.8:7443" in raw
    from hawse_operator.translate import token_text

    assert token_text.read_secret(first) == token_text.read_secret(second)


def test_a_secret_of_somebody_else_is_left_alone(api: Api) -> None:
    api.cluster.kubectl("create", "secret", "generic", "foreign-token", "-n", "team-a", "--from-literal=token=mine")
    api.apply(token("foreign", "team-a"))
    api.wait_reason("agenttoken", "foreign", "Issued", "SecretInUse", "team-a")
    assert text_of(api, "foreign") == "mine"


def test_the_fleet_has_a_certificate_of_its_own(api: Api) -> None:
    api.wait_reason("fleet", "default", "Ready", "Ready")
    found = api.get("secret", "default-edge-tls", SYSTEM)
    assert found is not None
    assert set(found["data"]) == {"tls.crt", "tls.key", "ca.crt", "ca.key"}


def test_a_named_certificate_that_is_missing_is_named(api: Api) -> None:
    spec = {"domain": "other.example.org", "certificate": {"type": "Secret", "secret": {"name": "bought"}}}
    api.apply({**FLEET, "metadata": {"name": "bought"}, "spec": spec})
    missing = api.wait_reason("fleet", "bought", "CertificateReady", "CertificateNotFound")
    assert missing["message"] == (
        f'Secret "bought" does not exist in namespace {SYSTEM}. Create it with type kubernetes.io/tls.'
    )
    api.delete("fleet", "bought")


KINDS = ("tunnel", "sdr", "fleet", "exitnode", "agenttoken", "deployment", "secret", "configmap", "service", "events")


def is_foreign_event(body: dict[str, Any]) -> bool:
    return bool(body["kind"] == "Event" and body.get("reportingComponent") != CONTROLLER)


def versions(api: Api) -> dict[str, str]:
    """Of everything the operator writes; the scheduler repeats events of its own as it likes."""
    bodies = [body for kind in KINDS for body in api.list(kind, "-A") if not is_foreign_event(body)]
    return {body["metadata"]["uid"]: body["metadata"]["resourceVersion"] for body in bodies}


@pytest.mark.slow
def test_five_hundred_tunnels_converge_and_a_second_look_writes_nothing(api: Api, operator: Operator) -> None:
    api.apply(namespace("many"), token("ci", "many"))
    api.apply(*(tunnel(f"t{number}", "many", agent="ci") for number in range(500)))

    def reserved() -> bool:
        conditions = [body.get("status", {}).get("conditions", []) for body in api.list("tunnel", "-n", "many")]
        return len(conditions) == 500 and all(
            any((item["type"], item["status"]) == ("Reserved", "True") for item in found) for found in conditions
        )

    wait_for("all are reserved", reserved, timeout_s=180.0)

    def settled() -> bool:
        """Not settling any more, and no key failed: the events are posted too."""
        before = versions(api)
        resyncs = operator.metric("hawse_operator_reconciles_total")
        wait_for("a whole resync", lambda: operator.metric("hawse_operator_reconciles_total") > resyncs + 1100)
        return versions(api) == before

    wait_for("a resync that writes nothing", settled, timeout_s=120.0)
    before, runs = versions(api), operator.metric("hawse_operator_reconciles_total")
    wait_for("two more", lambda: operator.metric("hawse_operator_reconciles_total") > runs + 2200, timeout_s=60.0)
    assert versions(api) == before


def test_ending_the_operator_takes_less_than_ten_seconds(operator: Operator) -> None:
    assert operator.end(signal.SIGTERM) == 0
    assert operator.find("stopped")
    assert not [line for line in operator.lines() if "traceback" in line]
