"""Errors of the API server, and when a request is repeated."""

import json

import pytest

from hawse_operator import errors
from hawse_operator.k8s import backoff, resources
from hawse_operator.k8s.client import to_error

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
