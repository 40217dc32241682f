"""What a Tunnel is called, and when a name of its own domain counts as proved."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawse_api import v1alpha1
from hawse_operator.policies import hosts
from support.objects import NOW, tunnel

DOMAIN = "tunnels.example.com"
HOST = "shop.example.org"
CHALLENGE = hosts.challenge_of(HOST, "uid-team-a", DOMAIN)
SEEN = hosts.Seen((CHALLENGE.value,), CHALLENGE.target)
NOTHING = hosts.Seen()
SILENT = hosts.Seen(problem="LifetimeTimeout: no answer")
OBJECT_NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,60}[a-z0-9])?", fullmatch=True).filter(
    lambda name: ".." not in name and ".-" not in name and "-." not in name
)


def of_type(type_: str, **host: str) -> v1alpha1.Tunnel:
    return tunnel(spec={"host": {"type": type_, **host}})


def test_names_of_each_type() -> None:
    assert hosts.hostname_of(of_type("Subdomain", subdomain="cart"), DOMAIN) == f"cart.{DOMAIN}"
    assert hosts.hostname_of(of_type("Hostname", hostname=HOST), DOMAIN) == HOST
    assert hosts.hostname_of(of_type("Generated"), DOMAIN) == f"shop-nemeepubrn.{DOMAIN}"


@pytest.mark.parametrize(
    ("held", "label"),
    [
        ([f"shop-aaaaaaaaaa.{DOMAIN}"], "shop-aaaaaaaaaa"),
        ([f"shop-bbbbbbbbbb.{DOMAIN}", f"shop-aaaaaaaaaa.{DOMAIN}"], "shop-aaaaaaaaaa"),
        ([f"shop.{DOMAIN}", HOST, "shop-aaaaaaaaaa.other.example.com", f"cart-aaaaaaaaaa.{DOMAIN}"], "shop-nemeepubrn"),
    ],
)
def test_a_tunnel_made_again_takes_its_generated_name_back(held: list[str], label: str) -> None:
    assert hosts.hostname_of(of_type("Generated"), DOMAIN, held) == f"{label}.{DOMAIN}"


@given(OBJECT_NAMES, st.uuids())
def test_a_generated_label_is_a_label_and_known_again(name: str, uid: object) -> None:
    label = hosts.generated_label(name, str(uid))
    v1alpha1.Tunnel.from_object(
        {"metadata": {"name": "t", "namespace": "n"}, "spec": tunnel().spec.dump() | {"host": _subdomain(label)}}
    )
    assert hosts.is_generated(label, name)
    assert not hosts.is_generated(label, name + "x" if len(name) < hosts.READABLE_CHARACTERS else "other")


def _subdomain(label: str) -> dict[str, str]:
    return {"type": "Subdomain", "subdomain": label}


@pytest.mark.parametrize(
    ("named", "name", "domain", "expected"),
    [
        (hosts.Named("shop", "f", "Subdomain", subdomain="cart"), f"cart.{DOMAIN}", DOMAIN, True),
        (hosts.Named("shop", "f", "Generated"), f"shop-aaaaaaaaaa.{DOMAIN}", DOMAIN, True),
        (hosts.Named("shop", "f", "Generated"), f"shop-aaaaaaaaaa.{DOMAIN}", None, True),
        (hosts.Named("shop", "f", "Generated"), "shop-aaaaaaaaaa.other.example", DOMAIN, False),
        (hosts.Named("shop", "f", "Generated"), f"shop.{DOMAIN}", DOMAIN, False),
        (hosts.Named("shop", "f", "Hostname", hostname=HOST), HOST, DOMAIN, True),
        (hosts.Named("shop", "f", "Hostname", hostname=HOST), f"shop.{DOMAIN}", DOMAIN, False),
        (hosts.Named("db", "f", hosts.PORT), f"tcp-20017.{DOMAIN}", DOMAIN, True),
        (hosts.Named("db", "f", hosts.PORT, port=20_017), f"tcp-20017.{DOMAIN}", None, True),
        (hosts.Named("db", "f", hosts.PORT, port=20_018), f"tcp-20017.{DOMAIN}", DOMAIN, False),
        (hosts.Named("db", "f", hosts.PORT), "tcp-20017.other.example", DOMAIN, False),
        (hosts.Named("db", "f", hosts.PORT), f"db.{DOMAIN}", DOMAIN, False),
        (hosts.Named("shop", "f", "Unknown"), f"shop.{DOMAIN}", DOMAIN, False),
    ],
)
def test_which_names_a_tunnel_may_hold(named: hosts.Named, name: str, domain: str | None, expected: bool) -> None:
    assert named.may_hold(name, domain) is expected


def test_a_challenge_is_this_namespaces_and_this_names() -> None:
    assert CHALLENGE.record == "_hawse.shop.example.org"
    assert CHALLENGE.target.endswith(f".{DOMAIN}")
    others = [hosts.challenge_of(HOST, "uid-team-b", DOMAIN), hosts.challenge_of("a.example.org", "uid-team-a", DOMAIN)]
    for other in others:
        assert other.value != CHALLENGE.value
        assert other.target != CHALLENGE.target


def decide(known: v1alpha1.Verification | None, seen: hosts.Seen, after: timedelta = timedelta()) -> hosts.Proof:
    return hosts.decide_proof(HOST, CHALLENGE, known, seen, domains=[DOMAIN, "other.example.com"], now=NOW + after)


PROVED = v1alpha1.Verification(verified_at=NOW)
MISSING = v1alpha1.Verification(verified_at=NOW, missed_since=NOW)


def test_the_record_proves_the_name_for_a_day() -> None:
    proof = decide(None, SEEN)
    assert (proof.verification, proof.violation, proof.again_after) == (PROVED, None, timedelta(hours=24))
    assert hosts.is_fresh(PROVED, now=NOW + timedelta(hours=23))
    assert not hosts.is_fresh(PROVED, now=NOW + timedelta(hours=24))
    assert not hosts.is_fresh(MISSING, now=NOW)
    assert not hosts.is_fresh(None, now=NOW)


@pytest.mark.parametrize("seen", [NOTHING, hosts.Seen(("hawse-domain-verification=another",)), SILENT])
def test_without_the_record_the_message_says_what_to_do(seen: hosts.Seen) -> None:
    proof = decide(None, seen)
    assert proof.verification is None
    assert proof.violation is not None
    if not seen.problem:
        assert CHALLENGE.record in proof.violation.message
        assert CHALLENGE.value in proof.violation.message
        assert CHALLENGE.target in proof.violation.message
    else:
        assert "no answer" in proof.violation.message


@pytest.mark.parametrize("cname", [f"c-aaaaaaaaaaaaaaaa.{DOMAIN}", f"shop.{DOMAIN}", "x.other.example.com", DOMAIN])
def test_a_cname_to_anothers_claim_is_refused_despite_the_record(cname: str) -> None:
    proof = decide(None, hosts.Seen((CHALLENGE.value,), cname))
    assert proof.violation is not None
    assert cname in proof.violation.message
    assert CHALLENGE.target in proof.violation.message


@pytest.mark.parametrize("cname", ["", "lb.example.org", "nottunnels.example.com"])
def test_how_visitors_get_here_otherwise_is_their_owners_business(cname: str) -> None:
    assert decide(None, hosts.Seen((CHALLENGE.value,), cname)).violation is None


def test_a_record_that_vanishes_closes_the_tunnel_after_two_days() -> None:
    first = decide(PROVED, NOTHING, timedelta(hours=24))
    assert (first.violation, first.again_after) == (None, timedelta(hours=1))
    assert first.verification == v1alpha1.Verification(verified_at=NOW, missed_since=NOW + timedelta(hours=24))
    assert decide(first.verification, NOTHING, timedelta(hours=71)).violation is None
    closed = decide(first.verification, NOTHING, timedelta(hours=72))
    assert closed.violation is not None
    assert closed.verification == first.verification
    assert decide(first.verification, SEEN, timedelta(hours=80)).violation is None


def test_a_silent_name_server_proves_nothing_either_way() -> None:
    assert decide(PROVED, SILENT, timedelta(days=30)) == hosts.Proof(PROVED, None, timedelta(minutes=1))
    assert decide(MISSING, SILENT, timedelta(hours=47)).violation is None
    assert decide(MISSING, SILENT, timedelta(hours=48)).violation is not None
