"""Signing in at an OpenID provider: part of AccessPolicy, and what the operator found out of the provider."""

import re
from typing import Annotated

from pydantic import Field

from hawse_api.v1alpha1.meta import Duration, LocalRef, between
from hawse_api.v1alpha1.schema import LIST_SET, Model, Rule

_HOST = r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)"
_HERE = r"(?:127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|\[::1\])"
ISSUER = rf"^(?:https://{_HOST}|http://{_HERE})(?::[0-9]{{1,5}})?(?:/[-A-Za-z0-9._~%!$&'()*+,;=:@/]*)?$"
_Scope = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!#-\[\]-~]+$")]


class OpenId(Model):
    """Visitors sign in at an OpenID provider, by the authorization code flow with PKCE."""

    issuer: Annotated[
        str,
        Field(max_length=512),
        Rule(
            cel=f'self.matches(r"{ISSUER}")',
            message="must be an https address without query, exactly as the provider writes it",
            holds=lambda url: re.fullmatch(ISSUER[1:-1], url) is not None,
        ),
    ]
    """The provider, exactly as it calls itself: `https://id.example.com/realms/staff`. Exit nodes and operator have to
    reach it; where only the cluster does, its network has to stand in spec.targets.allowedCIDRs of the Fleet. (http is
    taken on loopback, for trials.)"""
    client_id: Annotated[str, Field(min_length=1, max_length=256, alias="clientID")]
    """Our client there. Its redirect URI is `https://<host>[:port]/.hawse/callback` for each Tunnel."""
    client_secret_ref: LocalRef | None = None
    """A Secret of the policy's namespace with the key `clientSecret`; absent: a public client. Another Secret counts
    within 10 s."""
    scopes: Annotated[tuple[_Scope, ...], Field(max_length=16, json_schema_extra=LIST_SET)] = ("email",)
    """What is asked for besides `openid`, and `offline_access` where the provider knows it. `groups`, say, if rules
    name that claim and the provider has a scope for it."""
    session_lifetime: Annotated[Duration, between("10m", "24h")] = "12h"
    """After this a visitor signs in again, whatever the provider says."""


class ProviderStatus(Model):
    """What the provider said of itself last: exit nodes go on with it while it cannot be reached."""

    issuer: Annotated[str, Field(max_length=512)]
    """Whose words these are."""
    authorization_endpoint: Annotated[str, Field(max_length=1024)]
    """Where browsers go."""
    token_endpoint: Annotated[str, Field(max_length=1024)]
    """Where exit nodes trade codes."""
    jwks_uri: Annotated[str, Field(max_length=1024, alias="jwksURI")]
    """Its public keys."""
    userinfo_endpoint: Annotated[str, Field(max_length=1024)] | None = None
    """More claims."""
    end_session_endpoint: Annotated[str, Field(max_length=1024)] | None = None
    """Where browsers sign out."""
    auth_methods: Annotated[
        tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=16, json_schema_extra=LIST_SET)
    ] = ()
    """How clients with a secret may prove themselves, the better way first."""
    offline_access: bool = False
    """It gives refresh tokens for the scope of this name."""
