"""The CRDs on a real API server: it takes them, says what the models say, and kubectl shows them well."""

import base64
import copy
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import devcluster
from hawse_api import names, v1alpha1
from support.api_cases import ACCEPTED, NAMES, REFUSED, VALID, ids, spec_with

ROOT = Path(__file__).parents[2]
KINDS = {kind.definition.kind: kind for kind in v1alpha1.KINDS}
NAMESPACE = "test-crds"
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SERVER_WORDS = {
    # what the models say -> what the API server says for the same mistake
    "unknown field": "unknown field",
    "must be one of": "Unsupported value",
    "one of": "Unsupported value",
    "must match": "should match",
    "is required": "Required value",
    "at most": "Too long",
    "at least 1 character": "should be at least 1 chars long",
    "at least 1 item": "should have at least 1 items",
    "greater than or equal to": "should be greater than or equal to",
    "less than or equal to": "should be less than or equal to",
    "valid boolean": "must be of type boolean",
    "valid integer": "must be of type integer",
    "valid datetime": "must be of type date-time",
    "timezone": "must be of type date-time",
}
"""Rules in CEL have the same words on both sides and are not here."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devcluster.Cluster]:
    """An API server of our own, without nodes: here the CRDs are kubectl's, elsewhere they are Helm's."""
    with devcluster.Cluster(tmp_path_factory.mktemp("cluster"), [], {}) as started:
        yield started


@pytest.fixture(scope="module")
def api(cluster: devcluster.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the API server with our CRDs and a namespace."""
    cluster.kubectl("apply", "-f", str(ROOT / "crds"))
    crds = [f"crd/{kind.definition.plural}.{names.GROUP}" for kind in v1alpha1.KINDS]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *crds)
    cluster.kubectl("create", "namespace", NAMESPACE)
    with connect(Path(cluster.kubeconfig), tmp_path_factory.mktemp("api")) as connection:
        yield connection


