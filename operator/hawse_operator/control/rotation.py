"""Rotation of the internal CA in steps, so that no certificate in use is ever refused. Pure.

1. **Trusted.** A second CA exists and is trusted; the first still signs. After the life of a certificate everybody has
   renewed theirs, and with it got both CAs.
2. **Signing.** The second signs; the first is still trusted, until its last certificate has ended.
3. The first is gone. Only renewals over links that were opened before still show a certificate of it (`retired`).

A step lives in the CA's Secret, so that another leader goes on with it. Reads no clock. Called by reconcile.authority.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from hawse_operator.control import ca

RENEW_BEFORE = timedelta(days=365)
"""A CA that lives no longer than this is replaced without being asked."""
CRT, KEY, NEXT_KEY, RETIRED = "ca.crt", "ca.key", "next.key", "retired.crt"


@dataclass(frozen=True, slots=True)
class Rotation:
    """The CA, and how far its rotation is."""

    authority: ca.Authority
    next_key: ec.EllipticCurvePrivateKey | None = field(default=None, repr=False)
    """Of the CA that is trusted and does not sign yet: the first step."""
    since: datetime | None = None
    """Begin of the step; None: no rotation is going on."""
    request: str = ""
    """The request that was taken up last."""

    @property
    def step_ends(self) -> datetime | None:
        """When the next step is due."""
        return self.since + self.authority.lifetime if self.since is not None else None


def advance(now_is: Rotation, *, request: str, now: datetime, make: Callable[[], ca.Authority]) -> Rotation | None:
    """The next step if it is due, else None. `request`: what somebody asked for; `make` gives a new CA."""
    authority = now_is.authority
    if now_is.step_ends is None:
        if request == now_is.request and authority.certificate.not_valid_after_utc - now > RENEW_BEFORE:
            return None
        fresh = make()
        trusted = replace(authority, roots=(authority.certificate, fresh.certificate))
        return Rotation(trusted, fresh.key, since=now, request=request)
    if now < now_is.step_ends:
        return None
    first, second = authority.roots
    if now_is.next_key is not None:
        signing = replace(authority, key=now_is.next_key, roots=(second, first))
        return replace(now_is, authority=signing, next_key=None, since=now)
    return replace(now_is, authority=replace(authority, roots=(first,), retired=(second,)), since=None)


def dump(rotation: Rotation) -> dict[str, bytes]:
    """What the Secret holds."""
    authority = rotation.authority
    data = {CRT: ca.roots_pem(authority), KEY: ca.key_pem(authority.key)}
    if rotation.next_key is not None:
        data[NEXT_KEY] = ca.key_pem(rotation.next_key)
    if authority.retired:
        data[RETIRED] = b"".join(ca.pem(one) for one in authority.retired)
    return data


def load(data: Mapping[str, bytes], *, since: str, request: str, lifetime: timedelta) -> Rotation:
    """Read what `dump` wrote, with the two texts that stand beside it.

    Raises:
        ca.AuthorityUnreadableError: the parts cannot be read, or do not belong together.
    """
    authority = ca.load(data.get(CRT, b""), data.get(KEY, b""), lifetime=lifetime)
    next_key = _next_key(data.get(NEXT_KEY, b""), authority)
    if retired := data.get(RETIRED, b""):
        try:
            authority = replace(authority, retired=tuple(x509.load_pem_x509_certificates(retired)))
        except ValueError as exc:
            raise ca.AuthorityUnreadableError(f"{RETIRED} is not PEM: {exc}") from exc
    begun = _begun(since) if len(authority.roots) == 2 else None
    return Rotation(authority, next_key, begun, request)


def _next_key(pem: bytes, authority: ca.Authority) -> ec.EllipticCurvePrivateKey | None:
    if not pem:
        return None
    trusted = ca.load(ca.roots_pem(authority), pem)
    if trusted.certificate == authority.certificate:
        raise ca.AuthorityUnreadableError(f"{NEXT_KEY} is the key of the CA that signs already")
    return trusted.key


def _begun(since: str) -> datetime | None:
    """Without a readable time no step goes on: what is trusted stays so."""
    try:
        return datetime.fromisoformat(since).astimezone(UTC)
    except ValueError:
        return None
