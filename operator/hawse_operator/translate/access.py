"""AccessPolicy → IR, and what its secrets are called. Pure. Called by reconcile.access_policies."""

from collections.abc import Mapping
from types import MappingProxyType

from hawse_api import v1alpha1
from hawse_api.ir import ir_pb2

MODES = {
    v1alpha1.AccessMode.ANY: ir_pb2.AccessPolicy.MODE_ANY,
    v1alpha1.AccessMode.ALL: ir_pb2.AccessPolicy.MODE_ALL,
}
BASIC, API_KEYS, OIDC = "basic", "apiKeys", "oidc"


def policy_key(uid: str) -> str:
    """Key of an AccessPolicy in IR."""
    return f"access/{uid}"


def material_id(uid: str, method: str) -> str:
    """Material id of a method's secret bytes."""
    return f"access/{uid}/{method}"


def translate_policy(
    policy: v1alpha1.AccessPolicy,
    *,
    key_sets: Mapping[str, str] = MappingProxyType({}),
    oidc: ir_pb2.Oidc | None = None,
    broken: str = "",
) -> ir_pb2.Object:
    """What visitors have to prove; `key_sets`: by issuer; `oidc`: its provider, as `translate_provider` makes it.

    `broken` says for visitors why it cannot be checked, and names no Secret.
    """
    spec = policy.spec
    result = _named(policy.uid, policy.namespace, policy.name, broken)
    access = result.access
    access.mode = MODES[spec.mode]
    if spec.ip_ranges is not None:
        access.ip_ranges.allow.extend(spec.ip_ranges.allow)
        access.ip_ranges.deny.extend(spec.ip_ranges.deny)
    if spec.basic is not None:
        access.basic.material_id = material_id(policy.uid, BASIC)
    if spec.api_keys is not None:
        access.api_keys.material_id = material_id(policy.uid, API_KEYS)
        access.api_keys.header = spec.api_keys.header.lower()
    for one in spec.issuers:
        access.jwt.add(issuer=one.issuer, audiences=one.audiences, jwks=key_sets.get(one.issuer, "").encode())
    if oidc is not None:
        access.oidc.CopyFrom(oidc)
    if spec.authorization is not None:
        access.authorization.default_allow = spec.authorization.default is v1alpha1.DefaultVerdict.ALLOW
        for rule in spec.authorization.claim_rules:
            access.authorization.rules.add(name=rule.name, claim=rule.claim, any_of=rule.any_of)
    return result


def translate_provider(
    policy: v1alpha1.AccessPolicy,
    openid: v1alpha1.OpenId,
    provider: v1alpha1.ProviderStatus,
    *,
    keys: bytes,
    auth_method: str,
) -> ir_pb2.Oidc:
    """Where visitors sign in, as it was discovered; without `keys` exit nodes fetch them."""
    extra = ("offline_access",) if provider.offline_access else ()
    return ir_pb2.Oidc(
        issuer=openid.issuer,
        client_id=openid.client_id,
        material_id=material_id(policy.uid, OIDC) if openid.client_secret_ref else "",
        scopes=dict.fromkeys(("openid", *openid.scopes, *extra)),
        authorization_endpoint=provider.authorization_endpoint,
        token_endpoint=provider.token_endpoint,
        end_session_endpoint=provider.end_session_endpoint or "",
        userinfo_endpoint=provider.userinfo_endpoint or "",
        jwks=keys,
        jwks_uri=provider.jwks_uri,
        token_endpoint_auth_method=auth_method,
        session_lifetime_ms=int(v1alpha1.duration_s(openid.session_lifetime) * 1000),
    )


def translate_unreadable_policy(uid: str, namespace: str, name: str) -> ir_pb2.Object:
    """A policy whose spec cannot be read: it refuses everybody."""
    return _named(uid, namespace, name, "The access policy is not valid.")


def _named(uid: str, namespace: str, name: str, broken: str) -> ir_pb2.Object:
    policy = ir_pb2.AccessPolicy(uid=uid, namespace=namespace, name=name, broken=broken)
    return ir_pb2.Object(key=policy_key(uid), access=policy)
