"""One sign-in on its way: begun in a browser, ended by the provider's answer in the same browser. Pure.

A flow lives in a sealed cookie of its own, so that two tabs do not disturb each other; four at a time, the oldest goes.
`state` names the cookie and proves knowledge of what is in it: a forged or foreign one meets none.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from hawse_identity import cookies, sealed
from hawse_identity.errors import ProviderError, SignInError
from hawse_identity.sites import Site

LIFETIME_S = 600
MAX_FLOWS = 4
MAX_RETURN_CHARACTERS = 1024
"""Of the page to return to; a longer one is not remembered."""
RANDOM_BYTES = 32 * 3 + 8
"""That a flow is made of: state, nonce, verifier, and the cookie's name."""

_DENIED = {"access_denied", "login_required", "consent_required", "interaction_required", "account_selection_required"}


@dataclass(frozen=True, slots=True)
class Flow:
    """What has to come back, and where the visitor wanted to go."""

    id: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    to: str
    begun_at: int

    @property
    def challenge(self) -> str:
        """PKCE, S256 (RFC 7636, section 4.2)."""
        return _text(hashlib.sha256(self.verifier.encode()).digest())

    @property
    def cookie(self) -> str:
        """Its cookie's name."""
        return cookies.FLOW + self.id


def begin(to: str, random: bytes, now: float) -> Flow:
    """A new flow from `RANDOM_BYTES` of randomness."""
    id_ = _text(random[96:])
    state, nonce, verifier = (_text(random[at : at + 32]) for at in (0, 32, 64))
    return Flow(id_, f"{id_}.{state}", nonce, verifier, safe_return(to), int(now))


def safe_return(to: str) -> str:
    """A path of this host and nothing else: anything that some browser might take for another site becomes "/"."""
    is_path = to.startswith("/") and not to.startswith(("//", "/.hawse"))
    is_plain = to.isascii() and to.isprintable() and not set(to) & set('\\" <>')
    return to if is_path and is_plain and len(to) <= MAX_RETURN_CHARACTERS else "/"


def remember(flow: Flow, site: Site, sent: Mapping[str, str], now: float) -> list[str]:
    """Set-Cookie fields of a flow that begins; flows that are too old, too many or not ours are cleared."""
    others = {name: _open(value, site, now) for name, value in sent.items() if name.startswith(cookies.FLOW)}
    living = sorted((other.begun_at, name) for name, other in others.items() if other)
    stay = {name for _, name in living[-(MAX_FLOWS - 1) :]}
    sealed_flow = sealed.seal(sealed.Kind.FLOW, asdict(flow), site.keys.sealing)
    return [
        cookies.write(flow.cookie, sealed_flow, max_age_s=LIFETIME_S),
        *(cookies.clear(name) for name in sorted(others) if name not in stay),
    ]


def finish(query: Mapping[str, str], site: Site, sent: Mapping[str, str], now: float) -> tuple[Flow, str]:
    """The flow that an answer of the provider belongs to, and its code.

    Raises:
        SignInError: this browser has begun no such flow, or the visitor was refused.
        ProviderError: the answer is not one of our provider.
    """
    state = query.get("state", "")
    id_ = state.partition(".")[0]
    flow = _open(sent.get(cookies.FLOW + id_, ""), site, now)
    if flow is None or not hmac.compare_digest(flow.state.encode(), state.encode()):
        raise SignInError(
            "This browser has not begun this sign-in, has ended it already, or began it more than 10 minutes ago."
        )
    if query.get("iss", site.provider.issuer) != site.provider.issuer:  # RFC 9207: mix-up of providers
        raise ProviderError("another provider than the policy's has answered (iss)")
    if error := query.get("error"):
        words = _word(error)
        if words in _DENIED:
            raise SignInError(f"The identity provider did not let you in ({words}).")
        raise ProviderError(f"the provider answered the sign-in with an error ({words})")
    code = query.get("code", "")
    if not code:
        raise ProviderError("the provider's answer has no code")
    return flow, code


def _open(value: str, site: Site, now: float) -> Flow | None:
    kept = sealed.unseal(sealed.Kind.FLOW, value, site.keys.sealing) if value else None
    if kept is None:
        return None
    try:
        flow = Flow(**kept)
    except TypeError:  # sealed by another version of this program
        return None
    return flow if now - LIFETIME_S <= flow.begun_at else None


def _word(text: str) -> str:
    """An OAuth error code and not a sentence that somebody wants on our page."""
    is_code = 0 < len(text) <= 40 and all(char.isascii() and (char.isalnum() or char in "_-.") for char in text)
    return text if is_code else "unreadable"


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
