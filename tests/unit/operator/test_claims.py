"""Who gets a name: every rule of SubdomainReservations as a table."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from hawse_api import v1alpha1
from hawse_operator.policies import claims
from hawse_operator.policies.hosts import Named
from support.objects import NOW, reservation

DELETE, RETAIN = v1alpha1.ReclaimPolicy.DELETE, v1alpha1.ReclaimPolicy.RETAIN
MINE = claims.Claimant("team-a", "uid-team-a", "shop", "uid-shop", RETAIN)
OTHER = claims.Claimant("team-b", "uid-team-b", "shop", "uid-other", RETAIN)
RECREATED = replace(MINE, namespace_uid="uid-new", uid="uid-newer")
RELEASED = {"releasedAt": "2026-03-01T00:00:00Z", "expiresAt": "2026-05-30T00:00:00Z"}
SHOP = Named("shop", "default", "Subdomain", subdomain="shop")
ALLOWED = {"annotations": {"hawse.dev/allow-recreated-namespace": "uid-new"}}
AFTER = datetime.fromisoformat("2026-06-01T00:00:00Z")

GENERATION = [
    # (what is claimed, by whom, when, the class of the result, its generation)
    pytest.param(None, MINE, NOW, claims.Create, 1, id="a free name is created in generation 1"),
    pytest.param(reservation(), MINE, NOW, claims.Held, 1, id="the holder holds it"),
    pytest.param(reservation(holderGeneration=4), MINE, NOW, claims.Held, 4, id="the holder keeps its generation"),
    pytest.param(
        reservation(**RELEASED),
        MINE,
        NOW,
        claims.Take,
        1,
        id="the same namespace takes its tombstone back in its generation",
    ),
    pytest.param(
        reservation(**RELEASED, holderGeneration=3),
        replace(MINE, name="renamed", uid="u2"),
        NOW,
        claims.Take,
        3,
        id="another Tunnel of the same namespace takes it back as the same holder",
    ),
    pytest.param(reservation(**RELEASED), OTHER, AFTER, claims.Take, 2, id="an expired tombstone goes to a new holder"),
    pytest.param(
        reservation(**RELEASED, **ALLOWED), RECREATED, NOW, claims.Take, 2, id="an administrator hands a tombstone over"
    ),
    pytest.param(reservation(**ALLOWED), RECREATED, NOW, claims.Take, 2, id="an administrator hands a held name over"),
    pytest.param(
        reservation(tunnel_uid="earlier"),
        MINE,
        NOW,
        claims.Take,
        1,
        id="a Tunnel made anew under its name stays the holder",
    ),
    pytest.param(
        reservation(),
        replace(MINE, reclaim_policy=DELETE),
        NOW,
        claims.Take,
        1,
        id="the reclaim policy follows the Tunnel",
    ),
]


@pytest.mark.parametrize(("found", "claimant", "now", "kind", "generation"), GENERATION)
def test_a_claim_gets_the_name_in_the_right_generation(
    found: v1alpha1.SubdomainReservation | None, claimant: claims.Claimant, now: datetime, kind: type, generation: int
) -> None:
    claim = claims.decide_claim(claimant, found, now=now)
    assert isinstance(claim, kind)
    if isinstance(claim, claims.Held):
        assert claim.generation == generation
        return
    assert isinstance(claim, claims.Create | claims.Take)
    assert claim.spec.holder_generation == generation
    assert claim.spec.claim_ref.namespace_uid == claimant.namespace_uid
    assert claim.spec.claim_ref.uid == claimant.uid
    assert claim.spec.released_at is None
    assert claim.spec.expires_at is None
    assert claim.spec.reclaim_policy is claimant.reclaim_policy


REFUSED = [
    pytest.param(
        reservation(),
        OTHER,
        "NameTaken",
        "shop.tunnels.example.com is held by team-a/shop since 2026-03-01. Choose another subdomain, or ask team-a to "
        "release it (kubectl delete tunnel shop -n team-a).",
        id="a held name",
    ),
    pytest.param(
        reservation(),
        replace(MINE, name="second", uid="u2"),
        "NameTaken",
        "shop.tunnels.example.com is held by team-a/shop since 2026-03-01. Choose another subdomain, or ask team-a to "
        "release it (kubectl delete tunnel shop -n team-a).",
        id="a name held by another Tunnel of the namespace",
    ),
    pytest.param(
        reservation("tcp-20017.tunnels.example.com"),
        OTHER,
        "NameTaken",
        "tcp-20017.tunnels.example.com is held by team-a/shop since 2026-03-01. Choose another port (or leave spec.port"
        " out), or ask team-a to release it (kubectl delete tunnel shop -n team-a).",
        id="a held port",
    ),
    pytest.param(
        reservation(**RELEASED),
        OTHER,
        "Tombstone",
        "shop.tunnels.example.com was released by team-a on 2026-03-01 and is kept for them until 2026-05-30. "
        "Choose another subdomain.",
        id="a tombstone",
    ),
    pytest.param(
        reservation(releasedAt="2026-03-01T00:00:00Z"),
        OTHER,
        "Tombstone",
        "shop.tunnels.example.com was released by team-a on 2026-03-01 and is kept for them for good. "
        "Choose another subdomain.",
        id="a tombstone without an end",
    ),
    pytest.param(
        reservation(**RELEASED),
        RECREATED,
        "NamespaceRecreated",
        "shop.tunnels.example.com belonged to an earlier namespace team-a; this one was created anew and counts as "
        "somebody else. An administrator hands it over with: kubectl annotate subdomainreservation "
        "shop.tunnels.example.com hawse.dev/allow-recreated-namespace=uid-new",
        id="a tombstone of an earlier namespace of that name",
    ),
    pytest.param(reservation(), RECREATED, "NamespaceRecreated", None, id="a name still held by an earlier namespace"),
    pytest.param(
        reservation(**RELEASED, annotations={"hawse.dev/allow-recreated-namespace": "uid-another"}),
        RECREATED,
        "NamespaceRecreated",
        None,
        id="a tombstone handed over to another re-creation",
    ),
]


@pytest.mark.parametrize(("found", "claimant", "reason", "message"), REFUSED)
def test_a_refused_claim_says_who_holds_the_name_and_what_to_do(
    found: v1alpha1.SubdomainReservation, claimant: claims.Claimant, reason: str, message: str | None
) -> None:
    claim = claims.decide_claim(claimant, found, now=NOW)
    assert isinstance(claim, claims.Refused)
    assert claim.violation.reason == reason
    if message is not None:
        assert claim.violation.message == message


def test_a_tombstone_is_kept_to_the_second() -> None:
    end = datetime.fromisoformat(RELEASED["expiresAt"])
    found = reservation(**RELEASED)
    assert isinstance(claims.decide_claim(OTHER, found, now=end - timedelta(seconds=1)), claims.Refused)
    assert isinstance(claims.decide_claim(OTHER, found, now=end), claims.Take)


def test_bound_at_stays_when_only_the_reclaim_policy_changes() -> None:
    claim = claims.decide_claim(replace(MINE, reclaim_policy=DELETE), reservation(), now=NOW)
    assert isinstance(claim, claims.Take)
    assert claim.spec.bound_at == reservation().spec.bound_at


@pytest.mark.parametrize(
    ("found", "claimant", "generation"),
    [
        pytest.param(reservation(holderGeneration=2), MINE, 2, id="the holder"),
        pytest.param(reservation(tunnel_uid="earlier"), MINE, 1, id="the holder, made anew"),
        pytest.param(reservation(), OTHER, None, id="somebody else"),
        pytest.param(reservation(**RELEASED), MINE, None, id="a released name"),
        pytest.param(None, MINE, None, id="no reservation"),
    ],
)
def test_a_tunnel_that_is_not_accepted_keeps_only_what_it_holds(
    found: v1alpha1.SubdomainReservation | None, claimant: claims.Claimant, generation: int | None
) -> None:
    held = claims.holds(claimant, found)
    assert (held.generation if held else None) == generation


def test_a_release_keeps_the_name_for_the_time_of_the_fleet() -> None:
    spec = claims.decide_release(reservation(), holder_exists=False, tombstone_for=timedelta(days=90), now=NOW)
    assert spec is not None
    assert (spec.released_at, spec.expires_at) == (NOW, NOW + timedelta(days=90))
    assert spec.claim_ref == reservation().spec.claim_ref


def test_a_release_with_policy_delete_expires_at_once() -> None:
    found = reservation(reclaimPolicy="Delete")
    spec = claims.decide_release(found, holder_exists=False, tombstone_for=timedelta(days=90), now=NOW)
    assert spec is not None
    assert spec.expires_at == NOW
    assert claims.is_expired(found.model_copy(update={"spec": spec}), now=NOW)


@pytest.mark.parametrize(
    ("found", "holder_exists"),
    [pytest.param(reservation(), True, id="held"), pytest.param(reservation(**RELEASED), False, id="released already")],
)
def test_nothing_is_released_twice_or_under_its_holder(
    found: v1alpha1.SubdomainReservation, holder_exists: bool
) -> None:
    assert claims.decide_release(found, holder_exists=holder_exists, tombstone_for=timedelta(1), now=NOW) is None


@pytest.mark.parametrize(
    ("namespace_uid", "named", "domain", "expected"),
    [
        ("uid-team-a", SHOP, "tunnels.example.com", True),
        ("uid-team-a", SHOP, None, True),
        ("uid-team-a", SHOP, "other.example.com", False),
        ("uid-team-a", replace(SHOP, subdomain="cart"), "tunnels.example.com", False),
        ("uid-team-a", None, None, False),
        ("uid-new", SHOP, "tunnels.example.com", False),
        (None, SHOP, "tunnels.example.com", False),
    ],
)
def test_the_holder_is_the_tunnel_of_that_namespace_with_that_name(
    namespace_uid: str | None, named: Named | None, domain: str | None, expected: bool
) -> None:
    found = claims.is_holder(reservation(), namespace_uid=namespace_uid, named=named, domain=domain)
    assert found is expected


FULL = claims.Allowance(held=3, kept=3, quotas=v1alpha1.Quotas(tunnels_per_namespace=3))
CROWDED = claims.Allowance(held=1, kept=5, quotas=v1alpha1.Quotas(reservations_per_namespace=5))


@pytest.mark.parametrize("found", [None, reservation(**RELEASED)])
@pytest.mark.parametrize(("allowance", "field"), [(FULL, "tunnelsPerNamespace"), (CROWDED, "reservationsPerNamespace")])
def test_one_name_more_than_the_quota_is_refused(
    found: v1alpha1.SubdomainReservation | None, allowance: claims.Allowance, field: str
) -> None:
    claim = claims.decide_claim(MINE, found, now=NOW, allowance=allowance)
    assert isinstance(claim, claims.Refused)
    assert claim.violation.reason == "QuotaExceeded"
    assert field in claim.violation.message


def test_who_holds_a_name_keeps_it_whatever_the_quota() -> None:
    none_allowed = claims.Allowance(9, 9, v1alpha1.Quotas(tunnels_per_namespace=0, reservations_per_namespace=0))
    assert claims.decide_claim(MINE, reservation(), now=NOW, allowance=none_allowed) == claims.Held(1)
    edited = claims.decide_claim(replace(MINE, reclaim_policy=DELETE), reservation(), now=NOW, allowance=none_allowed)
    assert isinstance(edited, claims.Take)


PROOF = v1alpha1.Verification(verified_at=NOW)


def test_a_proof_outweighs_a_tombstone_and_never_a_holder() -> None:
    proved = replace(OTHER, verification=PROOF)
    taken = claims.decide_claim(proved, reservation(**RELEASED, holderGeneration=2), now=NOW)
    assert isinstance(taken, claims.Take)
    assert (taken.spec.holder_generation, taken.spec.verification) == (3, PROOF)
    assert isinstance(claims.decide_claim(proved, reservation(), now=NOW), claims.Refused)


def test_a_newer_proof_is_written_into_the_reservation() -> None:
    proved = replace(MINE, verification=PROOF)
    claim = claims.decide_claim(proved, reservation(), now=NOW)
    assert isinstance(claim, claims.Take)
    assert (claim.spec.verification, claim.spec.holder_generation) == (PROOF, 1)
    again = reservation(verification={"verifiedAt": v1alpha1.format_time(NOW)})
    assert claims.decide_claim(proved, again, now=NOW) == claims.Held(1)


@pytest.mark.parametrize(
    ("found", "now", "expected"),
    [
        (reservation(), AFTER, False),
        (reservation(**RELEASED), NOW, False),
        (reservation(**RELEASED), AFTER, True),
        (reservation(releasedAt="2026-03-01T00:00:00Z"), AFTER, False),
    ],
)
def test_only_a_released_name_with_an_end_expires(
    found: v1alpha1.SubdomainReservation, now: datetime, expected: bool
) -> None:
    assert claims.is_expired(found, now=now) is expected


def test_reserved_and_bound_say_what_the_claim_came_to() -> None:
    refused = claims.decide_claim(OTHER, reservation(), now=NOW)
    assert claims.judge_reserved(claims.Held(1)).status == "True"
    assert claims.judge_reserved(refused).reason == "NameTaken"
    assert claims.judge_reserved(None).reason == "Pending"
    assert claims.judge_bound(reservation()).status == "True"
    tombstone = claims.judge_bound(reservation(**RELEASED))
    assert (tombstone.reason, tombstone.message) == (
        "Released",
        "Released; kept for namespace team-a until 2026-05-30.",
    )
    assert "for good" in claims.judge_bound(reservation(releasedAt="2026-03-01T00:00:00Z")).message
