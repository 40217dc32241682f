"""The environment of the exit node."""

import pytest

from hawse_exitnode import backoff
from hawse_exitnode.errors import UsageError
from hawse_exitnode.node import Listeners
from hawse_exitnode.settings import read_settings

ENVIRONMENT = {
    "POD_NAME": "eu-west-1-a",
    "POD_NAMESPACE": "hawse-system",
    "POD_IP": "127.0.0.2",
    "HAWSE_TOKEN_FILE": "/t",
    "HAWSE_CA_FILE": "/c",
    "HAWSE_STATE_DIR": "/s",
    "HAWSE_OPERATOR_SERVICE_HOST": "10.0.0.1",
    "HAWSE_OPERATOR_NAME": "hawse-operator.hawse-system.svc",
}


def test_ports_have_the_contracts_defaults() -> None:
    settings = read_settings(ENVIRONMENT)
    assert (settings.https_port, settings.agents_port, settings.admin_port) == (8443, 7443, 9090)
    assert (settings.enrol_port, settings.control_port) == (8441, 8442)


def test_everything_that_is_missing_or_wrong_is_said_at_once() -> None:
    environment = {**ENVIRONMENT, "POD_IP": "localhost", "HAWSE_HTTPS_PORT": "70000"}
    del environment["POD_NAME"], environment["HAWSE_CA_FILE"]
    with pytest.raises(UsageError) as caught:
        read_settings(environment)
    for word in ("missing: POD_NAME, HAWSE_CA_FILE", "POD_IP", "HAWSE_HTTPS_PORT", "hawse-exitnode static FILE"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 30.0),
        ({"HAWSE_DRAIN_SECONDS": "12"}, 12.0),
    ],
)
def test_the_drain_timeout_is_the_one_of_the_deployment(given: dict[str, str], seconds: float) -> None:
    assert read_settings(ENVIRONMENT | given).drain_timeout_s == seconds


@pytest.mark.parametrize(
    ("given", "served"),
    [({}, True), ({"HAWSE_HTTP3": "false"}, False), ({"HAWSE_AGENTS_PORT": "8443"}, False)],
    ids=["default", "switched off", "agents have the port"],
)
def test_http3_is_served_unless_told_otherwise(given: dict[str, str], served: bool) -> None:
    settings = read_settings(ENVIRONMENT | given)
    listeners = Listeners(settings.pod_ip, settings.https_port, settings.agents_port, 9090, http3=settings.http3)
    assert listeners.serves_http3 is served


def test_an_ipv6_pod_address_is_taken() -> None:
    assert read_settings({**ENVIRONMENT, "POD_IP": "fd00::0:1"}).pod_ip == "fd00::1"


@pytest.mark.parametrize(("attempt", "most"), [(0, 0.5), (1, 1.0), (4, 8.0), (5, 15.0), (1000, 15.0)])
def test_back_off_doubles_up_to_its_cap_and_is_never_zero(attempt: int, most: float) -> None:
    assert backoff.delay_s(attempt, 0.0) == pytest.approx(0.1)
    assert most * 0.99 <= backoff.delay_s(attempt, 0.9999) <= most
