"""Somebody's edit of a Secret that an object names is noticed by its version alone, one request after another."""

import asyncio
import contextlib

import pytest

from hawse_operator import errors
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.secret_versions import SecretVersions

LAPTOP, CI = Key("agenttokens", "team-a", "laptop"), Key("agenttokens", "team-a", "ci")


class FakeApi:
    """Versions of Secrets."""

    def __init__(self) -> None:
        self.versions = {"laptop-token": "1", "ci-token": ""}
        self.asked: list[str] = []
        self.fails = False
        self.twice = asyncio.Event()
        """Set after two rounds."""

    async def version(self, _resource: object, _namespace: str, name: str) -> str:
        self.asked.append(name)
        if self.asked.count(name) == 2:
            self.twice.set()
        if self.fails:
            raise errors.Unavailable("no answer")
        return self.versions[name]


class FakeQueue:
    def __init__(self) -> None:
        self.keys: list[Key] = []

    def add(self, key: Key) -> None:
        self.keys.append(key)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> tuple[SecretVersions, FakeApi, FakeQueue]:
    monkeypatch.setattr("hawse_operator.reconcile.secret_versions.ROUND_S", 0.01)
    monkeypatch.setattr("hawse_operator.reconcile.secret_versions.LEAST_PAUSE_S", 0.001)
    api, queue = FakeApi(), FakeQueue()
    versions = SecretVersions(api, queue)  # type: ignore[arg-type]  # fakes
    versions.saw(LAPTOP, {"laptop-token": "1"})
    versions.saw(CI, {"ci-token": ""})
    return versions, api, queue


async def look_twice(versions: SecretVersions, api: FakeApi) -> None:
    running = asyncio.ensure_future(versions.run())
    async with asyncio.timeout(5.0):
        await api.twice.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_what_is_as_it_was_wakes_nobody(parts: tuple[SecretVersions, FakeApi, FakeQueue]) -> None:
    versions, api, queue = parts
    await look_twice(versions, api)
    assert set(api.asked) == {"laptop-token", "ci-token"}
    assert queue.keys == []


@pytest.mark.parametrize("version", ["2", ""], ids=["edited", "deleted"])
async def test_another_version_wakes_its_token(parts: tuple[SecretVersions, FakeApi, FakeQueue], version: str) -> None:
    versions, api, queue = parts
    api.versions["laptop-token"] = version
    await look_twice(versions, api)
    assert set(queue.keys) == {LAPTOP}


async def test_an_object_that_names_two_secrets_is_woken_by_either(
    parts: tuple[SecretVersions, FakeApi, FakeQueue],
) -> None:
    versions, api, queue = parts
    staff = Key("accesspolicies", "team-a", "staff")
    api.versions |= {"users": "1", "keys": "5"}
    versions.saw(staff, {"users": "1", "keys": "4"})
    await look_twice(versions, api)
    assert set(queue.keys) == {staff}
    versions.saw(staff, {"users": "1"})
    api.asked.clear()
    api.twice.clear()
    await look_twice(versions, api)
    assert "keys" not in api.asked, "it is named no more"


async def test_a_token_that_is_gone_or_was_not_reconciled_yet_is_not_looked_at(
    parts: tuple[SecretVersions, FakeApi, FakeQueue],
) -> None:
    versions, api, _ = parts
    versions.forget(CI)
    await look_twice(versions, api)
    assert set(api.asked) == {"laptop-token"}


async def test_an_api_server_that_is_away_is_no_change(parts: tuple[SecretVersions, FakeApi, FakeQueue]) -> None:
    versions, api, queue = parts
    api.fails = True
    await look_twice(versions, api)
    assert queue.keys == []
