"""What Secrets of a policy have to hold, who may name it, and that messages never tell what is in them."""

import hashlib
from dataclasses import replace

import pytest

from hawse_api import v1alpha1
from hawse_operator.policies import access, facts, targets, tunnels
from support.objects import NOW, fleet, policy, token, tunnel, tunnel_body

HASH = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
KEY = b"0123456789abcdef"


def users(text: bytes | None) -> access.Prepared:
    data = None if text is None else {"htpasswd": text}
    return access.prepare_users("team-a", access.SecretRead("users", data))


def keys(**values: bytes) -> access.Prepared:
    return access.prepare_keys("team-a", access.SecretRead("keys", values))


def test_users_go_to_exit_nodes_as_they_are() -> None:
    text = f"# people\n\nada:{HASH}\nbob:{HASH.replace('$2y$', '$2b$')}\n".encode()
    assert users(text) == access.Prepared(text)


@pytest.mark.parametrize(
    ("text", "reason", "said"),
    [
        (None, "SecretNotFound", 'Secret "users" does not exist in namespace team-a.'),
        (b"", "SecretUnreadable", "has 0 users"),
        (b"\xff", "SecretUnreadable", "is not text"),
        (b"# nobody", "SecretUnreadable", "has 0 users"),
        (b"ada", "SecretUnreadable", 'line 1 of htpasswd has no bcrypt hash for "ada": write it with htpasswd -B'),
        (b"ada:geheim", "SecretUnreadable", "line 1 of htpasswd has no bcrypt hash"),
        (f":{HASH}".encode(), "SecretUnreadable", 'line 1 of htpasswd is not "user:hash"'),
        (f"ada:{HASH}\nada:{HASH}".encode(), "SecretUnreadable", 'line 2 of htpasswd names "ada" for the second time'),
        (f"ada:{HASH[:-1]}".encode(), "SecretUnreadable", "no bcrypt hash"),
        (f"ada:{HASH.replace('$05$', '$15$')}".encode(), "SecretUnreadable", "a hash of cost 15"),
        (f"ada:{HASH.replace('$05$', '$03$')}".encode(), "SecretUnreadable", "a hash of cost 3"),
    ],
)
def test_users_that_cannot_be_read_are_none(text: bytes | None, reason: str, said: str) -> None:
    prepared = users(text)
    assert prepared.violation is not None
    assert (prepared.material, prepared.violation.reason) == (b"", reason)
    assert said in prepared.violation.message
    assert "geheim" not in repr(prepared)
    assert HASH[8:20] not in repr(prepared)


def test_a_secret_without_the_key_says_so() -> None:
    prepared = access.prepare_users("team-a", access.SecretRead("users", {"auth": b"x"}))
    assert prepared.violation is not None
    assert "it has no key htpasswd" in prepared.violation.message


def test_of_keys_exit_nodes_get_names_and_hashes() -> None:
    prepared = keys(ops=KEY + b"\n", ci=KEY * 2)
    hashes = [hashlib.sha256(key).hexdigest() for key in (KEY * 2, KEY)]
    assert prepared.violation is None
    assert prepared.material.decode() == f"ci:{hashes[0]}\nops:{hashes[1]}\n"


@pytest.mark.parametrize("key", [b"", b"short", KEY[:15], b" " + KEY, KEY + b" ", b"\xff" * 20, KEY + b"\n" + KEY])
def test_a_key_that_could_be_guessed_or_sent_wrong_is_refused(key: bytes) -> None:
    prepared = keys(good=KEY, bad=key)
    assert prepared.violation is not None
    assert 'the key "bad" needs at least 16 characters' in prepared.violation.message
    assert prepared.material == b""


def test_no_keys_are_no_method() -> None:
    assert "it has 0 keys" in str(keys().violation)
    missing = access.prepare_keys("team-a", access.SecretRead("keys", None))
    assert missing.violation is not None
    assert missing.violation.reason == "SecretNotFound"


NAMESPACE = facts.Namespace("team-b", "uid-team-b", {"tier": "dev"})
SHARED = policy(spec={"ipRanges": {"allow": ["10.0.0.0/8"]}, "allowedNamespaces": {"from": "All"}})
SELECTED = policy(
    spec={
        "ipRanges": {"allow": ["10.0.0.0/8"]},
        "allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"tier": "dev"}}},
    }
)
GOING = policy(deletionTimestamp="2026-03-01T00:00:00Z", spec=SHARED.spec.dump())


