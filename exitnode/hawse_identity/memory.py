"""What the service remembers while it runs: states and logout tokens that were used, sign-ins that are over. Pure.

Everything is bounded, the oldest goes first. A restart forgets what was used: then the provider still refuses a code
that is used twice. Sign-ins that are over come back from the operator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hawse_identity import sessions

MAX_USED = 10_000
MAX_ENDED = 10_000


@dataclass(slots=True)
class Used:
    """Texts that count once."""

    lifetime_s: float
    _until: dict[str, float] = field(default_factory=dict)

    def is_first(self, text: str, now: float) -> bool:
        """Use it: False if it was used before."""
        for old in [old for old, until in self._until.items() if until <= now]:
            del self._until[old]
        if text in self._until:
            return False
        while len(self._until) >= MAX_USED:
            del self._until[next(iter(self._until))]
        self._until[text] = now + self.lifetime_s
        return True


@dataclass(slots=True)
class Ended:
    """Sign-ins that are over before their cookies are: mark -> Unix seconds; those signed in until then are over.

    A mark is a session's id, a session of the provider, or a user (`sessions.mark`).
    """

    until: dict[str, int] = field(default_factory=dict)

    def add(self, ended: Mapping[str, int], now: float) -> None:
        """Nothing that is over begins again; what no cookie can outlive is forgotten."""
        for mark, at in ended.items():
            self.until[mark] = max(at, self.until.get(mark, 0))
        for mark in [mark for mark, at in self.until.items() if at < now - sessions.MAX_SIGN_IN_S]:
            del self.until[mark]
        while len(self.until) > MAX_ENDED:
            del self.until[min(self.until, key=self.until.__getitem__)]
