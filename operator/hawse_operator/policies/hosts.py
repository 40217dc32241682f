"""What a Tunnel is called, and whether a name of its own domain was proved to be its.

A proof is a TXT record whose value is a hash of the namespace's UID: another namespace's record proves nothing. What
was seen in DNS comes as an argument (hawse_operator.resolver asks); times are kept in the SubdomainReservation, so
that a restart asks nobody. Pure. Called by reconcile.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hawse_api import names, v1alpha1
from hawse_operator.policies.violations import Violation

HASH_CHARACTERS = 10
"""50 bits: nobody guesses a generated name."""
READABLE_CHARACTERS = 40
PORT = "Port"
"""In place of a type of host: a TCP tunnel has a port."""
RECORD_PREFIX = "_hawse."
VALUE_PREFIX = "hawse-domain-verification="

PROOF_LASTS = timedelta(hours=24)
"""A proof is looked up again so often."""
MISSED_AGAIN_AFTER = timedelta(hours=1)
MISSING_CLOSES_AFTER = timedelta(hours=48)
"""A record that is missing for so long closes the tunnel: two daily look-ups and a day to mend it."""
ASKED_AGAIN_AFTER = timedelta(seconds=10)
"""Somebody is waiting: the record was not seen yet, or nobody answered."""
SOON = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Named:
    """How a Tunnel names its host, also an invalid one."""

    tunnel: str
    fleet: str
    type: str
    """Of its host; PORT: it has none."""
    subdomain: str = ""
    hostname: str = ""
    port: int | None = None
    """That was asked for; None: any may have been assigned."""

    def may_hold(self, name: str, domain: str | None) -> bool:
        """Whether a reservation called `name` can be this Tunnel's. `domain` None: its Fleet is gone, any will do."""
        label, _, parent = name.partition(".")
        is_here = domain is None or domain == parent
        match self.type:
            case v1alpha1.HostType.SUBDOMAIN:
                return label == self.subdomain and is_here
            case v1alpha1.HostType.GENERATED:
                return is_generated(label, self.tunnel) and is_here
            case v1alpha1.HostType.HOSTNAME:
                return name == self.hostname
            case _ if self.type == PORT:
                port = names.tcp_port_of(name)
                return port is not None and self.port in (None, port) and is_here
            case _:
                return False


def hostname_of(tunnel: v1alpha1.Tunnel, domain: str, held: Iterable[str] = ()) -> str:
    """The public name, also the name of its SubdomainReservation.

    `held`: names that reservations keep for this Tunnel's namespace and name. A generated name comes from there, so
    that a Tunnel that is made again (a restored backup) is called as before.
    """
    host = tunnel.spec.host
    if host is None:  # a TCP tunnel (policies.ports)
        return ""
    match host.type:
        case v1alpha1.HostType.SUBDOMAIN:
            return f"{host.subdomain}.{domain}"
        case v1alpha1.HostType.HOSTNAME:
            return host.hostname or ""
        case v1alpha1.HostType.GENERATED:
            named = Named(tunnel.name, tunnel.spec.fleet_name, host.type)
            kept = sorted(name for name in held if named.may_hold(name, domain))
            return kept[0] if kept else f"{generated_label(tunnel.name, tunnel.uid)}.{domain}"


def generated_label(tunnel: str, uid: str) -> str:
    """`shop-k3v9x2m4qa`: what a person recognises, and what nobody guesses."""
    return f"{_readable(tunnel)}-{_digest(uid)[:HASH_CHARACTERS]}"


def is_generated(label: str, tunnel: str) -> bool:
    """Whether a label may have been generated for a Tunnel of this name."""
    return re.fullmatch(rf"{re.escape(_readable(tunnel))}-[a-z2-7]{{{HASH_CHARACTERS}}}", label) is not None


def _readable(tunnel: str) -> str:
    return tunnel.replace(".", "-")[:READABLE_CHARACTERS].strip("-")


