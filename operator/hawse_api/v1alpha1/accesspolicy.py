"""AccessPolicy: who may visit the tunnels that name it. Made by a security team, shared by many tunnels.

Served: addresses, passwords, API keys, tokens, signing in at an OpenID provider. A policy that cannot be enforced
closes its tunnels.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from hawse_api.v1alpha1.fleet import AllowedNamespaces, Cidr
from hawse_api.v1alpha1.meta import DnsLabel, LocalRef, Resource, ResourceStatus
from hawse_api.v1alpha1.openid import OpenId, ProviderStatus
from hawse_api.v1alpha1.schema import (
    LIST_SET,
    Column,
    Definition,
    Model,
    Rule,
    Scope,
    Status,
    condition_columns,
    list_map,
)


class AccessMode(StrEnum):
    """How many methods have to let a visitor in."""

    ANY = "Any"
    ALL = "All"


class DefaultVerdict(StrEnum):
    """What happens to one whom no rule names."""

    DENY = "Deny"
    ALLOW = "Allow"


_Networks = Annotated[tuple[Cidr, ...], Field(max_length=256, json_schema_extra=LIST_SET)]


class IpRanges(Model):
    """Addresses of visitors."""

    allow: _Networks = ()
    """With mode Any, a visitor from these networks needs nothing else; with All, visitors have to come from there."""
    deny: _Networks = ()
    """Visitors from these networks are refused before everything else, in either mode."""


class BasicAuth(Model):
    """User names and passwords."""

    secret_ref: LocalRef
    """A Secret of the policy's namespace with the key `htpasswd`: a line `user:hash` for each user, hashes by
    `htpasswd -B` (bcrypt, cost 4 to 14). Another Secret counts within 10 s."""


RESERVED_FIELDS = (
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "transfer-encoding",
)
"""Fields of a request that mean something else."""


def _may_hold_a_key(name: str) -> bool:
    lower = name.lower()
    return lower not in RESERVED_FIELDS and not lower.startswith(("x-hawse-", "x-forwarded-", "sec-"))


_KeyField = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=r"^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$"),
    Rule(
        cel=f"!(self.lowerAscii() in {list(RESERVED_FIELDS)}) && !self.lowerAscii().startsWith('x-hawse-') && "
        "!self.lowerAscii().startsWith('x-forwarded-') && !self.lowerAscii().startsWith('sec-')",
        message="is a field that means something else: take one of your own, such as X-Api-Key",
        holds=_may_hold_a_key,
    ),
]


class ApiKeys(Model):
    """Keys of programs."""

    secret_ref: LocalRef
    """A Secret of the policy's namespace: each value is a key of at least 16 characters, its name says whose. Exit
    nodes get hashes. Another Secret counts within 10 s."""
    header: _KeyField = "X-Api-Key"
    """The request's field that brings the key; apps never see it."""


_HttpsUrl = Annotated[str, Field(min_length=9, max_length=512, pattern=r"^https://[A-Za-z0-9.:\[\]-]+(/[!-~]*)?$")]


class JwtIssuer(Model):
    """Tokens (JSON Web Tokens, `Authorization: Bearer`) of one issuer."""

    issuer: Annotated[str, Field(min_length=1, max_length=512)]
    """What the token's `iss` is."""
    audiences: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
        Field(min_length=1, max_length=16, json_schema_extra=LIST_SET),
    ]
    """One of them has to be in the token's `aud`."""
    jwks_uri: Annotated[_HttpsUrl, Field(alias="jwksURI")]
    """Where the issuer publishes its keys; read every minute. Private addresses only as far as a Fleet that the policy
    is used in allows them (spec.targets.allowedCIDRs)."""


class ClaimRule(Model):
    """Lets in those who have one of these values."""

    name: DnsLabel
    """What the rule is for."""
    claim: Annotated[str, Field(min_length=1, max_length=128)]
    """Claim of the identity: `sub` is the user, or the name of an API key; `a.b` is `b` inside of `a`."""
    any_of: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
        Field(min_length=1, max_length=64, json_schema_extra=LIST_SET),
    ]
    """One of them is enough."""


