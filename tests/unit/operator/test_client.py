"""Errors of the API server, and when a request is repeated."""

import json
from typing import Any

import aiohttp
import pytest
from kubernetes.aio import client as kubernetes_client

from hawse_operator import errors
from hawse_operator.k8s import backoff, resources
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.client import Client, to_error

STATUS = [
    (404, "NotFound", errors.NotFound),
    (409, "AlreadyExists", errors.AlreadyExists),
    (409, "Conflict", errors.Conflict),
    (401, "Unauthorized", errors.Forbidden),
    (403, "Forbidden", errors.Forbidden),
    (410, "Expired", errors.Expired),
    (422, "Invalid", errors.Invalid),
    (400, "BadRequest", errors.Invalid),
    (429, "TooManyRequests", errors.Unavailable),
    (503, "ServiceUnavailable", errors.Unavailable),
]


@pytest.mark.parametrize(("status", "reason", "kind"), STATUS)
def test_an_answer_becomes_the_error_that_tells_what_to_do(status: int, reason: str, kind: type[Exception]) -> None:
    raw = json.dumps({"message": "the words of the server", "reason": reason}).encode()
    found = to_error("GET", "/api", status, raw, None)
    assert type(found) is kind
    assert str(found) == f"GET /api: {status} the words of the server"


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"\xff"])
def test_an_answer_that_is_no_status_is_still_an_error(raw: bytes) -> None:
    assert isinstance(to_error("GET", "/api", 502, raw, None), errors.Unavailable)


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("soon", None), (None, None)])
def test_retry_after_is_read(header: str | None, seconds: float | None) -> None:
    assert to_error("GET", "/api", 429, b"{}", header).retry_after_s == seconds


def test_delays_double_up_to_their_cap_and_are_spread() -> None:
    delays = [backoff.delay_s(attempt, base_s=1, cap_s=10, jitter=1.0) for attempt in range(6)]
    assert delays == [1, 2, 4, 8, 10, 10]
    assert backoff.delay_s(3, base_s=1, cap_s=10, jitter=0.0) == 4
    assert backoff.delay_s(10_000, base_s=1, cap_s=10, jitter=1.0) == 10


def test_a_request_is_given_up_after_its_attempts() -> None:
    delays = [backoff.request_delay_s(attempt, retry_after_s=None, jitter=1.0) for attempt in range(backoff.ATTEMPTS)]
    assert delays[-1] is None
    assert None not in delays[:-1]
    assert sum(delay for delay in delays if delay) < 5


@pytest.mark.parametrize(("asked", "expected"), [(3.0, 3.0), (3600.0, 5.0), (0.0, 0.1)])
def test_retry_after_is_honoured_but_not_for_long(asked: float, expected: float) -> None:
    assert backoff.request_delay_s(0, retry_after_s=asked, jitter=1.0) == expected


@pytest.mark.parametrize(
    ("resource", "arguments", "path"),
    [
        (resources.TUNNELS, ("ns", "a", "status"), "/apis/hawse.dev/v1alpha1/namespaces/ns/tunnels/a/status"),
        (resources.TUNNELS, (), "/apis/hawse.dev/v1alpha1/tunnels"),
        (resources.FLEETS, ("", "f"), "/apis/hawse.dev/v1alpha1/fleets/f"),
        (resources.SECRETS, ("ns", "s"), "/api/v1/namespaces/ns/secrets/s"),
    ],
)
def test_objects_have_their_path(resource: resources.Resource, arguments: tuple[str, ...], path: str) -> None:
    assert resource.path(*arguments) == path


class FakeAnswer:
    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.headers: dict[str, str] = {}
        self._raw = json.dumps(body).encode()

    async def read(self) -> bytes:
        return self._raw


