"""ExitNodes: what is accepted, and where they are reached."""

from typing import Any

import pytest

from hawse_operator.policies import exitnodes, facts
from support.objects import exit_node, fleet, pod_body

POWER_DNS = {
    "type": "PowerDNS",
    "powerDNS": {"servers": [{"name": "a", "url": "http://192.0.2.1:8081"}], "apiKeyRef": {"name": "key"}},
}
AUTO = {"minReplicas": 2, "maxReplicas": 6, "targetCPU": 70}
PODS = [facts.read_pod(pod_body(f"p{n}", ip=f"127.0.1.{n}", ready=n != 3)) for n in (2, 1, 3)]


def test_a_good_exit_node_violates_nothing() -> None:
    assert exitnodes.violations_of_exit_node(exitnodes.ExitNodeInput(exit_node(), fleet(), ("default",))) == ()


def test_a_missing_fleet_is_named_with_those_that_exist() -> None:
    (missing,) = exitnodes.violations_of_exit_node(exitnodes.ExitNodeInput(exit_node(), None, ("eu",)))
    assert (missing.reason, missing.message) == ("FleetNotFound", 'Fleet "default" does not exist. Existing: eu.')


def test_a_fleet_that_is_not_accepted_is_told_from_a_missing_one() -> None:
    (found,) = exitnodes.violations_of_exit_node(exitnodes.ExitNodeInput(exit_node(), None, ("default",)))
    assert found.reason == "FleetNotReady"


@pytest.mark.parametrize(
    ("address", "service", "expected", "port"),
    [
        pytest.param({"type": "PodIPs"}, (), ("127.0.1.1", "127.0.1.2"), 7443, id="addresses of ready pods"),
        pytest.param(
            {"type": "Service", "service": {}},
            ("b.example", "a.example"),
            ("a.example", "b.example"),
            9443,
            id="a Service",
        ),
        pytest.param({"type": "Static", "static": {"ips": ["203.0.113.7"]}}, (), ("203.0.113.7",), 9443, id="as given"),
    ],
)
def test_an_exit_node_is_reached_where_its_spec_says(
    address: dict[str, Any], service: tuple[str, ...], expected: tuple[str, ...], port: int
) -> None:
    node = exit_node(spec={"address": address})
    assert exitnodes.addresses_of(node, PODS, service) == expected
    assert exitnodes.agents_port(node, fleet(spec={"listeners": {"agents": 9443}})) == port


@pytest.mark.parametrize(
    ("spec", "chosen", "expected"),
    [
        pytest.param({"replicas": 3}, 7, 3, id="the spec decides"),
        pytest.param({"replicas": 3, "autoscaling": AUTO}, None, 3, id="the first time as well"),
        pytest.param({"replicas": 3, "autoscaling": AUTO}, 5, 5, id="then the autoscaler"),
        pytest.param({"replicas": 9, "autoscaling": AUTO}, None, 6, id="within its bounds"),
        pytest.param({"replicas": 1, "autoscaling": AUTO}, 0, 2, id="which 0 turns off"),
    ],
)
def test_the_number_of_pods_is_that_of_the_spec_or_of_the_autoscaler(
    spec: dict[str, Any], chosen: int | None, expected: int
) -> None:
    assert exitnodes.desired_replicas(exit_node(spec=spec), chosen) == expected


@pytest.mark.parametrize(
    ("drain", "stopping", "said"),
    [
        (False, 0, ("False", "NotDraining", "")),
        (False, 1, ("True", "PodsStopping", "1 pod is stopping.")),
        (True, 0, ("True", "Asked", "spec.drain is true: DNS gives it no new visitors.")),
        (True, 2, ("True", "Asked", "spec.drain is true: DNS gives it no new visitors. 2 pods are stopping.")),
    ],
)
def test_draining_tells_what_turns_visitors_away(drain: bool, stopping: int, said: tuple[str, ...]) -> None:
    stops = [facts.read_pod(pod_body(f"s{n}", deletionTimestamp="2026-01-01T00:00:00Z")) for n in range(stopping)]
    evicted = pod_body("evicted")
    evicted["status"]["phase"] = "Failed"
    found = exitnodes.judge_draining(exit_node(spec={"drain": drain}), [*PODS, *stops, facts.read_pod(evicted)])
    assert (found.status, found.reason, found.message) == said


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([["a1", "a2"], ["b1"]], ("a1", "b1", "a2")),
        ([["a1", "a2", "a3", "a4"], ["b1", "b2"], ["c1"]], ("a1", "b1", "c1", "a2")),
        ([["x"], ["x", "b2"]], ("x", "b2")),
        ([], ()),
    ],
)
def test_few_of_many_are_taken_from_every_group(groups: list[list[str]], expected: tuple[str, ...]) -> None:
    assert exitnodes.spread(groups, 4) == expected


def test_agents_are_told_of_pods_that_are_not_ready_for_a_moment_but_not_of_those_that_end() -> None:
    node = exit_node(spec={"address": {"type": "PodIPs"}})
    evicted = pod_body("p4", ip="127.0.1.4")
    evicted["status"]["phase"] = "Failed"
    pods = [*PODS, facts.read_pod(evicted)]
    assert exitnodes.addresses_of(node, pods, ()) == ("127.0.1.1", "127.0.1.2")
    assert exitnodes.dial_addresses_of(node, pods, ()) == ("127.0.1.1", "127.0.1.2", "127.0.1.3")


@pytest.mark.parametrize(
    ("address", "expected"),
    [("203.0.113.7", "203.0.113.7:7443"), ("2001:db8::1", "[2001:db8::1]:7443"), ("lb.example", "lb.example:7443")],
)
def test_addresses_get_their_port(address: str, expected: str) -> None:
    assert exitnodes.with_port(address, 7443) == expected


@pytest.mark.parametrize(
    ("shutdown", "dns", "seconds"),
    [
        ({}, {}, 5.0),
        ({}, {"dns": POWER_DNS}, 30.0),
        ({}, {"dns": {**POWER_DNS, "ttl": "1m"}}, 70.0),
        ({"minDrainDuration": "0s"}, {"dns": POWER_DNS}, 0.0),
        ({"minDrainDuration": "2m"}, {}, 120.0),
    ],
)
def test_a_pod_that_stops_serves_until_nobody_is_led_to_it(
    shutdown: dict[str, str], dns: dict[str, object], seconds: float
) -> None:
    found = exitnodes.min_drain_s(exit_node(spec={"shutdown": shutdown}), fleet(spec=dns))
    assert found == seconds
