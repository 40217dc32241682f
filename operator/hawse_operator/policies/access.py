"""May a policy be enforced, and may a Tunnel name it: what Secrets have to hold, and what exit nodes get of them.

Pure. Called by reconcile.access_policies and policies.tunnels. Messages name Secrets, lines and names, never what they
hold.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hawse_api import names, v1alpha1
from hawse_operator.policies import facts
from hawse_operator.policies.violations import Violation

USERS_KEY = "htpasswd"
CLIENT_SECRET_KEY = "clientSecret"  # noqa: S105 - a key's name
MAX_CLIENT_SECRET = 1024
"""Characters."""
MAX_ENTRIES = 10_000
"""As ACCESS_ENTRIES of the edge."""
MIN_KEY_CHARACTERS = 16
"""A key is found by its plain hash: it has to be too long to be guessed."""
COSTS = range(4, 15)
"""As BCRYPT_MIN_COST and BCRYPT_MAX_COST of the edge."""
_HASH = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_KEY_NAME = re.compile(r"[-._a-zA-Z0-9]{1,253}")


@dataclass(frozen=True, slots=True)
class SecretRead:
    """A Secret that a policy names, as it was read."""

    name: str
    data: Mapping[str, bytes] | None
    """None: it does not exist."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Secret bytes for exit nodes, or why there are none."""

    material: bytes = b""
    violation: Violation | None = None

    def __repr__(self) -> str:
        """Without the bytes."""
        return f"Prepared({self.violation})"


def prepare_users(namespace: str, secret: SecretRead) -> Prepared:
    """Htpasswd lines, checked."""
    text = _text(namespace, secret, USERS_KEY)
    if isinstance(text, Violation):
        return Prepared(violation=text)
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        user, _, hashed = stripped.partition(":")
        if problem := _problem_of_user(user, hashed, seen):
            return Prepared(violation=_unreadable(namespace, secret.name, f"line {number} of {USERS_KEY} {problem}."))
        seen.add(user)
    if not 0 < len(seen) <= MAX_ENTRIES:
        return Prepared(violation=_unreadable(namespace, secret.name, f"{USERS_KEY} has {len(seen)} users."))
    return Prepared(text.encode())


def _problem_of_user(user: str, hashed: str, seen: set[str]) -> str:
    if not user:
        return 'is not "user:hash"'
    if user in seen:
        return f'names "{user}" for the second time'
    found = _HASH.fullmatch(hashed)
    if found is None:
        return f'has no bcrypt hash for "{user}": write it with htpasswd -B'
    if int(found[1]) not in COSTS:
        return f'has a hash of cost {int(found[1])} for "{user}": {COSTS[0]} to {COSTS[-1]} are taken'
    return ""


def prepare_keys(namespace: str, secret: SecretRead) -> Prepared:
    """Lines `name:hash` of API keys; a line break at a key's end is not part of it."""
    if secret.data is None:
        return Prepared(violation=_missing(namespace, secret.name))
    lines = []
    for name, value in sorted(secret.data.items()):
        key = value.rstrip(b"\r\n")
        if len(key) < MIN_KEY_CHARACTERS or not key.isascii() or not key.decode().isprintable() or key != key.strip():
            what = (
                f'the key "{name}" needs at least {MIN_KEY_CHARACTERS} characters of ASCII, without spaces at its ends'
            )
            return Prepared(violation=_unreadable(namespace, secret.name, f"{what}."))
        lines.append(f"{name}:{hashlib.sha256(key).hexdigest()}\n")
    if not 0 < len(lines) <= MAX_ENTRIES:
        return Prepared(violation=_unreadable(namespace, secret.name, f"it has {len(lines)} keys."))
    return Prepared("".join(lines).encode())


def prepare_client_secret(namespace: str, secret: SecretRead) -> Prepared:
    """The client secret at an identity provider; a line break at its end is not part of it."""
    text = _text(namespace, secret, CLIENT_SECRET_KEY)
    if isinstance(text, Violation):
        return Prepared(violation=text)
    value = text.rstrip("\r\n")
    if not 0 < len(value) <= MAX_CLIENT_SECRET or not value.isprintable():
        return Prepared(
            violation=_unreadable(namespace, secret.name, f"{CLIENT_SECRET_KEY} is empty or no line of text.")
        )
    return Prepared(value.encode())


