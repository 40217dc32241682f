"""Settings: every mistake names its variable, all at once."""

import pytest

from hawse_operator import errors
from hawse_operator.settings import FROM_ENVIRONMENT, Settings, parse_server, read_settings

GOOD = {"POD_NAME": "op-0", "POD_NAMESPACE": "hawse-system", "POD_IP": "127.0.0.1"}


def test_defaults_are_enough_beside_the_pods_own_facts() -> None:
    settings = read_settings(GOOD)
    assert (settings.workers, settings.control_port, settings.watch_namespaces) == (16, 8442, ())


def test_namespaces_are_a_list_with_commas() -> None:
    assert read_settings({**GOOD, "HAWSE_WATCH_NAMESPACES": "a, b,,c "}).watch_namespaces == ("a", "b", "c")


def test_name_servers_are_addresses_with_or_without_a_port() -> None:
    text = "192.0.2.53, 192.0.2.53:5353,[2001:db8::1]:53,2001:db8::1"
    found = read_settings({**GOOD, "HAWSE_RESOLVERS": text}).resolvers
    assert [parse_server(server) for server in found] == [
        ("192.0.2.53", 53),
        ("192.0.2.53", 5353),
        ("2001:db8::1", 53),
        ("2001:db8::1", 53),
    ]
    for wrong in ("dns.example.com", "192.0.2.53:0", "192.0.2.53:dns"):
        with pytest.raises(errors.SettingsError, match="HAWSE_RESOLVERS"):
            read_settings({**GOOD, "HAWSE_RESOLVERS": wrong})


def test_foreign_and_empty_variables_are_nobodys_business() -> None:
    assert read_settings({**GOOD, "HAWSE_OPERATOR_SERVICE_HOST": "10.0.0.1", "HAWSE_WORKERS": ""}).workers == 16


def test_every_mistake_is_named_with_its_variable() -> None:
    with pytest.raises(errors.SettingsError) as caught:
        read_settings({"POD_NAME": "x", "POD_IP": "nowhere", "HAWSE_WORKERS": "0", "HAWSE_LOG_LEVEL": "loud"})
    text = str(caught.value)
    assert len(text.splitlines()) == 4
    for part in (
        "POD_NAMESPACE is not set",
        "POD_IP is 'nowhere'",
        "HAWSE_WORKERS is '0'",
        "HAWSE_LOG_LEVEL is 'loud'",
    ):
        assert part in text


def test_every_setting_has_a_variable() -> None:
    assert set(FROM_ENVIRONMENT.values()) == set(Settings.model_fields)
