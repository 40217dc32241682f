"""Where the app listens, as people type it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawse_agent import target
from hawse_agent.errors import UsageError
from hawse_agent.target import Target


@pytest.mark.parametrize(
    ("typed", "host", "port"),
    [
        ("3000", "localhost", 3000),
        (" 3000 ", "localhost", 3000),
        (":3000", "localhost", 3000),
        ("localhost:3000", "localhost", 3000),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("my-box.local:65535", "my-box.local", 65535),
        ("my_box:80", "my_box", 80),
        ("[::1]:3000", "::1", 3000),
        ("http://localhost:3000", "localhost", 3000),
        ("HTTP://localhost:3000/", "localhost", 3000),
        ("http://localhost", "localhost", 80),
        ("http://[::1]:8080", "::1", 8080),
    ],
)
def test_a_target_is_read_as_people_mean_it(typed: str, host: str, port: int) -> None:
    assert target.parse(typed) == Target(host, port)


@pytest.mark.parametrize(
    "typed",
    [
        "", "0", "65536", "99999999999999", "-1", "localhost", "localhost:", "localhost:http", "a b:3000", "::1:3000",
        "[::1]", "[zz]:3000", "[fe80::1%eth0]:3000", "https://localhost:3000", "ftp://x:1", "http://localhost:3000/path",
        "http://localhost:3000?x", "http://user@localhost:3000", "http://",
        "\uff13\uff10\uff10\uff10", "unix:/tmp/x", "x" * 300 + ":1",
    ],
)  # fmt: skip
def test_what_is_no_target_is_refused_with_examples(typed: str) -> None:
    with pytest.raises(UsageError, match=r"localhost:3000, \[::1\]:3000"):
        target.parse(typed)


def test_https_apps_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match='"http" only, not "https"'):
        target.parse("https://localhost:3000")


def test_a_tcp_app_is_given_as_tcp_and_with_its_port() -> None:
    assert target.parse("tcp://db.internal:5432", "tcp") == Target("db.internal", 5432)
    assert target.parse("5432", "tcp") == Target("localhost", 5432)
    for typed, says in (("http://localhost:5432", '"tcp" only, not "http"'), ("tcp://localhost", "not a place")):
        with pytest.raises(UsageError, match=says):
            target.parse(typed, "tcp")


def test_control_characters_are_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        target.parse("\x1b[31mred\n")
    assert "\x1b" not in str(caught.value)


@given(st.sampled_from(["a", "localhost", "10.0.0.1", "::1", "fd00::2"]), st.integers(1, 65535))
def test_a_target_reads_back_as_it_is_shown(host: str, port: int) -> None:
    assert target.parse(str(Target(host, port))) == Target(host, port)


@given(st.text(max_size=50))
def test_no_text_makes_the_parser_fall_over(text: str) -> None:
    with contextlib.suppress(UsageError):
        target.parse(text)
