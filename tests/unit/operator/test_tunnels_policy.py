"""May a Tunnel be served, and does everything it names exist: the messages are the interface."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hawse_api.names import Reason
from hawse_operator.policies import facts, hosts, targets, tunnels
from hawse_operator.policies.violations import Violation, collect, listed, to_judgement
from support.objects import fleet, token, tunnel

NAMESPACE = facts.Namespace("team-a", "uid-team-a", {"tier": "dev"})
TARGET = tunnel().spec.target
GOOD = tunnels.TunnelInput(
    tunnel(), fleet(), ("default",), NAMESPACE, targets.Destination(TARGET, token()), None, ("laptop",)
)


def allowing(**rule: Any) -> Any:
    return fleet(spec={"allowedNamespaces": rule})


def test_a_good_tunnel_violates_nothing() -> None:
    assert tunnels.violations_of_tunnel(GOOD) == ()
    assert tunnels.violations_of_refs(GOOD) == ()


def test_a_tcp_tunnel_violates_nothing_with_a_port_of_the_fleets_or_none_yet() -> None:
    for hostname in ("tcp-20009.tunnels.example.com", None):
        given = replace(GOOD, tunnel=TCP, fleet=WITH_PORTS, hostname=hostname)
        assert tunnels.violations_of_tunnel(given) == ()


OWN = tunnel(spec={"host": {"type": "Hostname", "hostname": "shop.example.org"}})
UNPROVED = hosts.Proof(None, Violation(Reason.HOSTNAME_NOT_VERIFIED, "Publish it."), timedelta(seconds=15))

TCP = tunnel("db", spec={"protocol": "TCP", "host": None, "port": 20_017})
WITH_PORTS = fleet(spec={"tcpPorts": "20000-20009"})

REFUSED = [
    pytest.param(
        replace(GOOD, tunnel=TCP, hostname="tcp-20017.tunnels.example.com"),
        "NoTCPPorts",
        "Fleet default has no ports for TCP tunnels. Ask the platform team for spec.tcpPorts of the Fleet.",
        id="a TCP tunnel of a fleet without ports",
    ),
    pytest.param(
        replace(GOOD, tunnel=TCP, fleet=WITH_PORTS, hostname="tcp-20017.tunnels.example.com"),
        "PortNotAllowed",
        "Port 20017 is none of 20000-20009, the ports of Fleet default. Make the Tunnel anew with one of them, or "
        "without spec.port: the lowest free one is assigned then.",
        id="a port that the fleet does not have",
    ),
    pytest.param(
        replace(GOOD, tunnel=OWN, domains=("example.net", "example.org")),
        "HostnameInFleet",
        "shop.example.org lies in example.org, the domain of a Fleet. Ask for its first label with host.type "
        "Subdomain.",
        id="a host name inside a fleet's domain",
    ),
    pytest.param(
        replace(GOOD, tunnel=OWN, proof=UNPROVED), "HostnameNotVerified", "Publish it.", id="a host name without proof"
    ),
    pytest.param(
        replace(GOOD, fleet=None, fleet_names=("eu", "us")),
        "FleetNotFound",
        'Fleet "default" does not exist. Existing: eu, us.',
        id="no such fleet",
    ),
    pytest.param(
        replace(GOOD, fleet=None, fleet_names=()),
        "FleetNotFound",
        'Fleet "default" does not exist. Existing: none.',
        id="no fleet at all",
    ),
    pytest.param(
        replace(GOOD, fleet=None),
        "FleetNotReady",
        'Fleet "default" is not accepted itself: kubectl describe fleet default shows why.',
        id="a fleet that was never good",
    ),
    pytest.param(
        replace(GOOD, fleet=allowing(**{"from": "None"})),
        "NamespaceNotAllowed",
        "Namespace team-a may not use Fleet default. Ask the platform team: spec.allowedNamespaces of the Fleet allows "
        "none.",
        id="a fleet that allows none",
    ),
    pytest.param(
        replace(GOOD, fleet=allowing(**{"from": "Selector", "selector": {"matchLabels": {"tier": "prod"}}})),
        "NamespaceNotAllowed",
        "Namespace team-a may not use Fleet default. Ask the platform team: spec.allowedNamespaces of the Fleet "
        "asks for the label tier=prod.",
        id="a namespace without the label",
    ),
    pytest.param(
        replace(
            GOOD,
            fleet=allowing(
                **{"from": "Selector", "selector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}
            ),
        ),
        "NamespaceNotAllowed",
        "Namespace team-a may not use Fleet default. Ask the platform team: spec.allowedNamespaces of the Fleet "
        "selects namespaces by an expression on their labels.",
        id="a namespace that no expression selects",
    ),
    pytest.param(replace(GOOD, namespace=None), "NamespaceNotAllowed", None, id="a namespace that is not known"),
    pytest.param(
        replace(GOOD, tunnel=tunnel(subdomain="www")),
        "ReservedLabel",
        'The name "www" is reserved in Fleet default. Choose another subdomain.',
        id="a reserved name",
    ),
    pytest.param(replace(GOOD, tunnel=tunnel(subdomain="connect")), "ReservedLabel", None, id="the agents' own name"),
    pytest.param(replace(GOOD, tunnel=tunnel(subdomain="tcp-20001")), "ReservedLabel", None, id="a name of a TCP port"),
]


@pytest.mark.parametrize(("given", "reason", "message"), REFUSED)
def test_a_refused_tunnel_says_why_and_what_to_do(given: tunnels.TunnelInput, reason: str, message: str | None) -> None:
    (found,) = tunnels.violations_of_tunnel(given)
    assert found.reason == reason
    if message is not None:
        assert found.message == message


def test_a_namespace_with_the_label_is_let_in() -> None:
    given = replace(GOOD, fleet=allowing(**{"from": "Selector", "selector": {"matchLabels": {"tier": "dev"}}}))
    assert tunnels.violations_of_tunnel(given) == ()


def test_all_violations_are_named_at_once() -> None:
    given = replace(GOOD, fleet=allowing(**{"from": "None"}), tunnel=tunnel(subdomain="admin"))
    found = tunnels.violations_of_tunnel(given)
    assert [item.reason for item in found] == ["NamespaceNotAllowed", "ReservedLabel"]
    judgement = to_judgement(tunnels.names.Condition.ACCEPTED, found, tunnels.names.Reason.ACCEPTED)
    assert judgement.reason == "NamespaceNotAllowed"
    assert all(item.message in judgement.message for item in found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(
            replace(GOOD, primary=targets.Destination(TARGET), token_names=("staging", "ci")),
            'AgentToken "laptop" does not exist in namespace team-a. Existing: ci, staging.',
            id="no such token",
        ),
        pytest.param(
            replace(GOOD, primary=targets.Destination(TARGET, token(deletionTimestamp="2026-03-01T00:00:00Z"))),
            'AgentToken "laptop" does not exist in namespace team-a. Existing: none.',
            id="a token that is going",
        ),
    ],
)
def test_a_missing_token_is_named_with_those_that_exist(given: tunnels.TunnelInput, message: str) -> None:
    (found,) = tunnels.violations_of_refs(given)
    assert (found.reason, found.message) == ("TokenNotFound", message)


def test_no_violation_is_a_true_condition() -> None:
    judgement = to_judgement(tunnels.names.Condition.ACCEPTED, (), tunnels.names.Reason.ACCEPTED)
    assert (judgement.status, judgement.reason, judgement.message) == ("True", "Accepted", "")


def test_long_lists_of_names_are_cut_and_counted() -> None:
    assert listed([f"n{number}" for number in range(10)]) == "n0, n1, n2, n3, n4, n5, n6, n7 and 2 more"


def test_a_chain_keeps_its_order() -> None:
    first, second = (Violation(tunnels.names.Reason.INVALID, text) for text in ("first", "second"))
    assert collect((lambda _: first, lambda _: None, lambda _: second), None) == (first, second)
