"""Somebody edits or deletes what the operator owns: it is put back, without a war; what others own stays theirs.

There is no resync while these tests run: what is put back was noticed.
"""

import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from support import api_proxy
from support.api_proxy import ApiProxy
from support.operator import (
    FLEET,
    SYSTEM,
    Api,
    Operator,
    cluster_with_crds,
    exit_node,
    namespace,
    token,
    tunnel,
    wait_for,
)

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]
CHILD = "hawse.dev/exit-node=eu-1"
EDITS = 60
MAX_WRITES = 25
NODE = exit_node("eu-1", "eu-west", address={"type": "Service", "service": {"type": "ClusterIP"}})
HOST = "shop.tunnels.example.com"


@dataclass(frozen=True)
class Rig:
    api: Api
    proxy: ApiProxy
    operator: Operator

    def child(self, kind: str) -> dict[str, Any]:
        """The Deployment or Service of the exit node; empty while it is gone."""
        return next(iter(self.api.list(kind, "-n", SYSTEM, "-l", CHILD)), {})

    def patch(self, kind: str, name: str, patch: str, where: str = SYSTEM) -> None:
        self.api.cluster.kubectl("patch", kind, name, "-n", where, "--type=merge", "-p", patch)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with cluster_with_crds(tmp_path_factory.mktemp("edits")) as cluster, contextlib.ExitStack() as stack:
        api = Api(cluster)
        api.apply(FLEET, NODE, namespace("team-a"), token("laptop", "team-a"), tunnel("shop", "team-a"))
        proxy = stack.enter_context(api_proxy.proxied(cluster, "operator-a"))
        settings = {"HAWSE_RESYNC_SECONDS": "3600", "HAWSE_SECRET_POLL_SECONDS": "2", "HAWSE_LEASE_SECONDS": "15"}
        operator = Operator(cluster, "operator-a", KUBECONFIG=str(proxy.kubeconfig), **settings)
        stack.callback(operator.end)
        wait_for("it leads", lambda: operator.find("serving exit nodes"), timeout_s=45.0)
        rig = Rig(api, proxy, operator)
        wait_for("the children are there", lambda: rig.child("deployment") and rig.child("service"))
        api.wait_reason("agenttoken", "laptop", "Issued", "Issued", "team-a")
        yield rig


def image_of(body: dict[str, Any]) -> str:
    return str(body["spec"]["template"]["spec"]["containers"][0]["image"]) if body else ""


CHILD_EDITS: list[Any] = [
    pytest.param("deployment", '{"spec":{"replicas":5}}', lambda body: body["spec"]["replicas"] == 1, id="replicas"),
    pytest.param(
        "deployment",
        '{"spec":{"template":{"spec":{"serviceAccountName":"default"}}}}',
        lambda body: body["spec"]["template"]["spec"]["serviceAccountName"] == "hawse-exitnode",
        id="service account",
    ),
    pytest.param(
        "deployment",
        '{"metadata":{"labels":{"hawse.dev/region":"moon"}}}',
        lambda body: body["metadata"]["labels"]["hawse.dev/region"] == "eu-west",
        id="a label",
    ),
    pytest.param(
        "deployment",
        '{"metadata":{"ownerReferences":null}}',
        lambda body: body["metadata"].get("ownerReferences", [{}])[0].get("kind") == "ExitNode",
        id="the owner",
    ),
    pytest.param(
        "service",
        '{"spec":{"selector":{"hawse.dev/exit-node":"nobody"}}}',
        lambda body: body["spec"]["selector"]["hawse.dev/exit-node"] == "eu-1",
        id="selector of the Service",
    ),
]


@pytest.mark.parametrize(("kind", "patch", "is_right"), CHILD_EDITS)
def test_a_foreign_edit_of_a_child_is_corrected(
    rig: Rig, kind: str, patch: str, is_right: Callable[[dict[str, Any]], bool]
) -> None:
    name = rig.child(kind)["metadata"]["name"]
    rig.patch(kind, name, patch)

    def is_corrected() -> bool:
        body = rig.child(kind)
        return bool(body) and is_right(body)

    wait_for("it is corrected", is_corrected)