class Authorization(Model):
    """Which of those who proved who they are may come in."""

    claim_rules: Annotated[
        tuple[ClaimRule, ...], Field(alias="rules", min_length=1, max_length=32, json_schema_extra=list_map("name"))
    ]
    """One that names a visitor is enough."""
    default: DefaultVerdict = DefaultVerdict.DENY
    """What happens to one whom no rule names."""


class AccessPolicySpec(Model):
    """What visitors have to prove."""

    rules = (
        Rule(
            cel="has(self.basic) || has(self.apiKeys) || has(self.oidc) || "
            "(has(self.jwt) && self.jwt.size() > 0) || "
            "(has(self.ipRanges) && has(self.ipRanges.allow) && self.ipRanges.allow.size() > 0)",
            message="nobody could come in: give ipRanges.allow, basic, apiKeys, jwt or oidc",
            holds=lambda spec: spec.tells_who or bool(spec.ip_ranges and spec.ip_ranges.allow),
        ),
        Rule(
            cel="!has(self.authorization) || has(self.basic) || has(self.apiKeys) || has(self.oidc) || "
            "(has(self.jwt) && self.jwt.size() > 0)",
            message="authorization needs a method that tells who a visitor is: basic, apiKeys, jwt or oidc",
            holds=lambda spec: spec.authorization is None or spec.tells_who,
        ),
    )

    mode: AccessMode = AccessMode.ANY
    """Any: one of the methods that are given lets a visitor in. All: each of them has to."""
    ip_ranges: IpRanges | None = None
    """Addresses of visitors."""
    basic: BasicAuth | None = None
    """User names and passwords."""
    api_keys: ApiKeys | None = None
    """Keys of programs."""
    jwt: Annotated[tuple[JwtIssuer, ...], Field(max_length=8, json_schema_extra=list_map("issuer"))] | None = None
    """Issuers whose tokens are taken; together they are one method."""
    oidc: OpenId | None = None
    """Visitors sign in at an OpenID provider (docs/signing-in.md)."""
    authorization: Authorization | None = None
    """Which of those who proved who they are may come in; absent: all of them."""
    allowed_namespaces: AllowedNamespaces | None = None
    """Which namespaces' Tunnels may name this policy, besides its own."""

    @property
    def tells_who(self) -> bool:
        """Whether a method says who a visitor is."""
        methods = (self.basic, self.api_keys, self.oidc)
        return any(method is not None for method in methods) or bool(self.jwt)

    @property
    def issuers(self) -> tuple[JwtIssuer, ...]:
        """Whose tokens are taken."""
        return self.jwt or ()


class KeySet(Status):
    """Public keys of a token issuer, as they were last read: they outlive the issuer and the operator."""

    issuer: Annotated[str, Field(max_length=512)]
    """As in spec.jwt."""
    jwks_uri: Annotated[str, Field(alias="jwksURI", max_length=512)]
    """Where they are from."""
    jwks: Annotated[str, Field(max_length=65536)]
    """The set, as JSON."""


class AccessPolicyStatus(ResourceStatus):
    """What the operator found."""

    key_sets: Annotated[tuple[KeySet, ...], Field(max_length=8, json_schema_extra=list_map("issuer"))] = ()
    """Public keys of the token issuers."""
    provider: ProviderStatus | None = None
    """Of `oidc`: what the provider said of itself last."""


class AccessPolicy(Resource):
    """Who may visit the tunnels that name it."""

    definition: ClassVar[Definition] = Definition(
        kind="AccessPolicy",
        plural="accesspolicies",
        short="acp",
        scope=Scope.NAMESPACED,
        columns=(
            Column("Mode", ".spec.mode", description="How many methods have to let a visitor in."),
            *condition_columns(),
        ),
    )

    spec: AccessPolicySpec
    status: AccessPolicyStatus = AccessPolicyStatus()