@pytest.mark.parametrize(
    ("found", "namespace", "reason"),
    [
        pytest.param(policy(), "team-a", None, id="its own namespace"),
        pytest.param(None, "team-a", "AccessPolicyNotFound", id="none"),
        pytest.param(GOING, "team-a", "AccessPolicyNotFound", id="one that is about to go"),
        pytest.param(policy(), "team-b", "AccessPolicyNotAllowed", id="another namespace"),
        pytest.param(None, "team-b", "AccessPolicyNotAllowed", id="none in another namespace"),
        pytest.param(GOING, "team-b", "AccessPolicyNotAllowed", id="one that is about to go in another namespace"),
        pytest.param(SHARED, "team-b", None, id="all namespaces"),
        pytest.param(SELECTED, "team-b", None, id="the label"),
        pytest.param(SELECTED, "team-c", "AccessPolicyNotAllowed", id="without the label"),
    ],
)
def test_a_tunnel_may_name_a_policy_that_lets_it(
    found: v1alpha1.AccessPolicy | None, namespace: str, reason: str | None
) -> None:
    asking = NAMESPACE if namespace == "team-b" else facts.Namespace(namespace, "uid", {})
    violation = access.may_be_named(access.Named("team-a", "staff", found), namespace, asking)
    assert (violation and violation.reason) == reason


def test_what_is_not_there_and_what_is_not_allowed_are_told_alike_to_other_namespaces() -> None:
    said = {
        str(access.may_be_named(access.Named("team-a", "staff", found), "team-b", NAMESPACE))
        for found in (None, policy(), GOING)
    }
    assert len(said) == 1


@pytest.mark.parametrize(("status", "is_refused"), [(None, False), ("True", False), ("False", True), ("Unknown", True)])
def test_a_tunnel_says_that_its_policy_refuses_everybody(status: str | None, is_refused: bool) -> None:
    conditions = [
        {"type": "Ready", "status": status, "reason": "X", "message": "", "lastTransitionTime": NOW.isoformat()}
    ]
    found = policy(status={"conditions": conditions if status else []})
    violation = access.is_enforceable(access.Named("team-a", "staff", found))
    assert (violation is not None) is is_refused
    assert violation is None or "kubectl describe accesspolicy staff -n team-a" in violation.message


OWN = {"access": {"policyRef": {"name": "own"}}}
FLEETS = {"access": {"policyRef": {"name": "staff", "namespace": "security"}}}
TCP = {"protocol": "TCP", "host": None}


def defaults(mode: str) -> v1alpha1.Fleet:
    ref = {"name": "staff", "namespace": "security"}
    return fleet(spec={"accessDefaults": {"policyRef": ref, "mode": mode}, "tcpPorts": "20000-20009"})


@pytest.mark.parametrize(
    ("spec", "of", "expected"),
    [
        ({}, fleet(), []),
        (OWN, fleet(), [("team-a/own", False)]),
        ({}, None, []),
        ({}, defaults("Default"), [("security/staff", True)]),
        (OWN, defaults("Default"), [("team-a/own", False)]),
        ({}, defaults("Required"), [("security/staff", True)]),
        (OWN, defaults("Required"), [("team-a/own", False), ("security/staff", True)]),
        (FLEETS, defaults("Required"), [("security/staff", False)]),
        (TCP, defaults("Default"), []),
        (TCP, defaults("Required"), [("security/staff", True)]),
    ],
)
def test_which_policies_count(
    spec: dict[str, object], of: v1alpha1.Fleet | None, expected: list[tuple[str, bool]]
) -> None:
    body = tunnel_spec(spec)
    found = access.policies_of(body, of)
    assert [("/".join(ref), by_fleet) for ref, by_fleet in found] == expected


def tunnel_spec(spec: dict[str, object]) -> v1alpha1.Tunnel:
    """A Tunnel; None takes a field away."""
    made = tunnel_body(spec=spec)
    made["spec"] = {name: value for name, value in made["spec"].items() if value is not None}
    return v1alpha1.Tunnel.from_object(made)


def test_the_fleets_policy_needs_no_leave_and_has_to_be_there() -> None:
    there = access.Named("security", "staff", policy("staff", "security"), by_fleet=True)
    assert access.may_be_named(there, "team-b", NAMESPACE) is None
    gone = access.may_be_named(access.Named("security", "staff", None, by_fleet=True), "team-b", NAMESPACE)
    assert gone is not None
    assert gone.reason == "AccessPolicyNotFound"


def test_a_tcp_tunnel_is_closed_where_a_policy_is_required() -> None:
    destination = targets.Destination(tunnel().spec.target, token())
    named = (access.Named("security", "staff", policy("staff", "security"), by_fleet=True),)
    given = tunnels.TunnelInput(
        tunnel_spec(TCP), defaults("Required"), ("default",), NAMESPACE, destination, None, (), policies=named
    )
    assert [violation.reason for violation in tunnels.violations_of_access(given)] == ["AccessNotChecked"]
    assert tunnels.violations_of_access(replace(given, tunnel=tunnel())) == ()
    assert tunnels.violations_of_access(replace(given, policies=())) == ()