@pytest.mark.parametrize("kind", ["deployment", "service"])
def test_a_deleted_child_comes_back(rig: Rig, kind: str) -> None:
    before = rig.child(kind)["metadata"]
    rig.api.delete(kind, before["name"], SYSTEM)
    wait_for("it is back", lambda: rig.child(kind).get("metadata", before)["uid"] != before["uid"])


def test_a_child_that_lost_its_label_gets_it_back(rig: Rig) -> None:
    """The watch does not see it any more, so that it looks deleted."""
    name = rig.child("deployment")["metadata"]["name"]
    rig.patch("deployment", name, '{"metadata":{"labels":null}}')
    wait_for("it has it again", lambda: rig.child("deployment"))


def test_what_others_own_stays_theirs(rig: Rig) -> None:
    name = rig.child("deployment")["metadata"]["name"]
    rig.patch("deployment", name, '{"metadata":{"annotations":{"example.com/owner":"sre"},"labels":{"team":"sre"}}}')
    rig.patch("deployment", name, '{"spec":{"replicas":3}}')
    wait_for("our field is corrected", lambda: rig.child("deployment")["spec"]["replicas"] == 1)
    metadata = rig.child("deployment")["metadata"]
    assert (metadata["annotations"]["example.com/owner"], metadata["labels"]["team"]) == ("sre", "sre")


def test_an_autoscaler_sets_the_replicas_of_the_exit_node_and_nobody_fights_it(rig: Rig) -> None:
    """Through /scale, as an HPA does; a manifest that says nothing of replicas, applied again, leaves them alone."""
    rig.api.cluster.kubectl("scale", "exitnode", "eu-1", "--replicas=0")
    wait_for("the Deployment follows", lambda: rig.child("deployment")["spec"]["replicas"] == 0)
    rig.api.apply(NODE)
    rig.patch("deployment", rig.child("deployment")["metadata"]["name"], '{"metadata":{"labels":{"any":"news"}}}')
    time.sleep(2)
    assert (rig.api.get("exitnode", "eu-1") or {})["spec"]["replicas"] == 0
    assert rig.child("deployment")["spec"]["replicas"] == 0
    rig.api.cluster.kubectl("scale", "exitnode", "eu-1", "--replicas=1")
    wait_for("the Deployment follows", lambda: rig.child("deployment")["spec"]["replicas"] == 1)


def test_the_secret_of_a_token_comes_back_when_it_is_deleted(rig: Rig) -> None:
    rig.api.delete("secret", "laptop-token", "team-a")
    wait_for("it is there again", lambda: rig.api.get("secret", "laptop-token", "team-a"), timeout_s=30.0)


def test_the_secret_of_somebody_else_gives_way_to_the_tokens_own_once_it_is_deleted(rig: Rig) -> None:
    rig.api.cluster.kubectl("create", "secret", "generic", "ci-token", "-n", "team-a", "--from-literal=token=mine")
    rig.api.apply(token("ci", "team-a"))
    rig.api.wait_reason("agenttoken", "ci", "Issued", "SecretInUse", "team-a")
    rig.api.delete("secret", "ci-token", "team-a")
    wait_for("its own is there", lambda: rig.api.get("secret", "ci-token", "team-a"), timeout_s=30.0)
    rig.api.wait_reason("agenttoken", "ci", "Issued", "Issued", "team-a")


def test_the_text_of_a_token_that_was_overwritten_is_issued_anew(rig: Rig) -> None:
    rig.patch("secret", "laptop-token", '{"stringData":{"token":"nonsense"}}', "team-a")

    def is_a_token() -> bool:
        found = rig.api.get("secret", "laptop-token", "team-a")
        return found is not None and base64.b64decode(found["data"]["token"]).startswith(b"hwt1.")

    wait_for("it is a token again", is_a_token, timeout_s=30.0)


def test_a_reservation_that_is_deleted_is_claimed_again_by_its_holder(rig: Rig) -> None:
    rig.api.delete("sdr", HOST)
    wait_for("it is there again", lambda: rig.api.get("sdr", HOST))
    assert (rig.api.get("sdr", HOST) or {})["spec"]["claimRef"]["name"] == "shop"