class FakeConnections:
    """Stands for the library's connection pool: answers from a list, remembers what was asked."""

    def __init__(self, *answers: FakeAnswer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, Any, str]] = []

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: Any, **_: Any) -> FakeAnswer:
        self.asked.append((method, url, body, headers["Content-Type"]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def ok(**body: Any) -> FakeAnswer:
    return FakeAnswer(200, body)


def busy() -> FakeAnswer:
    return FakeAnswer(429, {"message": "later", "reason": "TooManyRequests"})


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(k8s_client.backoff, "delay_s", lambda *_, **__: 0.0)


def client(*answers: FakeAnswer | Exception) -> tuple[Client, FakeConnections]:
    configuration = kubernetes_client.Configuration(host="https://api")
    found, fake = Client(configuration), FakeConnections(*answers)
    found._rest = fake
    return found, fake


@pytest.mark.usefixtures("at_once")
async def test_a_busy_or_unreachable_server_is_asked_again() -> None:
    found, fake = client(busy(), aiohttp.ClientConnectionError("gone"), TimeoutError(), ok(kind="Tunnel"))
    assert await found.get(resources.TUNNELS, "ns", "a") == {"kind": "Tunnel"}
    assert len(fake.asked) == 4


@pytest.mark.usefixtures("at_once")
async def test_a_server_that_stays_busy_is_given_up() -> None:
    found, fake = client(*(busy() for _ in range(9)))
    with pytest.raises(errors.Unavailable, match="429 later"):
        await found.get(resources.TUNNELS, "ns", "a")
    assert len(fake.asked) == backoff.ATTEMPTS


async def test_a_refusal_is_not_repeated() -> None:
    found, fake = client(FakeAnswer(422, {"message": "no", "reason": "Invalid"}))
    with pytest.raises(errors.Invalid):
        await found.create(resources.TUNNELS, {"metadata": {"namespace": "ns"}})
    assert len(fake.asked) == 1


async def test_a_status_is_applied_as_the_one_field_manager() -> None:
    found, fake = client(ok())
    await found.apply_status(resources.TUNNELS, "ns", "a", {"url": "u"}, resource_version="7")
    ((method, url, body, content_type),) = fake.asked
    assert (method, content_type) == ("PATCH", "application/apply-patch+yaml")
    assert url == (
        "https://api/apis/hawse.dev/v1alpha1/namespaces/ns/tunnels/a/status?fieldManager=hawse-operator&force=true"
    )
    assert body["metadata"] == {"name": "a", "namespace": "ns", "resourceVersion": "7"}
    assert body["status"] == {"url": "u"}


async def test_a_list_is_read_to_its_end_and_its_items_know_what_they_are() -> None:
    one, two = ({"metadata": {"name": name}} for name in "ab")
    found, fake = client(
        ok(metadata={"continue": "more", "resourceVersion": "5"}, items=[one]),
        ok(metadata={"resourceVersion": "5"}, items=[two]),
    )
    bodies, version = await found.list(resources.FLEETS, labels="a=b")
    assert [(body["metadata"]["name"], body["kind"]) for body in bodies] == [("a", "Fleet"), ("b", "Fleet")]
    assert version == "5"
    assert "continue=more" in fake.asked[1][1]
    assert "labelSelector=a%3Db" in fake.asked[1][1]


async def test_deleting_what_is_gone_is_fine() -> None:
    found, fake = client(FakeAnswer(404, {"reason": "NotFound"}))
    await found.delete(resources.SECRETS, "ns", "s", uid="u", resource_version="3")
    assert fake.asked[0][2]["preconditions"] == {"uid": "u", "resourceVersion": "3"}


async def test_a_group_that_is_not_served_has_no_resources() -> None:
    found, _ = client(FakeAnswer(404, {}), ok(resources=[{"name": "tunnels"}, {"name": "tunnels/status"}]))
    assert await found.discover("hawse.dev", "v1alpha1") == frozenset()
    assert "tunnels" in await found.discover("hawse.dev", "v1alpha1")


async def test_a_token_is_reviewed_for_one_audience() -> None:
    found, fake = client(ok(status={"authenticated": True}))
    assert await found.review_token("t", audience="hawse") == {"authenticated": True}
    assert fake.asked[0][2]["spec"] == {"token": "t", "audiences": ["hawse"]}


async def test_without_a_way_to_the_server_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/kubeconfig")
    with pytest.raises(errors.SettingsError, match="Set KUBECONFIG"):
        await Client.connect()
