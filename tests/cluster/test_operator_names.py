"""Names at a real API server: claimed once, kept after their Tunnel, never given to the wrong namespace."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

import devcluster
from support.operator import FLEET, Api, cluster_with_crds, namespace, running, token, tunnel, wait_for

pytestmark = pytest.mark.timeout(180)
DOMAIN = "tunnels.example.com"
TODAY = time.strftime("%Y-%m-%d", time.gmtime())


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devcluster.Cluster]:
    with cluster_with_crds(tmp_path_factory.mktemp("names")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def api(bare: devcluster.Cluster) -> Iterator[Api]:
    api = Api(bare)
    with running(bare):
        api.apply(FLEET)
        for name in ("team-a", "team-b"):
            api.apply(namespace(name), token("laptop", name))
        yield api


def reserve(api: Api, name: str, where: str = "team-a", **spec: Any) -> dict[str, Any]:
    api.apply(tunnel(name, where, **spec))
    api.wait_reason("tunnel", name, "Reserved", "Reserved", where)
    return reservation(api, spec.get("subdomain") or name)


def reservation(api: Api, subdomain: str) -> dict[str, Any]:
    found = api.get("sdr", f"{subdomain}.{DOMAIN}")
    assert found is not None
    return found


def released(api: Api, subdomain: str) -> dict[str, Any]:
    return wait_for(
        f"{subdomain} is released",
        lambda: found if "releasedAt" in (found := reservation(api, subdomain))["spec"] else None,
    )


def test_a_tunnel_gets_its_name(api: Api) -> None:
    spec = reserve(api, "first")["spec"]
    uid = api.get("namespace", "team-a")["metadata"]["uid"]  # type: ignore[index]  # it is there
    claim = spec["claimRef"]
    assert (claim["namespace"], claim["namespaceUID"], claim["name"]) == ("team-a", uid, "first")
    assert spec["holderGeneration"] == 1
    found = api.get("tunnel", "first", "team-a")
    assert found is not None
    status = found["status"]
    assert (status["hostname"], status["url"]) == (f"first.{DOMAIN}", f"https://first.{DOMAIN}/")
    assert status["observedGeneration"] == 1
    api.wait_reason("sdr", f"first.{DOMAIN}", "Bound", "Bound")


def test_a_taken_name_is_refused_with_its_holder(api: Api) -> None:
    reserve(api, "taken")
    api.apply(tunnel("mine", "team-b", subdomain="taken"))
    refused = api.wait_reason("tunnel", "mine", "Reserved", "NameTaken", "team-b")
    assert refused["message"] == (
        f"taken.{DOMAIN} is held by team-a/taken since {TODAY}. Choose another subdomain, or ask team-a to release it "
        "(kubectl delete tunnel taken -n team-a)."
    )
    ready = api.condition("tunnel", "mine", "Ready", "team-b")
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "NameTaken", refused["message"])


def test_a_released_name_is_kept_for_its_namespace(api: Api) -> None:
    reserve(api, "kept")
    api.delete("tunnel", "kept", "team-a")
    tombstone = released(api, "kept")
    assert tombstone["spec"]["expiresAt"] > tombstone["spec"]["releasedAt"]
    api.apply(tunnel("grab", "team-b", subdomain="kept"))
    refused = api.wait_reason("tunnel", "grab", "Reserved", "Tombstone", "team-b")
    assert f"kept.{DOMAIN} was released by team-a on {TODAY} and is kept for them until " in refused["message"]
    again = reserve(api, "another", subdomain="kept")
    assert again["metadata"]["uid"] == tombstone["metadata"]["uid"]
    assert again["spec"]["holderGeneration"] == 1
    assert "releasedAt" not in again["spec"]
    assert "expiresAt" not in again["spec"]
    api.wait_reason("tunnel", "grab", "Reserved", "NameTaken", "team-b")


def test_a_name_with_policy_delete_is_free_at_once(api: Api) -> None:
    reserve(api, "brief", reclaimPolicy="Delete")
    api.apply(tunnel("next", "team-b", subdomain="brief"))
    api.wait_reason("tunnel", "next", "Reserved", "NameTaken", "team-b")
    api.delete("tunnel", "brief", "team-a")
    api.wait_reason("tunnel", "next", "Reserved", "Reserved", "team-b")
    assert reservation(api, "brief")["spec"]["claimRef"]["namespace"] == "team-b"


def test_an_expired_tombstone_goes_to_who_waits_for_it(api: Api) -> None:
    reserve(api, "short")
    api.delete("tunnel", "short", "team-a")
    released(api, "short")
    api.apply(tunnel("patient", "team-b", subdomain="short"))
    api.wait_reason("tunnel", "patient", "Reserved", "Tombstone", "team-b")
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    api.cluster.kubectl("patch", "sdr", f"short.{DOMAIN}", "--type=merge", "-p", f'{{"spec":{{"expiresAt":"{soon}"}}}}')
    api.wait_reason("tunnel", "patient", "Reserved", "Reserved", "team-b")


def test_a_namespace_made_anew_is_somebody_else_until_an_administrator_says_otherwise(api: Api) -> None:
    api.apply(namespace("phoenix"), token("laptop", "phoenix"))
    reserve(api, "ashes", "phoenix")
    api.delete("namespace", "phoenix")
    released(api, "ashes")
    api.apply(namespace("phoenix"), token("laptop", "phoenix"), tunnel("ashes", "phoenix"))
    refused = api.wait_reason("tunnel", "ashes", "Reserved", "NamespaceRecreated", "phoenix")
    command = refused["message"].partition("hands it over with: kubectl ")[2]
    api.cluster.kubectl(*command.split())
    api.wait_reason("tunnel", "ashes", "Reserved", "Reserved", "phoenix")
    assert reservation(api, "ashes")["spec"]["holderGeneration"] == 2


def test_suspending_holds_the_name(api: Api) -> None:
    reserve(api, "pause", suspend=True)
    assert api.wait_reason("tunnel", "pause", "Ready", "Suspended", "team-a")["status"] == "False"


def reason_of(body: dict[str, Any], type_: str) -> str:
    conditions = body.get("status", {}).get("conditions", [])
    return next((str(item["reason"]) for item in conditions if item["type"] == type_), "")


def test_of_fifty_claims_at_once_one_wins(api: Api) -> None:
    teams = [f"crowd-{number}" for number in range(50)]
    for team in teams:
        api.apply(namespace(team))
    api.apply(*(token("laptop", team) for team in teams), *(tunnel("rush", team) for team in teams))

    def reasons() -> list[str] | None:
        rushing = (body for body in api.list("tunnel", "-A") if body["metadata"]["name"] == "rush")
        found = [reason_of(body, "Reserved") for body in rushing]
        return found if all(found) else None

    assert sorted(wait_for("all fifty are judged", reasons, timeout_s=40.0)) == ["NameTaken"] * 49 + ["Reserved"]


BAD = [
    pytest.param(
        tunnel("no-token", "team-a", agent="ghost"),
        "ResolvedRefs",
        "TokenNotFound",
        'AgentToken "ghost" does not exist in namespace team-a. Existing: laptop.',
        id="a token that does not exist",
    ),
    pytest.param(
        tunnel("no-fleet", "team-a", fleetName="ghost"),
        "Accepted",
        "FleetNotFound",
        'Fleet "ghost" does not exist. Existing: default.',
        id="a fleet that does not exist",
    ),
    pytest.param(
        tunnel("www", "team-a"),
        "Accepted",
        "ReservedLabel",
        'The name "www" is reserved in Fleet default. Choose another subdomain.',
        id="a reserved name",
    ),
    pytest.param(
        tunnel("outside", "default"),
        "Accepted",
        "NamespaceNotAllowed",
        "Namespace default may not use Fleet default. Ask the platform team: spec.allowedNamespaces of the Fleet "
        "asks for the label hawse.dev/tunnels=allowed.",
        id="a namespace that is not allowed",
    ),
]


@pytest.mark.parametrize(("body", "condition", "reason", "message"), BAD)
def test_a_bad_tunnel_is_told_what_to_do(
    api: Api, body: dict[str, Any], condition: str, reason: str, message: str
) -> None:
    api.apply(body)
    name, where = body["metadata"]["name"], body["metadata"]["namespace"]
    assert api.wait_reason("tunnel", name, condition, reason, where)["message"] == message
    assert api.condition("tunnel", name, "Ready", where)["status"] == "False"


def test_a_tunnel_that_is_not_accepted_claims_nothing(api: Api) -> None:
    api.apply(tunnel("claimless", "default"))
    api.wait_reason("tunnel", "claimless", "Accepted", "NamespaceNotAllowed", "default")
    assert api.get("sdr", f"claimless.{DOMAIN}") is None


def test_a_token_that_appears_resolves_the_tunnel(api: Api) -> None:
    api.apply(tunnel("early", "team-a", agent="late"))
    api.wait_reason("tunnel", "early", "ResolvedRefs", "TokenNotFound", "team-a")
    api.apply(token("late", "team-a"))
    api.wait_reason("tunnel", "early", "ResolvedRefs", "Resolved", "team-a")


def test_overlapping_domains_are_refused(api: Api) -> None:
    body = {**FLEET, "metadata": {"name": "nested"}, "spec": {"domain": f"dev.{DOMAIN}"}}
    api.apply(body)
    refused = api.wait_reason("fleet", "nested", "Accepted", "DomainOverlap")
    assert f'overlaps {DOMAIN} of Fleet "default"' in refused["message"]
    api.delete("fleet", "nested")