STATUS_EDITS = [
    pytest.param("tunnel", "shop", "team-a", "Reserved", id="of a Tunnel"),
    pytest.param("sdr", HOST, "", "Bound", id="of a reservation"),
    pytest.param("agenttoken", "laptop", "team-a", "Issued", id="of an AgentToken"),
    pytest.param("exitnode", "eu-1", "", "Accepted", id="of an ExitNode"),
    pytest.param("fleet", "default", "", "Accepted", id="of a Fleet"),
]


@pytest.mark.parametrize(("kind", "name", "where", "condition"), STATUS_EDITS)
def test_a_status_that_somebody_wrote_is_put_right(rig: Rig, kind: str, name: str, where: str, condition: str) -> None:
    wait_for("it is judged", lambda: rig.api.condition(kind, name, condition, where).get("status") == "True")
    scope = ["-n", where] if where else []
    patch = '{"status":{"conditions":[]}}'
    rig.api.cluster.kubectl("patch", kind, name, *scope, "--subresource=status", "--type=merge", "-p", patch)
    wait_for("it is right again", lambda: rig.api.condition(kind, name, condition, where).get("status") == "True")


def test_a_name_that_an_administrator_gives_to_another_tunnel_is_theirs_from_then_on(rig: Rig) -> None:
    """The reservation decides who has a name (design 0002, 15)."""
    rig.api.apply(tunnel("old", "team-a", subdomain="moving"), namespace("team-b"))
    rig.api.wait_reason("tunnel", "old", "Reserved", "Reserved", "team-a")
    rig.api.apply(token("laptop", "team-b"), tunnel("new", "team-b", subdomain="moving"))
    rig.api.wait_reason("tunnel", "new", "Reserved", "NameTaken", "team-b")
    new, its_namespace = rig.api.get("tunnel", "new", "team-b"), rig.api.get("namespace", "team-b")
    assert new is not None
    assert its_namespace is not None
    uids = {"uid": new["metadata"]["uid"], "namespaceUID": its_namespace["metadata"]["uid"]}
    claim = {"namespace": "team-b", "name": "new", **uids}
    patch = json.dumps({"spec": {"claimRef": claim}})
    rig.api.cluster.kubectl("patch", "sdr", "moving.tunnels.example.com", "--type=merge", "-p", patch)
    rig.api.wait_reason("tunnel", "new", "Reserved", "Reserved", "team-b")
    rig.api.wait_reason("tunnel", "old", "Reserved", "NameTaken", "team-a")


def test_the_secret_of_the_ca_comes_back_as_it_was(rig: Rig) -> None:
    before = rig.api.get("secret", "hawse-ca", SYSTEM)
    assert before is not None
    rig.api.delete("secret", "hawse-ca", SYSTEM)
    after = wait_for("it is there again", lambda: rig.api.get("secret", "hawse-ca", SYSTEM), timeout_s=30.0)
    assert after["data"] == before["data"]


def test_the_ca_in_its_config_map_comes_back(rig: Rig) -> None:
    before = rig.api.get("configmap", "hawse-ca", SYSTEM)
    assert before is not None
    rig.api.delete("configmap", "hawse-ca", SYSTEM)

    def is_as_before() -> bool:
        return (rig.api.get("configmap", "hawse-ca", SYSTEM) or {}).get("data") == before["data"]

    wait_for("it is there again", is_as_before)
    rig.patch("configmap", "hawse-ca", '{"data":{"ca.crt":"nonsense"}}')
    wait_for("it is right again", is_as_before)


def test_somebody_who_keeps_editing_makes_no_write_war(rig: Rig) -> None:
    name = rig.child("deployment")["metadata"]["name"]
    before = len(rig.proxy.writes())
    for number in range(EDITS):
        rig.patch("deployment", name, f'{{"spec":{{"replicas":{number % 7 + 2}}}}}')
    wait_for("the last word is ours", lambda: rig.child("deployment")["spec"]["replicas"] == 1, timeout_s=60.0)
    writes = [call for call in rig.proxy.writes()[before:] if "/deployments/" in call.path]
    assert 1 <= len(writes) <= MAX_WRITES, f"{len(writes)} writes against {EDITS} edits"
    events = [event for event in rig.api.list("events", "-n", "default") if event["reason"] == "ForeignEdits"]
    assert events, "an administrator has to learn who fights"
    time.sleep(6)
    after = len(rig.proxy.writes())
    time.sleep(6)
    assert len(rig.proxy.writes()) == after, "writes at rest"
