"""Which keys of an issuer are kept, when they are fetched, and what stays while the issuer is away."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from hawse_operator import fetching
from hawse_operator.policies import key_sets as policies
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.key_sets import KeySets, Question
from support.objects import NOW

RSA = {"kty": "RSA", "kid": "a", "n": "AQ", "e": "AQAB"}
ED = {"kty": "OKP", "crv": "Ed25519", "kid": "b", "x": "AQ"}
STAFF = Key("accesspolicies", "team-a", "staff")
QUESTION = Question("https://issuer.example/keys")


def read(*keys: Any) -> list[dict[str, str]] | None:
    text = policies.read(json.dumps({"keys": keys}).encode())
    return json.loads(text)["keys"] if text else None


def test_only_public_keys_for_signatures_are_kept_and_of_them_only_what_is_needed() -> None:
    ec = {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}
    kept = read(
        {**RSA, "d": "PRIVATE", "p": "PRIVATE", "x5c": ["AAAA"], "use": "sig"},
        ED,
        ec,
        {"kty": "oct", "k": "SHARED"},
        {**RSA, "use": "enc"},
        {**ec, "crv": "secp256k1"},
        {"kty": "RSA", "n": "AQ"},
        {**RSA, "n": 7},
        "key",
    )
    assert kept == [{**RSA, "use": "sig"}, ED, ec]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"keys": 7}', b'{"keys": []}', b"[" * 100_000, b"\xff"]
)
def test_what_is_no_set_is_none(body: bytes) -> None:
    assert policies.read(body) is None


def test_sets_are_bounded() -> None:
    many = read(*({**RSA, "kid": str(number)} for number in range(100)))
    assert many is not None
    assert len(many) == policies.MAX_KEYS
    assert read({**RSA, "n": "A" * policies.MAX_CHARACTERS}) is None


class Scene:
    """Key sets with an issuer that answers what a test says."""

    def __init__(self) -> None:
        self.now = NOW
        self.answer = fetching.Fetched(json.dumps({"keys": [RSA]}).encode())
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.woken = asyncio.Event()
        self.sets = KeySets(lambda _key: self.woken.set(), self.clock, self.fetch)

    def clock(self) -> datetime:
        return self.now

    async def fetch(self, url: str, allowed: Sequence[str]) -> fetching.Fetched:
        self.asked.append((url, tuple(allowed)))
        return self.answer

    async def ask(self) -> None:
        self.woken.clear()
        await self.sets.ask(STAFF, QUESTION)
        async with asyncio.timeout(5.0):
            await self.woken.wait()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    running = asyncio.ensure_future(scene.sets.run())
    yield scene
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_keys_are_due_again_after_a_minute(scene: Scene) -> None:
    assert scene.sets.is_due(STAFF, QUESTION)
    await scene.ask()
    answer = scene.sets.answer(STAFF, QUESTION)
    assert answer is not None
    assert json.loads(answer.keys) == {"keys": [RSA]}
    scene.now += timedelta(seconds=59)
    assert not scene.sets.is_due(STAFF, QUESTION)
    scene.now += timedelta(seconds=1)
    assert scene.sets.is_due(STAFF, QUESTION)


@pytest.mark.parametrize("bad", [fetching.Fetched(problem="it answers 500"), fetching.Fetched(b"<html>")])
async def test_the_last_good_keys_stay_while_the_issuer_is_away(scene: Scene, bad: fetching.Fetched) -> None:
    await scene.ask()
    scene.answer = bad
    await scene.ask()
    answer = scene.sets.answer(STAFF, QUESTION)
    assert answer is not None
    assert json.loads(answer.keys) == {"keys": [RSA]}
    assert answer.problem in ("it answers 500", "it has no key set with a public key for signatures")


async def test_what_a_policy_names_no_more_is_forgotten(scene: Scene) -> None:
    await scene.ask()
    scene.sets.keep(STAFF, (Question("https://other.example"),))
    assert scene.sets.answer(STAFF, QUESTION) is None
    scene.sets.keep(STAFF, ())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://issuer.example/", "it is no https URL"),
        ("https://169.254.169.254/latest", "it leads to an address that is not dialled: link-local"),
        ("https://127.0.0.1/", "it leads to an address that is not dialled: loopback"),
        ("https://[::1]/", "it leads to an address that is not dialled: loopback"),
        ("https://[::ffff:10.0.0.1]/", "it leads to an address that is not dialled: a private range"),
    ],
)
async def test_addresses_inside_are_not_fetched_from(url: str, said: str) -> None:
    fetched = await fetching.fetch(url, ())
    assert fetched.problem.startswith(said)