def connect(kubeconfig: Path, scratch: Path) -> httpx.Client:
    """Connect with the administrator's certificate, as kubectl does, without its 0.3 s of start for each case."""
    settings = yaml.safe_load(kubeconfig.read_text())
    cluster, user = settings["clusters"][0]["cluster"], settings["users"][0]["user"]
    chain = scratch / "client.pem"
    chain.write_bytes(b"\n".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
    trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    trust.load_cert_chain(chain)
    return httpx.Client(base_url=cluster["server"], verify=trust, timeout=20)


def send(
    api: httpx.Client, method: str, kind: str, body: Any, *, name: str = "", dry: bool = True, subresource: str = ""
) -> tuple[int, dict[str, Any]]:
    """One request about one object; status code and answer."""
    definition = KINDS[kind].definition
    scope = f"/namespaces/{NAMESPACE}" if definition.scope is v1alpha1.Scope.NAMESPACED else ""
    path = f"/apis/{names.API_VERSION}{scope}/{definition.plural}" + (f"/{name}" if name else "")
    path += f"/{subresource}" if subresource else ""
    query = {"fieldValidation": "Strict"} if body is not None else {}
    query |= {"dryRun": "All"} if dry else {}
    content = "application/merge-patch+json" if method == "PATCH" else "application/json"
    answer = api.request(method, path, params=query, headers={"Content-Type": content}, json=body)
    return answer.status_code, answer.json()


def make(kind: str, spec: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def create(
    api: httpx.Client, kind: str, spec: dict[str, Any], name: str = "thing", *, dry: bool = True
) -> tuple[int, dict[str, Any]]:
    return send(api, "POST", kind, make(kind, spec, name), dry=dry)


@pytest.fixture
def stored(api: httpx.Client) -> Iterator[Callable[[str, dict[str, Any], str], dict[str, Any]]]:
    """Create objects that are deleted after the test."""
    made: list[tuple[str, str]] = []

    def store(kind: str, spec: dict[str, Any], name: str) -> dict[str, Any]:
        code, answer = create(api, kind, spec, name, dry=False)
        assert code == 201, answer
        made.append((kind, name))
        return answer

    yield store
    for kind, name in made:
        send(api, "DELETE", kind, None, name=name, dry=False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_api_server_finds_nothing_to_complain_about(
    cluster: devcluster.Cluster, api: httpx.Client, kind: str
) -> None:
    definition = KINDS[kind].definition
    crd = json.loads(cluster.kubectl("get", "crd", f"{definition.plural}.{names.GROUP}", "-o", "json").stdout)
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions.get("NamesAccepted") == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_of_the_server_are_those_of_the_models(api: httpx.Client, kind: str) -> None:
    code, answer = create(api, kind, VALID[kind])
    assert code == 201, answer
    model = KINDS[kind].from_object({"metadata": {"name": "thing"}, "spec": VALID[kind]})
    assert answer["spec"] == model.to_object()["spec"]


@pytest.mark.parametrize(("kind", "path", "value", "where", "what"), REFUSED, ids=ids(REFUSED))
def test_what_the_models_refuse_the_server_refuses(
    api: httpx.Client, kind: str, path: str, value: Any, where: str, what: str
) -> None:
    code, answer = create(api, kind, spec_with(kind, path, value))
    words = next((server for model, server in SERVER_WORDS.items() if what.startswith(model)), what)
    assert code in {400, 422}, answer
    assert words in answer["message"]
    assert where in answer["message"]


@pytest.mark.parametrize(("kind", "path", "value"), ACCEPTED, ids=ids(ACCEPTED))
def test_what_the_models_accept_the_server_accepts(api: httpx.Client, kind: str, path: str, value: Any) -> None:
    spec = spec_with(kind, path, value)
    code, answer = create(api, kind, spec)
    assert code == 201, answer
    model = KINDS[kind].from_object({"metadata": {"name": "thing"}, "spec": spec})
    assert KINDS[kind].from_object(answer).to_object()["spec"] == model.to_object()["spec"]


@pytest.mark.parametrize(("kind", "name", "accepted"), NAMES)
def test_names_are_bounded_by_the_server_too(api: httpx.Client, kind: str, name: str, accepted: bool) -> None:
    code, answer = create(api, kind, VALID[kind], name)
    assert (code == 201) is accepted, answer
    assert accepted or "metadata.name must have at most" in answer["message"]


TCP = {"host": None, "protocol": "TCP"}
IMMUTABLE = [
    # (kind, what is stored, merge patch of the spec, what is said; "" = accepted)
    ("Tunnel", {}, {"fleetName": "other"}, "fleetName is immutable: delete the object and create it again"),
    ("Tunnel", {}, {"host": {"subdomain": "other"}}, "host is immutable: delete the object and create it again"),
    ("Tunnel", {}, {"protocol": "TCP", "host": None}, "protocol is immutable: delete the object and create it again"),
    ("Tunnel", TCP | {"port": 20017}, {"port": 20018}, "port is immutable: delete the object and create it again"),
    ("Tunnel", TCP | {"port": 20017}, {"port": None}, "port is immutable: delete the object and create it again"),
    ("Tunnel", TCP, {"port": 20017}, ""),
    ("Tunnel", {}, {"suspend": True, "traffic": {"timeouts": {"idle": "5m"}}}, ""),
    ("ExitNode", {}, {"fleetName": "other"}, "fleetName is immutable: delete the object and create it again"),
    ("ExitNode", {}, {"region": "eu-north", "replicas": 0}, ""),
    ("Fleet", {}, {"domain": "other.example.com"}, "domain is immutable: delete the object and create it again"),
    ("Fleet", {}, {"listeners": {"https": 8443}}, ""),
    ("SubdomainReservation", {"holderGeneration": 2}, {"holderGeneration": 1}, "holderGeneration only grows"),
    ("SubdomainReservation", {"holderGeneration": 2}, {"holderGeneration": 3}, ""),
    ("AgentSession", {}, {"tokenName": "other"}, "tokenName is immutable: delete the object and create it again"),
    ("AgentSession", {}, {"agentID": "other"}, "agentID is immutable: delete the object and create it again"),
    ("AgentToken", {}, {"maxAgents": 3, "expiry": {"type": "Never", "ttl": None}}, ""),
]


@pytest.mark.parametrize(
    ("kind", "extra", "patch", "said"), IMMUTABLE, ids=[f"{c[0]}-{next(iter(c[2]))}" for c in IMMUTABLE]
)
def test_a_change_is_accepted_or_refused(
    api: httpx.Client,
    stored: Callable[..., dict[str, Any]],
    kind: str,
    extra: dict[str, Any],
    patch: dict[str, Any],
    said: str,
) -> None:
    stored(kind, VALID[kind] | extra, "changing")
    code, answer = send(api, "PATCH", kind, {"spec": patch}, name="changing")
    assert code == (422 if said else 200), answer
    assert said in answer.get("message", "")


def test_a_second_claim_of_a_name_is_a_conflict(api: httpx.Client, stored: Callable[..., dict[str, Any]]) -> None:
    stored("SubdomainReservation", VALID["SubdomainReservation"], "shop.tunnels.example.com")
    code, answer = create(api, "SubdomainReservation", VALID["SubdomainReservation"], "shop.tunnels.example.com")
    assert (code, answer["reason"]) == (409, "AlreadyExists")


def test_status_is_a_subresource_and_leaves_the_generation_alone(
    api: httpx.Client, stored: Callable[..., dict[str, Any]]
) -> None:
    sent = VALID["Tunnel"]
    created = stored("Tunnel", sent, "with-status")
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "",
        "lastTransitionTime": "2026-03-01T00:00:00Z",
        "observedGeneration": 1,
    }
    change = {"status": {"conditions": [condition], "url": "https://x/"}, "spec": {"suspend": True}}
    code, answer = send(api, "PATCH", "Tunnel", change, name="with-status", dry=False, subresource="status")
    assert code == 200, answer
    tunnel = v1alpha1.Tunnel.from_object(answer)
    assert tunnel.spec.suspend is False
    assert tunnel.generation == created["metadata"]["generation"]
    found = tunnel.status.condition("Ready")
    assert found is not None
    assert found.is_true


def test_kubectl_shows_columns_short_names_and_the_category(
    cluster: devcluster.Cluster, stored: Callable[..., dict[str, Any]]
) -> None:
    stored("Tunnel", VALID["Tunnel"], "listed")
    header, row = cluster.kubectl("get", "tun", "-n", NAMESPACE, "-o", "wide").stdout.splitlines()
    assert header.replace("TARGET READY", "TARGET-READY").split() == [
        "NAME",
        "HOST",
        "PROTOCOL",
        "PORT",
        "TARGET",
        "TARGET-READY",
        "ACTIVE",
        "URL",
        "READY",
        "AGE",
        "REASON",
        "MESSAGE",
    ]
    assert row.split()[:3] == ["listed", "HTTP", "Agent"]
    assert "tunnel.hawse.dev/listed" in cluster.kubectl("get", "hawse", "-n", NAMESPACE).stdout


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("spec.host.subdomain=shop", "filtered"),
        ("spec.host.subdomain=other", ""),
        ("spec.fleetName=default,spec.target.agent.tokenRef.name=laptop", "filtered"),
    ],
)
def test_tunnels_can_be_filtered(
    cluster: devcluster.Cluster, stored: Callable[..., dict[str, Any]], selector: str, expected: str
) -> None:
    stored("Tunnel", VALID["Tunnel"], "filtered")
    output = ("-o", "jsonpath={.items[*].metadata.name}")
    found = cluster.kubectl("get", "tunnels", "-n", NAMESPACE, "--field-selector", selector, *output).stdout
    assert found == expected


