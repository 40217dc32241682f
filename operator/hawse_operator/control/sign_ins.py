"""Sign-ins of visitors that ended before their cookies do, told by one exit node for all. Pure. Called by `hub`.

Mark -> Unix seconds: who signed in until then is signed out (ir.Revoked). Kept in memory: nodes repeat what they know
whenever they connect, so a new leader knows it within seconds.
"""

from collections.abc import Mapping

KEY = "revoked"
"""In IR."""
KEPT_FOR_S = 24 * 3600
"""As long as a sign-in may last (AccessPolicy.spec.oidc.sessionLifetime)."""
MAX_ENDED = 10_000
"""As ENDED_SIGN_INS of the edge."""
MAX_MARK_CHARACTERS = 64
SKEW_S = 300
"""A node's clock may be ahead by so much; a mark of the future would sign out whoever signs in later."""


def merge(known: dict[str, int], said: Mapping[str, int], *, now: int) -> bool:
    """Add what a node says; whether it is news. What no cookie outlives is forgotten, past the bound the oldest."""
    before = dict(known)
    for mark, at in said.items():
        if mark and len(mark) <= MAX_MARK_CHARACTERS and now - KEPT_FOR_S <= at <= now + SKEW_S:
            known[mark] = max(at, known.get(mark, at))
    for mark in [mark for mark, at in known.items() if at < now - KEPT_FOR_S]:
        del known[mark]
    for mark in sorted(known, key=known.__getitem__)[: max(0, len(known) - MAX_ENDED)]:
        del known[mark]
    return known != before
