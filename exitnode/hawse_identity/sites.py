"""What this node knows of a tunnel whose visitors sign in, put together from its configuration. Pure.

A site is read anew for each request: a policy, key or secret that changed counts at once. Called by `service`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hawse_api.ir import ir_pb2
from hawse_identity import sessions
from hawse_identity.errors import UnavailableError

CALLBACK = "/.hawse/callback"
LOGOUT = "/.hawse/logout"
_DEFAULT_LIFETIME_S = 12 * 3600.0


class Configuration(Protocol):
    """What the exit node was told to serve."""

    def find_object(self, key: str) -> ir_pb2.Object | None:
        """By its key ("tunnel/<uid>")."""

    def find_material(self, id: str) -> bytes | None:  # noqa: A002
        """Secret bytes by their id ("session/<tunnel uid>")."""


@dataclass(frozen=True, slots=True)
class Site:
    """One tunnel with the policy by which its visitors sign in."""

    tunnel: str
    """"namespace/name", for logs."""
    hostname: str
    origin: str
    """"https://shop.example.com" or with a port: from the configuration, never from what a visitor sends."""
    policy_uid: str
    provider: ir_pb2.Oidc
    keys: sessions.Keys
    client_secret: str = field(repr=False)
    ended: Mapping[str, int]
    """Sign-ins that are over, as the operator told (`ir.Revoked`)."""
    rule_claims: Sequence[str] = ()
    """Claims that decide who may come in."""
    rule_values: frozenset[str] = frozenset()
    """What the rules look for in them."""

    @property
    def redirect_uri(self) -> str:
        """Registered at the provider, exactly so."""
        return self.origin + CALLBACK

    @property
    def lifetime_s(self) -> float:
        """Of a sign-in, renewals included."""
        return self.provider.session_lifetime_ms / 1000 or _DEFAULT_LIFETIME_S


def build_site(configuration: Configuration, tunnel_uid: str) -> Site:
    """Everything about a tunnel.

    Raises:
        UnavailableError: naming what is missing.
    """
    found = configuration.find_object(f"tunnel/{tunnel_uid}")
    fleet = configuration.find_object("fleet")
    if found is None or fleet is None:
        raise UnavailableError("this exit node does not serve the tunnel (any more)")
    tunnel = found.tunnel
    policy = _policy(configuration, tunnel)
    keys = sessions.split_keys(configuration.find_material(f"session/{tunnel_uid}") or b"")
    if keys is None:
        raise UnavailableError("the key of the tunnel's sessions has not arrived at this exit node")
    secret = b""
    if policy.oidc.material_id:
        kept = configuration.find_material(policy.oidc.material_id)
        if kept is None:
            raise UnavailableError("the client secret of the tunnel's policy has not arrived at this exit node")
        secret = kept
    port = fleet.fleet.https_port
    revoked = configuration.find_object("revoked")
    rules = policy.authorization.rules
    return Site(
        tunnel=f"{tunnel.namespace}/{tunnel.name}",
        hostname=tunnel.hostname,
        origin=f"https://{tunnel.hostname}" + (f":{port}" if port not in (0, 443) else ""),
        policy_uid=policy.uid,
        provider=policy.oidc,
        keys=keys,
        client_secret=secret.decode("utf-8", "replace"),
        ended=revoked.revoked.ended if revoked else {},
        rule_claims=tuple(dict.fromkeys(rule.claim for rule in rules)),
        rule_values=frozenset(value for rule in rules for value in rule.any_of),
    )


def _policy(configuration: Configuration, tunnel: ir_pb2.Tunnel) -> ir_pb2.AccessPolicy:
    signing_in = []
    for uid in tunnel.access_policy_uids:
        found = configuration.find_object(f"access/{uid}")
        if found is None:
            raise UnavailableError("a policy of the tunnel has not arrived at this exit node")
        if found.access.HasField("oidc"):
            signing_in.append(found.access)
    if not signing_in:
        raise UnavailableError("no policy of the tunnel lets visitors sign in")
    if len(signing_in) > 1:
        raise UnavailableError("two policies of the tunnel let visitors sign in: one of them has to do without oidc")
    if signing_in[0].broken:
        raise UnavailableError(signing_in[0].broken)
    return signing_in[0]
