"""Tokens: what is accepted, and the words for what is not."""

import base64
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawse_agent import jointoken
from hawse_agent.errors import AuthenticationError
from hawse_agent.jointoken import JoinToken

GOOD = JoinToken(
    connect_name="connect.tunnels.example.com",
    addresses=("203.0.113.7:7443", "[2001:db8::1]:7443"),
    ca_sha256=(b"\x01" * 32,),
    id="tok-1",
    secret=b"\x02" * 32,
)
TEXT = jointoken.encode(GOOD)


def test_a_token_is_read_as_it_was_written() -> None:
    assert jointoken.parse(TEXT) == GOOD


def test_white_space_around_a_token_is_ignored() -> None:
    assert jointoken.parse(f"\n  {TEXT}\r\n") == GOOD


def test_the_domain_is_what_follows_connect() -> None:
    assert GOOD.domain == "tunnels.example.com"


def test_the_secret_shows_in_no_repr() -> None:
    assert "\\x02" not in repr(GOOD)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "nothing was given", id="empty"),
        pytest.param("   \n", "nothing was given", id="white space"),
        pytest.param("hello", 'does not begin with "hwt1."', id="another text"),
        pytest.param(base64.b64encode(TEXT.encode()).decode(), "pipe it through base64 -d", id="still base64"),
        pytest.param(TEXT[:-7], "cut off", id="cut off"),
        pytest.param(TEXT + "!", "damaged", id="foreign letter"),
        pytest.param("hwt1." + "A" * 5000, "longer than 4096", id="too long"),
        pytest.param("hwt1.", "names no exit nodes to trust", id="empty message"),
        pytest.param("hwt1./w==", "damaged", id="not base64url"),
    ],
)
def test_a_text_that_is_no_token_is_refused_with_a_hint(text: str, says: str) -> None:
    with pytest.raises(AuthenticationError, match="HAWSE-3001") as caught:
        jointoken.parse(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"connect_name": "tunnels.example.com"}, "names no exit nodes to trust"),
        ({"connect_name": "connect.-x"}, "names no exit nodes to trust"),
        ({"connect_name": "connect." + "a." * 200 + "com"}, "names no exit nodes to trust"),
        ({"addresses": ()}, "0 addresses"),
        ({"addresses": ("203.0.113.7:7443",) * 17}, "17 addresses"),
        ({"addresses": ("203.0.113.7",)}, "not host:port"),
        ({"addresses": ("203.0.113.7:70000",)}, "not host:port"),
        ({"ca_sha256": ()}, "pins no CA"),
        ({"ca_sha256": (b"short",)}, "pins no CA"),
        ({"ca_sha256": (b"\x01" * 32,) * 5}, "pins no CA"),
        ({"id": ""}, "id or secret"),
        ({"id": "a b"}, "id or secret"),
        ({"secret": b"\x02" * 31}, "id or secret"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_every_field_is_bounded(change: dict[str, object], says: str) -> None:
    text = jointoken.encode(dataclasses.replace(GOOD, **change))  # type: ignore[arg-type]
    with pytest.raises(AuthenticationError, match="HAWSE-3001") as caught:
        jointoken.parse(text)
    assert says in str(caught.value)


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fall_over_or_be_repeated(text: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        jointoken.parse("hwt1." + text)
    assert len(text) < 12 or text not in str(caught.value)