def test_exit_nodes_are_scaled_with_kubectl(cluster: devcluster.Cluster, stored: Callable[..., dict[str, Any]]) -> None:
    stored("ExitNode", VALID["ExitNode"], "scaled")
    cluster.kubectl("scale", "exitnode/scaled", "--replicas=2")
    assert cluster.kubectl("get", "xn/scaled", "-o", "jsonpath={.spec.replicas}").stdout == "2"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("tunnel.spec.host.subdomain", "One DNS label in lower case"),
        ("exitnode.spec.address.type", "PodIPs: the pods' own addresses."),
        ("fleet.spec.allowedNamespaces", "none unless said so"),
        ("agenttoken.spec.expiry", "Agents that enrolled"),
        ("subdomainreservation.spec.holderGeneration", "a new holder gets new cookie keys"),
        ("agentsession.status.exitNodes.rttMilliseconds", "Round trip"),
    ],
)
def test_kubectl_explains_every_kind(cluster: devcluster.Cluster, api: httpx.Client, path: str, said: str) -> None:
    assert said in " ".join(cluster.kubectl("explain", path).stdout.split())


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_accepted_as_they_are(api: httpx.Client, path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        if document["apiVersion"] != names.API_VERSION:
            continue
        body = copy.deepcopy(document)
        body["metadata"].pop("namespace", None)
        code, answer = send(api, "POST", document["kind"], body)
        assert code == 201, answer
