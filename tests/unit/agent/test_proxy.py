"""The proxy of the environment: what is understood, what is refused, and that no message holds the password."""

import base64

import pytest

from hawse_agent import proxy
from hawse_agent.errors import UsageError
from hawse_agent.proxy import Proxy

NODE = "203.0.113.7:443"


def of(value: str, **more: str) -> Proxy | None:
    return proxy.read({"HTTPS_PROXY": value, **more}).towards(NODE)


@pytest.mark.parametrize(
    ("value", "address", "known_as"),
    [
        ("http://proxy.example.com:3128", "proxy.example.com:3128", ""),
        ("http://proxy.example.com:3128/", "proxy.example.com:3128", ""),
        ("proxy.example.com:3128", "proxy.example.com:3128", ""),
        ("http://proxy.example.com", "proxy.example.com:80", ""),
        ("http://[2001:db8::1]:3128", "[2001:db8::1]:3128", ""),
        ("http://ann:secret@proxy.example.com:3128", "proxy.example.com:3128", "ann:secret"),
        ("http://ann:p%40s%3A%2F@proxy.example.com:3128", "proxy.example.com:3128", "ann:p@s:/"),
        ("http://ann:gr%C3%BCn@proxy.example.com:3128", "proxy.example.com:3128", "ann:grün"),
        ("http://ann@proxy.example.com:3128", "proxy.example.com:3128", "ann:"),
    ],
)
def test_a_proxy_is_read(value: str, address: str, known_as: str) -> None:
    expected = "Basic " + base64.b64encode(known_as.encode()).decode() if known_as else ""
    assert of(value) == Proxy(address, expected)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("https://ann:hunter2@proxy.example.com", "plain HTTP"),
        ("socks5://ann:hunter2@proxy.example.com", "plain HTTP"),
        ("http://ann:hunter2/x@proxy.example.com:3128", "%2F"),
        ("http://ann:hunter2#x@proxy.example.com:3128", "%23"),
        ("http://ann:hunter2@x@proxy.example.com:3128", "%40"),
        ("http://ann:hunter2@proxy.example.com:99999", "host and port"),
        ("http://ann:hunter2@", "host and port"),
        ("http://:hunter2@proxy.example.com", "no user"),
        ("http://ann:hunter2%0d@proxy.example.com", "control character"),
        ("http://a%3Ann:hunter2@proxy.example.com", "colon"),
        ("http://ann:hunter2 @proxy.example.com", "space"),
        ("http://[ann:hunter2@proxy", "not a URL"),
        ("http://ann:hunter2@" + "p" * 3000, "longer"),
    ],
)
def test_a_proxy_that_cannot_be_used_ends_the_command_without_its_password(value: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        of(value)
    assert says in str(caught.value)
    assert "HTTPS_PROXY" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.exit_code == 2


def test_the_credentials_show_in_no_repr() -> None:
    found = of("http://ann:hunter2@proxy.example.com")
    assert found is not None
    assert found.authorization not in repr(found)


@pytest.mark.parametrize(
    ("exempt", "address", "direct"),
    [
        ("", NODE, False),
        ("*", NODE, True),
        ("203.0.113.7", NODE, True),
        ("203.0.113.0/24", NODE, True),
        ("10.0.0.0/8, 203.0.113.7:443", NODE, True),
        ("203.0.113.7:8443", NODE, False),
        ("10.0.0.0/8", NODE, False),
        ("2001:db8::/32", "[2001:db8::1]:443", True),
        ("example.com", "exit.example.com:443", True),
        (".example.com", "EXIT.example.com:443", True),
        ("*.example.com", "exit.example.com:443", True),
        ("ample.com", "exit.example.com:443", False),
        (" , ,", "exit.example.com:443", False),
    ],
)
def test_no_proxy_leads_around_it(exempt: str, address: str, direct: bool) -> None:
    found = proxy.read({"HTTPS_PROXY": "http://p:1", "NO_PROXY": exempt}).towards(address)
    assert (found is None) is direct


def test_lower_case_comes_first_and_empty_is_unset() -> None:
    assert of("http://upper:1", https_proxy="http://lower:2") == Proxy("lower:2")
    assert of("http://upper:1", https_proxy="") == Proxy("upper:1")
    assert proxy.read({}).towards(NODE) is None
