"""The text of a token goes round, and nothing else passes for one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawse_api.ir import frames_pb2
from hawse_operator.translate import token_text

SECRET = bytes(range(32))


def build(addresses: tuple[str, ...] = ("b:7443", "a:7443"), secret: bytes = SECRET) -> str:
    return token_text.build_token_text(
        domain="tunnels.example.com",
        addresses={one: 8443 + ord(one[0]) for one in addresses},
        ca_sha256=(b"2" * 32, b"1" * 32),
        token_id="uid",
        secret=secret,
    )


def test_the_text_holds_what_an_agent_needs() -> None:
    text = build()
    assert text.startswith("hwt1.")
    body = text.removeprefix("hwt1.")
    assert "=" not in body
    token = frames_pb2.Token.FromString(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert token.connect_name == "connect.tunnels.example.com"
    assert list(token.addresses) == ["a:7443", "b:7443"]
    assert list(token.tcp_ports) == [8443 + ord("a"), 8443 + ord("b")]
    assert list(token.ca_sha256) == [b"1" * 32, b"2" * 32]
    assert (token.id, token.secret) == ("uid", SECRET)


def test_the_order_of_addresses_does_not_change_the_text() -> None:
    assert build(("a:7443", "b:7443")) == build(("b:7443", "a:7443"))


def test_the_secret_is_read_back() -> None:
    assert token_text.read_secret(build()) == SECRET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hwt1.",
        "hwt2." + build().removeprefix("hwt1."),
        "hwt1.!!!",
        "hwt1.AAAA",
        build(secret=b"short"),
        build()[:-9],
    ],
)
def test_other_texts_have_no_secret(text: str) -> None:
    assert token_text.read_secret(text) == b""


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert token_text.read_secret("hwt1." + text) in (b"", SECRET)
