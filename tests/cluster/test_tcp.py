"""TCP tunnels in the whole product: ports that are assigned, asked for, refused, kept and taken back, and their app."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import whole
from support.operator import FLEET, SYSTEM, Api, exit_node, namespace, token, wait_for
from support.whole import TEAM, TOKEN

pytestmark = pytest.mark.timeout(900)  # a cold machine builds Helm first
APP = Path(__file__).parents[1] / "support" / "keyvalue_app.py"
OTHERS = "team-b"
FIRST = 20_000
RANGE = "20000-20002"
DOMAIN = "tunnels.example.com"
REGIONS = {"eu-1": "eu-west", "us-1": "us-east"}
NOWHERE = {"type": "Static", "static": {"ips": ["127.250.250.250"]}}
"""Where agents look for us-1: nobody is there, so its visitors need backhaul."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("tcp")
    with whole.installed(directory, regions=REGIONS, chart=("networkPolicy.enabled=true",)) as api:
        before = whole.text_of_token(api)
        # Without pods: the cluster's Services carry no UDP, so that agents could not come through it.
        front = exit_node("front", "eu-west", replicas=0, address={"type": "Service", "service": {"type": "ClusterIP"}})
        api.apply(namespace(OTHERS), token(TOKEN, OTHERS), front, exit_node("us-1", "us-east", address=NOWHERE))
        wait_for("agents are led nowhere", lambda: whole.text_of_token(api) not in ("", before), timeout_s=60.0)
        yield api


@pytest.fixture(scope="module")
def app() -> Iterator[int]:
    """Port of an app with a line protocol on this machine. -P: beside it lies an operator.py that is ours."""
    command = [sys.executable, "-P", str(APP), "127.0.0.1", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rsplit(" ", 1)[1])
        finally:
            process.terminate()


def tcp_tunnel(name: str, where: str, **spec: Any) -> dict[str, Any]:
    target = {"type": "Agent", "agent": {"tokenRef": {"name": TOKEN}}}
    return {
        "apiVersion": "hawse.dev/v1alpha1",
        "kind": "Tunnel",
        "metadata": {"name": name, "namespace": where},
        "spec": {"protocol": "TCP", "target": target, **spec},
    }


def address(api: Api, exit_node_name: str) -> str:
    (pod,) = whole.pods_of(api, exit_node_name)
    return str(pod["status"]["podIP"])


def ask(api: Api, port: int, *lines: str, at: str = "eu-1") -> list[str] | str:
    """What the app says to these lines, or why nothing."""
    try:
        with contextlib.closing(socket.create_connection((address(api, at), port), timeout=10)) as connection:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode().splitlines()
    except OSError as exc:
        return type(exc).__name__


def of(exit_node_name: str) -> tuple[str, ...]:
    return "-n", SYSTEM, "-l", f"hawse.dev/exit-node={exit_node_name}"


def let_through(api: Api) -> tuple[list[int], list[int]]:
    """Ports of TCP tunnels in an ExitNode's Service and in a NetworkPolicy."""
    services = [port["port"] for body in api.list("services", *of("front")) for port in body["spec"]["ports"]]
    rules = [rule for body in api.list("networkpolicies", *of("eu-1")) for rule in body["spec"]["ingress"]]
    policies = [port["port"] for rule in rules for port in rule["ports"]]
    return sorted(port for port in services if port >= FIRST), sorted(policies)


def reserved(api: Api, name: str, reason: str, where: str = TEAM) -> str:
    return str(api.wait_reason("tunnel", name, "Reserved", reason, where)["message"])


def test_without_ports_of_the_fleet_there_are_no_tcp_tunnels(api: Api) -> None:
    api.apply(tcp_tunnel("db", TEAM))
    api.wait_reason("tunnel", "db", "Accepted", "NoTCPPorts", TEAM)


def test_an_app_is_reached_at_a_port_that_was_assigned(api: Api, app: int, tmp_path: Path) -> None:
    ports = {"spec": {**FLEET["spec"], "tcpPorts": RANGE}}  # type: ignore[dict-item]
    api.apply({**FLEET, **ports}, tcp_tunnel("db", TEAM))
    api.wait_reason("tunnel", "db", "Ready", "Ready", TEAM)
    status = (api.get("tunnel", "db", TEAM) or {})["status"]
    url = f"tcp://tcp-{FIRST}.{DOMAIN}:{FIRST}"
    assert (status["port"], status["hostname"], status["url"]) == (FIRST, f"tcp-{FIRST}.{DOMAIN}", url)
    assert status["reservationName"] == status["hostname"]
    wait_for("the port is let through", lambda: let_through(api) == ([FIRST], [FIRST]))
    assert ask(api, FIRST) == "ConnectionResetError", "nobody serves it yet"
    laptop = whole.Laptop(tmp_path, api)
    try:
        laptop.login()
        laptop.serve("tcp", f"127.0.0.1:{app}", url=url)
        assert ask(api, FIRST, "SET color red", "GET color") == ["+READY", "+OK", "red"]
        wait_for("a region without the agent", lambda: ask(api, FIRST, "GET x", at="us-1") == ["+READY", "-"])
        assert not {pod["metadata"]["name"] for pod in whole.pods_of(api, "us-1")} & set(whole.links(api))
        api.delete("tunnel", "db", TEAM)
        wait_for("the port is closed", lambda: ask(api, FIRST) == "ConnectionRefusedError")
        wait_for("and let through no more", lambda: let_through(api) == ([], []))
        api.apply(tcp_tunnel("db", OTHERS, port=FIRST))
        assert f"tcp-{FIRST}.{DOMAIN} was released by {TEAM}" in reserved(api, "db", "Tombstone", OTHERS)
        api.apply(tcp_tunnel("db", TEAM))
        reserved(api, "db", "Reserved")
        wait_for("it is served again", lambda: ask(api, FIRST, "GET x") == ["+READY", "-"], timeout_s=60.0)
    finally:
        laptop.close()


def test_a_port_is_for_one_tunnel_and_in_the_fleets_range(api: Api) -> None:
    assert f"is held by {TEAM}/db since" in reserved(api, "db", "NameTaken", OTHERS)
    api.apply(tcp_tunnel("far", TEAM, port=30_000), tcp_tunnel("mail", OTHERS, port=FIRST + 2))
    refused = api.wait_reason("tunnel", "far", "Accepted", "PortNotAllowed", TEAM)
    assert refused["message"].startswith(f"Port 30000 is none of {RANGE}, the ports of Fleet default.")
    reserved(api, "mail", "Reserved", OTHERS)
    api.apply(tcp_tunnel("next", TEAM))
    reserved(api, "next", "Reserved")
    assert (api.get("tunnel", "next", TEAM) or {})["status"]["port"] == FIRST + 1
    api.apply(tcp_tunnel("one-more", TEAM))
    assert f"None of the 3 ports {RANGE} of Fleet default is free: 3 are held." in reserved(
        api, "one-more", "NoPortLeft"
    )
    api.wait_reason("tunnel", "mail", "Programmed", "Programmed", OTHERS)
    both = [FIRST, FIRST + 1, FIRST + 2]
    wait_for("all are let through", lambda: let_through(api) == (both, both))
