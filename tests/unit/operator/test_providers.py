"""What a provider says of itself, and what it is worth."""

import json
from typing import Any

import pytest

from hawse_api import v1alpha1
from hawse_operator.policies import access, providers
from hawse_operator.translate import session_keys

ISSUER = "https://id.example.com/realms/staff"
SAID: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
    "userinfo_endpoint": f"{ISSUER}/me",
    "response_types_supported": ["code", "id_token"],
    "code_challenge_methods_supported": ["plain", "S256"],
    "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post", "client_secret_basic"],
    "scopes_supported": ["openid", "offline_access"],
}
KEYS = b'{"keys": [{"kty": "RSA"}]}'


def judge(said: object, *, issuer: str = ISSUER, keys: bytes = KEYS) -> v1alpha1.ProviderStatus | providers.Problem:
    return providers.judge(issuer, providers.Fetched(json.dumps(said).encode(), keys))


def test_a_usable_provider_is_taken_at_its_word() -> None:
    assert judge(SAID) == v1alpha1.ProviderStatus(
        issuer=ISSUER,
        authorization_endpoint=f"{ISSUER}/auth",
        token_endpoint=f"{ISSUER}/token",
        jwks_uri=f"{ISSUER}/keys",
        userinfo_endpoint=f"{ISSUER}/me",
        end_session_endpoint=None,
        auth_methods=("client_secret_basic", "client_secret_post"),
        offline_access=True,
    )


def test_what_a_provider_does_not_say_is_what_the_standard_says() -> None:
    few = {name: SAID[name] for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")}
    judged = judge(few)
    assert isinstance(judged, v1alpha1.ProviderStatus)
    assert (judged.auth_methods, judged.offline_access) == (("client_secret_basic",), False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"issuer": ISSUER + "/"}, "calls itself"),
        ({"issuer": None}, "calls itself"),
        ({"token_endpoint": None}, "token_endpoint"),
        ({"token_endpoint": "http://id.example.com/token"}, "token_endpoint"),
        ({"authorization_endpoint": "http://127.0.0.1/auth"}, "authorization_endpoint"),
        ({"jwks_uri": "https://user@id.example.com/"}, "jwks_uri"),
        ({"jwks_uri": 3}, "jwks_uri"),
        ({"userinfo_endpoint": "file:///etc/passwd"}, "userinfo_endpoint"),
        ({"end_session_endpoint": "https://" + "x" * 2000}, "end_session_endpoint"),
        ({"response_types_supported": ["id_token"]}, "code flow"),
        ({"code_challenge_methods_supported": ["plain"]}, "S256"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], named: str) -> None:
    judged = judge(SAID | changes)
    assert isinstance(judged, providers.Problem)
    assert named in judged.message
    assert not judged.is_unreachable


@pytest.mark.parametrize("document", [b"", b"<html>", b"[]", b"3"])
def test_what_is_no_description_is_a_problem(document: bytes) -> None:
    judged = providers.judge(ISSUER, providers.Fetched(document, KEYS))
    assert isinstance(judged, providers.Problem)


@pytest.mark.parametrize("keys", [b"", b"{}", b'{"keys": []}', b'{"keys": "x"}', b"[1]"])
def test_a_provider_without_keys_is_a_problem(keys: bytes) -> None:
    judged = judge(SAID, keys=keys)
    assert isinstance(judged, providers.Problem)
    assert "keys" in judged.message


def test_one_that_cannot_be_reached_is_told_apart() -> None:
    assert providers.judge(ISSUER, providers.Fetched(problem="GET x: no answer in time")) == providers.Problem(
        "GET x: no answer in time", is_unreachable=True
    )


def test_http_is_for_loopback_alone() -> None:
    here = "http://127.0.0.1:4000"
    local = {name: value.replace(ISSUER, here) if isinstance(value, str) else value for name, value in SAID.items()}
    assert isinstance(judge(local, issuer=here), v1alpha1.ProviderStatus)
    assert isinstance(judge(local | {"token_endpoint": "http://id.example.com/t"}, issuer=here), providers.Problem)


def test_a_secret_is_shown_as_the_provider_takes_it() -> None:
    judged = judge(SAID)
    assert isinstance(judged, v1alpha1.ProviderStatus)
    assert providers.auth_method(judged, has_secret=True) == "client_secret_basic"
    assert providers.auth_method(judged, has_secret=False) == "none"
    neither = judge(SAID | {"token_endpoint_auth_methods_supported": ["private_key_jwt"]})
    assert isinstance(neither, v1alpha1.ProviderStatus)
    assert isinstance(providers.auth_method(neither, has_secret=True), providers.Problem)


@pytest.mark.parametrize(
    ("data", "material"),
    [
        ({"clientSecret": b"s3cret\n"}, b"s3cret"),
        ({"clientSecret": b""}, b""),
        ({"clientSecret": b"two\nlines"}, b""),
        ({"other": b"x"}, b""),
        (None, b""),
    ],
)
def test_a_client_secret_is_one_line(data: dict[str, bytes] | None, material: bytes) -> None:
    prepared = access.prepare_client_secret("team-a", access.SecretRead("oidc", data))
    assert prepared.material == material
    assert (prepared.violation is None) == bool(material)


def test_no_two_holders_share_keys() -> None:
    root = b"r" * 32
    first = session_keys.derive(root, fleet_uid="f", reservation_uid="n", generation=1)
    assert len(first) == 64
    assert first == session_keys.derive(root, fleet_uid="f", reservation_uid="n", generation=1)
    others = [
        session_keys.derive(root, fleet_uid="f", reservation_uid="n", generation=2),
        session_keys.derive(root, fleet_uid="f", reservation_uid="m", generation=1),
        session_keys.derive(root, fleet_uid="g", reservation_uid="n", generation=1),
        session_keys.derive(b"s" * 32, fleet_uid="f", reservation_uid="n", generation=1),
    ]
    assert len({first, *others}) == 5
