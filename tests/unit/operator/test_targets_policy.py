"""May a Tunnel lead to this Service or URL: the messages are the interface."""

from dataclasses import replace
from typing import Any

import pytest

from hawse_api import v1alpha1
from hawse_operator.policies import facts, targets, tunnels
from hawse_operator.policies.targets import Destination
from support.objects import fleet, token, tunnel

WEB = facts.Service("web", ("10.96.0.7",), (("http", 80), ("", 8080)))


def target(**fields: Any) -> v1alpha1.Target:
    return tunnel(spec={"target": fields}).spec.target


def service(port: int | str = 80) -> v1alpha1.Target:
    return target(type="Service", service={"name": "web", "port": port})


@pytest.mark.parametrize("port", [80, "http", 8080])
def test_a_service_is_good_by_number_and_by_name_of_its_port(port: int | str) -> None:
    to = Destination(service(port), service=WEB)
    assert targets.service_exists("team-a", to) is None
    assert targets.is_allowed(to, ()) is None
    assert targets.token_exists("team-a", to, ()) is None
    assert targets.port_of(WEB, port) == (8080 if port == 8080 else 80)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        pytest.param(Destination(service()), 'Service "web" does not exist in namespace team-a.', id="no such service"),
        pytest.param(
            Destination(service(), service=facts.Service("web", (), (("", 80),))),
            'Service "web" has no ClusterIP: headless and ExternalName Services are not dialled.',
            id="headless",
        ),
        pytest.param(
            Destination(service("https"), service=WEB),
            'Service "web" has no TCP port https. Existing: 80 (http), 8080.',
            id="no such port",
        ),
    ],
)
def test_a_service_that_cannot_be_dialled_is_explained(to: Destination, message: str) -> None:
    found = targets.service_exists("team-a", to)
    assert found is not None
    assert (found.reason, found.message) == ("ServiceNotFound", message)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://169.254.169.254", "it is link-local, where clouds keep their metadata"),
        ("http://127.0.0.1:8080", "it is loopback"),
        ("http://10.96.0.1", "it is a private range"),
        ("https://[::1]", "it is loopback"),
        ("https://[::ffff:169.254.169.254]:8443", "it is link-local"),
        ("https://[64:ff9b::7f00:1]", "it is loopback"),
    ],
)
def test_a_literal_address_inside_is_refused(url: str, says: str) -> None:
    found = targets.is_allowed(Destination(target(type="URL", url=url)), ())
    assert found is not None
    assert found.reason == "TargetNotAllowed"
    assert found.message.startswith(f"{url} leads to ")
    assert says in found.message
    assert "spec.targets.allowedCIDRs" in found.message


@pytest.mark.parametrize("url", ["https://eu.example.com", "http://8.8.8.8", "https://[2606:4700::1111]:8443"])
def test_other_urls_are_left_to_the_edge(url: str) -> None:
    assert targets.is_allowed(Destination(target(type="URL", url=url)), ()) is None


def test_a_service_on_loopback_is_refused_unless_its_network_is_allowed() -> None:
    to = Destination(service(), service=facts.Service("web", ("127.96.0.7",), (("", 80),)))
    found = targets.is_allowed(to, ())
    assert found is not None
    assert found.message.startswith('Service "web" has 127.96.0.7, which exit nodes do not dial: it is loopback.')
    assert targets.is_allowed(to, ("127.96.0.0/16",)) is None


@pytest.mark.parametrize(
    ("spec", "ips"),
    [
        ({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"]}, ("10.96.0.7", "fd00::7")),
        ({"clusterIP": "10.96.0.7"}, ("10.96.0.7",)),
        ({"clusterIP": "None", "clusterIPs": ["None"]}, ()),
        ({"type": "ExternalName", "externalName": "metadata.google.internal"}, ()),
        ({}, ()),
    ],
)
def test_a_service_is_read(spec: dict[str, Any], ips: tuple[str, ...]) -> None:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}, {"port": 81}]
    read = facts.read_service({"metadata": {"name": "web"}, "spec": {**spec, "ports": ports}})
    assert read == facts.Service("web", ips, (("http", 80), ("", 81)))


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://eu.example.com", ("https", "eu.example.com", 443)),
        ("http://eu.example.com", ("http", "eu.example.com", 80)),
        ("http://eu.example.com:8080", ("http", "eu.example.com", 8080)),
        ("https://[2001:db8::1]", ("https", "2001:db8::1", 443)),
        ("https://[2001:db8::1]:8443", ("https", "2001:db8::1", 8443)),
    ],
)
def test_a_url_is_taken_apart(url: str, parts: tuple[str, str, int]) -> None:
    assert v1alpha1.split_url(url) == parts


def test_a_standby_that_leads_nowhere_is_told_and_takes_nothing_along() -> None:
    given = tunnels.TunnelInput(
        tunnel(spec={"standby": {"target": {"type": "URL", "url": "http://169.254.169.254"}}}),
        fleet(),
        ("default",),
        facts.Namespace("team-a", "uid-team-a", {}),
        Destination(tunnel().spec.target, token()),
        Destination(target(type="URL", url="http://169.254.169.254")),
        ("laptop",),
    )
    assert tunnels.violations_of_refs(given) == ()
    (found,) = tunnels.violations_of_standby(given)
    assert found.reason == "TargetNotAllowed"
    assert tunnels.violations_of_standby(replace(given, standby=None)) == ()