def _text(namespace: str, secret: SecretRead, key: str) -> str | Violation:
    if secret.data is None:
        return _missing(namespace, secret.name)
    if key not in secret.data:
        return _unreadable(namespace, secret.name, f"it has no key {key}.")
    try:
        return secret.data[key].decode()
    except UnicodeDecodeError:
        return _unreadable(namespace, secret.name, f"{key} is not text.")


def _missing(namespace: str, name: str) -> Violation:
    message = f'Secret "{name}" does not exist in namespace {namespace}. Until it does, nobody is let in.'
    return Violation(names.Reason.SECRET_NOT_FOUND, message)


def _unreadable(namespace: str, name: str, what: str) -> Violation:
    return Violation(names.Reason.SECRET_UNREADABLE, f'Secret "{name}" in namespace {namespace}: {what}')


# --- may a Tunnel name it -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Named:
    """A policy that counts for a Tunnel, as it was found."""

    namespace: str
    name: str
    policy: v1alpha1.AccessPolicy | None
    """None: there is none, or it cannot be read."""
    by_fleet: bool = False
    """The Fleet names it, not the Tunnel: then the Tunnel's namespace needs nobody's leave."""


Ref = tuple[str, str]
"""Namespace and name of a policy."""


def policies_of(tunnel: v1alpha1.Tunnel, fleet: v1alpha1.Fleet | None) -> tuple[tuple[Ref, bool], ...]:
    """Policies that all have to let a visitor in, each with whether the Fleet names it; the Tunnel's own first."""
    own = tunnel.spec.access.policy_ref if tunnel.spec.access else None
    found = [((own.namespace or tunnel.namespace, own.name), False)] if own else []
    defaults = fleet.spec.access_defaults if fleet else None
    if defaults is not None:
        ref = (defaults.policy_ref.namespace, defaults.policy_ref.name)
        is_required = defaults.mode is v1alpha1.AccessDefaultsMode.REQUIRED
        if (is_required or (own is None and not tunnel.spec.is_tcp)) and (ref, False) not in found:
            found.append((ref, True))
    return tuple(found)


def allows(policy: v1alpha1.AccessPolicy, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether Tunnels of a namespace may name a policy."""
    if policy.namespace == namespace:
        return True
    allowed = policy.spec.allowed_namespaces
    return allowed is not None and allowed.allows(dict(labels))


def may_be_named(named: Named, tunnel_namespace: str, namespace: facts.Namespace | None) -> Violation | None:
    """The policy is there and lets this namespace use it. Of another namespace's, the two are not told apart."""
    policy = named.policy
    is_there = policy is not None and not policy.is_deleting
    if named.by_fleet:
        if is_there:
            return None
        message = f'AccessPolicy "{named.name}" of the Fleet (spec.accessDefaults) is not there. Ask the platform team.'
        return Violation(names.Reason.ACCESS_POLICY_NOT_FOUND, message)
    if named.namespace == tunnel_namespace:
        if is_there:
            return None
        message = f'AccessPolicy "{named.name}" does not exist in namespace {named.namespace}, or cannot be read.'
        return Violation(names.Reason.ACCESS_POLICY_NOT_FOUND, message)
    if policy is not None and is_there and namespace and allows(policy, tunnel_namespace, namespace.labels):
        return None
    return Violation(
        names.Reason.ACCESS_POLICY_NOT_ALLOWED,
        f'AccessPolicy "{named.name}" of namespace {named.namespace} does not exist, or its spec.allowedNamespaces '
        f"does not name {tunnel_namespace}.",
    )


def is_enforceable(named: Named) -> Violation | None:
    """The policy says of itself that it can be enforced. The edge refuses everybody if it can't."""
    policy = named.policy
    ready = policy.status.condition(names.Condition.READY) if policy else None
    if policy is None or ready is None or ready.is_true:
        return None
    return Violation(
        names.Reason.ACCESS_POLICY_NOT_READY,
        f"AccessPolicy {named.name} cannot be enforced, so nobody is let in: "
        f"kubectl describe accesspolicy {named.name} -n {named.namespace} shows why.",
    )
