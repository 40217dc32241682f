"""From a provider's claims to a session."""

from typing import Any

import pytest

from hawse_identity import claims, refreshing, sessions, sites
from hawse_identity.errors import ProviderError, UnavailableError
from support import identity
from support.bad_provider import bare_oidc

NOW = 1_000_000.0


def site(*scopes: str, **rules: list[str]) -> sites.Site:
    return sites.build_site(identity.configuration(bare_oidc(scopes=scopes), rules=rules), identity.TUNNEL_UID)


def built(known: dict[str, Any], at: sites.Site) -> Any:
    known = {"sub": "ada", **known}
    return claims.build_session(known, at, claims.build_sign_in(known, at, b"r" * 16, NOW), NOW)


@pytest.mark.parametrize(
    ("value", "values"),
    [
        ("x", ["x"]),
        (["a", "b"], ["a", "b"]),
        (["a", 1, None, ["x"], {"y": 1}], ["a", "1"]),
        (True, ["true"]),
        (3, ["3"]),
        ("", []),
        (None, []),
        ({"a": 1}, []),
    ],
)
def test_a_claim_has_these_values(value: object, values: list[str]) -> None:
    assert list(built({"team": value}, site(team=["x"])).claims["team"].values) == values


def test_mail_that_the_provider_says_is_not_proved_does_not_count() -> None:
    at = site(email=["ada@x.org"])
    assert built({"email": "ada@x.org"}, at).email == "ada@x.org"
    assert built({"email": "ada@x.org", "email_verified": True}, at).email == "ada@x.org"
    assert built({"email": "ada@x.org", "email_verified": False}, at).email == ""
    assert built({"email": ["ada@x.org"]}, at).email == ""


def test_only_what_the_rules_name_is_kept() -> None:
    session = built({"team": "blue", "salary": 1, "groups": ["g"]}, site(team=["blue"]))
    assert set(session.claims) == {"team"}
    assert list(session.groups) == ["g"]
    assert (session.issued_at, session.expires_at) == (1_000_000, 1_000_300)


def test_of_very_many_groups_those_of_the_rules_stay() -> None:
    groups = [f"group-{number}" for number in range(900)]
    session = built({"groups": groups}, site(groups=["group-7"]))
    assert list(session.groups) == ["group-7"]
    with pytest.raises(ProviderError):
        built({"sub": "x" * 5000}, site())


def test_userinfo_is_missing_what_rules_and_scopes_ask_for() -> None:
    assert claims.missing({"sub": "ada"}, site("openid")) == []
    assert claims.missing({"sub": "ada"}, site("openid", "email", team=["x"])) == ["team", "email"]
    assert claims.missing({"team": [], "email": ""}, site("email", team=["x"])) == []


def test_userinfo_must_be_of_the_same_user_and_never_overrules_the_token() -> None:
    assert claims.merge_userinfo({"sub": "ada", "a": 1}, {"sub": "ada", "a": 2, "b": 3}) == {
        "sub": "ada",
        "a": 1,
        "b": 3,
    }
    for other in ({"sub": "eve"}, {}, {"sub": None}):
        with pytest.raises(ProviderError):
            claims.merge_userinfo({"sub": "ada"}, other)


def renewal(**changes: Any) -> refreshing.Renewal:
    fields: dict[str, Any] = {
        "sign_in": sessions.SignIn("id", int(NOW), "m", ""),
        "subject": "ada",
        "policy_uid": identity.POLICY_UID,
        "refresh_token": "rt",
        "id_token": "it",
        "claims": {"sub": "ada"},
    }
    return refreshing.Renewal(**(fields | changes))


def kept(fields: list[str]) -> dict[str, str]:
    return dict(field.partition(";")[0].split("=", 1) for field in fields if "Max-Age=0" not in field)


def test_a_renewal_comes_back_as_it_was_and_ends_with_the_sign_in() -> None:
    at = site()
    sent = kept(refreshing.write(renewal(), at, {}, NOW))
    assert refreshing.read(at, sent, NOW + 12 * 3600 - 1) == renewal()
    assert refreshing.read(at, sent, NOW + 12 * 3600) is None
    assert refreshing.read(at, {}, NOW) is None
    assert "rt" not in repr(renewal())


def test_a_renewal_of_another_policy_is_none() -> None:
    at = site()
    sent = kept(refreshing.write(renewal(policy_uid="other"), at, {}, NOW))
    assert refreshing.read(at, sent, NOW) is None


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"id_token": "x" * 12_000}, {"id_token": ""}),
        ({"id_token": "x" * 9000, "claims": {"g": "y" * 12_000}}, {"id_token": "", "claims": {}}),
        ({"refresh_token": "x" * 12_000}, {"refresh_token": ""}),
        ({"refresh_token": "x" * 12_000, "id_token": "y" * 12_000}, None),
    ],
)
def test_what_does_not_fit_is_left_out(changes: dict[str, Any], left: dict[str, Any] | None) -> None:
    at = site()
    sent = kept(refreshing.write(renewal(**changes), at, {}, NOW))
    assert refreshing.read(at, sent, NOW) == (None if left is None else renewal(**(changes | left)))


def test_what_is_missing_is_named() -> None:
    def without(change: str) -> str:
        told = identity.configuration(bare_oidc(material_id=f"access/{identity.POLICY_UID}/oidc"))
        told.objects.pop(change, None)
        told.materials.pop(change, None)
        with pytest.raises(UnavailableError) as raised:
            sites.build_site(told, identity.TUNNEL_UID)
        return str(raised.value)

    assert "does not serve" in without(f"tunnel/{identity.TUNNEL_UID}")
    assert "does not serve" in without("fleet")
    assert "a policy" in without(f"access/{identity.POLICY_UID}")
    assert "key of the tunnel's sessions" in without(f"session/{identity.TUNNEL_UID}")
    assert "client secret" in without(f"access/{identity.POLICY_UID}/oidc")


def test_two_policies_with_sign_in_close_the_way() -> None:
    told = identity.configuration(bare_oidc())
    tunnel = told.objects[f"tunnel/{identity.TUNNEL_UID}"].tunnel
    tunnel.access_policy_uids.append("second")
    told.objects["access/second"] = told.objects[f"access/{identity.POLICY_UID}"]
    with pytest.raises(UnavailableError, match="two policies"):
        sites.build_site(told, identity.TUNNEL_UID)


def test_the_port_is_written_only_if_it_is_not_the_usual_one() -> None:
    told = identity.configuration(bare_oidc())
    told.objects["fleet"].fleet.https_port = 443
    assert sites.build_site(told, identity.TUNNEL_UID).redirect_uri == "https://shop.example.test/.hawse/callback"