def _digest(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode("ascii").rstrip("=").lower()


# --- names of other domains ------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Challenge:
    """What the owner of a domain publishes."""

    record: str
    """Name of the TXT record."""
    value: str
    target: str
    """Where a CNAME of the host name may lead."""


@dataclass(frozen=True, slots=True)
class Question:
    """What DNS is asked."""

    hostname: str
    record: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What DNS says of a host name now."""

    texts: tuple[str, ...] = ()
    """Values of the TXT record of the challenge."""
    cname: str = ""
    """Where the host name's CNAME leads; empty: it has none."""
    problem: str = ""
    """Why the resolver could not tell; empty: it did."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a look-up came to."""

    verification: v1alpha1.Verification | None
    """To be kept in the reservation."""
    violation: Violation | None
    """Why the name is not served."""
    again_after: timedelta
    """When to look again."""


def challenge_of(hostname: str, namespace_uid: str, domain: str) -> Challenge:
    """The challenge of a namespace for a host name."""
    digest = _digest(f"{namespace_uid}/{hostname}")
    target = f"{names.CUSTOM_TARGET_PREFIX}{digest[32 : 32 + names.CUSTOM_TARGET_CHARACTERS]}.{domain}"
    return Challenge(f"{RECORD_PREFIX}{hostname}", f"{VALUE_PREFIX}{digest[:32]}", target)


def dns_name_of(hostname: str, namespace_uid: str, domain: str) -> str:
    """The name in the fleet's zone that leads visitors of a host name: itself, or what its CNAME leads to."""
    return hostname if is_within(hostname, domain) else challenge_of(hostname, namespace_uid, domain).target


def is_fresh(known: v1alpha1.Verification | None, *, now: datetime) -> bool:
    """Whether what is known of a proof needs no look-up now."""
    return known is not None and known.missed_since is None and now < known.verified_at + PROOF_LASTS


def unseen(hostname: str, challenge: Challenge, known: v1alpha1.Verification | None) -> Proof:
    """Before the first look-up has ended."""
    violation = _missing(hostname, challenge) if known is None else None
    return Proof(known, violation, ASKED_AGAIN_AFTER)


def decide_proof(
    hostname: str,
    challenge: Challenge,
    known: v1alpha1.Verification | None,
    seen: Seen,
    *,
    domains: Iterable[str],
    now: datetime,
) -> Proof:
    """What follows from a look-up. `known`: what this claim's reservation has kept. `domains`: those of all Fleets."""
    if seen.problem:
        if known is None:
            message = f"{hostname} could not be looked up: {seen.problem}. It is tried again."
            return Proof(None, Violation(names.Reason.HOSTNAME_NOT_VERIFIED, message), ASKED_AGAIN_AFTER)
        return Proof(known, _overdue(hostname, challenge, known, now), ASKED_AGAIN_AFTER * 6)
    elsewhere = seen.cname != challenge.target and any(is_within(seen.cname, domain) for domain in domains)
    if elsewhere:
        message = (
            f"{hostname} is a CNAME to {seen.cname}, which belongs to another claim. Let it lead to {challenge.target}."
        )
        return _missed(known, Violation(names.Reason.HOSTNAME_NOT_VERIFIED, message), now)
    if challenge.value in seen.texts:
        return Proof(v1alpha1.Verification(verified_at=now), None, PROOF_LASTS)
    return _missed(known, _missing(hostname, challenge), now)


def _missed(known: v1alpha1.Verification | None, violation: Violation, now: datetime) -> Proof:
    if known is None:
        return Proof(None, violation, ASKED_AGAIN_AFTER)
    missed_since = known.missed_since or now
    is_closed = now - missed_since >= MISSING_CLOSES_AFTER
    kept = v1alpha1.Verification(verified_at=known.verified_at, missed_since=missed_since)
    return Proof(kept, violation if is_closed else None, MISSED_AGAIN_AFTER)


def _overdue(hostname: str, challenge: Challenge, known: v1alpha1.Verification, now: datetime) -> Violation | None:
    """A resolver that does not answer proves nothing against a name; what was missing before stays missing."""
    if known.missed_since is None or now - known.missed_since < MISSING_CLOSES_AFTER:
        return None
    return _missing(hostname, challenge)


def _missing(hostname: str, challenge: Challenge) -> Violation:
    return Violation(
        names.Reason.HOSTNAME_NOT_VERIFIED,
        f"{hostname} is not proved to be this namespace's. Publish the record: "
        f'{challenge.record} TXT "{challenge.value}", and lead visitors here: {hostname} CNAME {challenge.target}.',
    )


def is_within(name: str, domain: str) -> bool:
    """Whether a name is a domain or lies below it."""
    return name == domain or name.endswith("." + domain)
