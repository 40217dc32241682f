"""Fetching from a real https server: what is bounded, refused, and never followed."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawse_operator import fetching
from support.issuer import KEY_SET, MUCH, certificate, issuing

LOOPBACK = ("127.0.0.0/8", "::1/128")


@pytest.fixture
def issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pem = certificate(tmp_path)
    monkeypatch.setattr(fetching, "trust", lambda: ssl.create_default_context(cafile=str(pem)))
    assert MUCH > fetching.MAX_BYTES
    with issuing(pem) as url:
        yield url


async def test_a_key_set_comes_back_as_it_is(issuer: str) -> None:
    assert await fetching.fetch(f"{issuer}/keys", LOOPBACK) == fetching.Fetched(json.dumps(KEY_SET).encode())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/elsewhere", "it answers 302"),
        ("/much", "it answers with more than 256 KiB"),
        ("/broken", "it answers 500"),
    ],
)
async def test_everything_else_is_a_problem_that_quotes_nothing(issuer: str, path: str, said: str) -> None:
    assert await fetching.fetch(f"{issuer}{path}", LOOPBACK) == fetching.Fetched(problem=said)


async def test_an_address_or_a_name_that_leads_inside_is_not_dialled(issuer: str) -> None:
    port = issuer.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        fetched = await fetching.fetch(f"https://{host}:{port}/keys", ())
        assert fetched.problem == "it leads to an address that is not dialled: loopback", host


async def test_a_certificate_of_nobody_known_is_no_issuers(issuer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "trust", ssl.create_default_context)
    fetched = await fetching.fetch(f"{issuer}/keys", LOOPBACK)
    assert fetched.problem.startswith("it cannot be reached (ClientConnectorCertificateError)")


async def test_nobody_there_is_a_problem(issuer: str) -> None:
    fetched = await fetching.fetch("https://127.0.0.1:1/keys", LOOPBACK)
    assert fetched.problem.startswith("it cannot be reached")
