"""What `hawse fleet` shows of statuses, and why nobody is served where nobody is."""

from typing import Any

import pytest

from hawse_agent import fleetview


def body(kind: str, name: str, spec: dict[str, Any], status: dict[str, Any], *conditions: tuple[str, ...]) -> Any:
    told = [
        {"type": type_, "status": status_, "reason": reason, "message": message, "observedGeneration": 2}
        for type_, status_, reason, message in conditions
    ]
    return {
        "kind": kind,
        "metadata": {"name": name, "generation": 2},
        "spec": spec,
        "status": {**status, "conditions": told},
    }


READY = ("Ready", "True", "Ready", "")
FLEET = body("Fleet", "default", {"domain": "t.example"}, {}, READY, ("DNSReady", "True", "Published", ""))


def exit_node(name: str, region: str, *conditions: tuple[str, ...], effective: int = 0, **spec: Any) -> Any:
    status = {"effectiveWeight": effective, "readyReplicas": 1, "agents": 3, "addresses": ["203.0.113.7"]}
    return body("ExitNode", name, {"fleetName": "default", "region": region, **spec}, status, *conditions)


def test_shares_are_those_of_the_effective_weights() -> None:
    nodes = [
        exit_node("us-1", "us-east", READY, effective=20, weight=20),
        exit_node("eu-1", "eu-west", READY, effective=60, weight=80),
        exit_node("other", "eu-west", READY, effective=100, fleetName="another"),
    ]
    (found,) = fleetview.view([FLEET], nodes)
    assert [(one.name, one.share) for one in found.exit_nodes] == [("eu-1", 0.75), ("us-1", 0.25)]
    text = fleetview.lines([found])
    assert text[0] == "fleet default   t.example"
    assert text[4].split() == ["eu-west", "eu-1", "80", "60", "75%", "1/1", "3", "203.0.113.7", "serving"]


@pytest.mark.parametrize(
    ("node", "state"),
    [
        (exit_node("a", "eu", READY), "serving"),
        (exit_node("a", "eu", READY, weight=0), "serving, weight 0"),
        (exit_node("a", "eu", READY, drain=True), "draining"),
        (
            exit_node("a", "eu", ("Ready", "False", "Unavailable", "0 of 1 pods are ready."), drain=True),
            "draining; Unavailable: 0 of 1 pods are ready.",
        ),
        (
            exit_node("a", "eu", ("Ready", "False", "Unavailable", "0 of 1 pods are ready.")),
            "Unavailable: 0 of 1 pods are ready.",
        ),
        (
            exit_node("a", "eu", READY, ("Draining", "True", "PodsStopping", "1 pod is stopping.")),
            "serving; 1 pod is stopping.",
        ),
        (exit_node("a", "eu", READY, ("Draining", "False", "NotDraining", "")), "serving"),
        (exit_node("a", "eu"), "not judged yet: is the operator running?"),
    ],
)
def test_the_state_says_why_nobody_is_served(node: Any, state: str) -> None:
    (found,) = fleetview.view([FLEET], [node])
    assert found.exit_nodes[0].state == state


@pytest.mark.parametrize(
    ("spec", "desired", "shown"),
    [
        ({}, None, "1/1"),
        ({"replicas": 3}, None, "1/3"),
        ({"replicas": 3}, 2, "1/3"),
        ({"replicas": 3, "autoscaling": {"maxReplicas": 9}}, 5, "1/5"),
        ({"replicas": 3, "autoscaling": {"maxReplicas": 9}}, None, "1/3"),
    ],
)
def test_pods_are_counted_against_what_was_asked_for_or_chosen(
    spec: dict[str, Any], desired: int | None, shown: str
) -> None:
    node = exit_node("a", "eu", READY, **spec)
    node["status"] |= {"desiredReplicas": desired} if desired is not None else {}
    row = fleetview.lines(fleetview.view([FLEET], [node]))[-1].split()
    assert row[5] == shown


def test_what_was_judged_of_an_earlier_spec_is_marked() -> None:
    fleet = {**FLEET, "metadata": {"name": "default", "generation": 3}}
    assert fleetview.view([fleet], [])[0].ready == "yes (of an earlier spec)"


def test_a_fleet_without_dns_and_exit_nodes_says_so() -> None:
    bare = body("Fleet", "bare", {"domain": "b.example"}, {}, READY)
    (found,) = fleetview.view([bare], [])
    assert found.dns == "not managed by the operator"
    assert fleetview.lines([found])[-1] == "  no exit nodes: kubectl apply an ExitNode that names it"
    assert fleetview.as_json([found])[0]["exit_nodes"] == ()
