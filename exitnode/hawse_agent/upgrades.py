"""A session over TCP moves to QUIC when the network lets it: when it is tried, and what is known of a trial. Pure.

    TCP session --pause--> dial QUIC --> Hello of a higher epoch --> Offer, Register --Registered--> the session is this
                  ^ twice as long               |
                  +------- no link, refused ----+

The exit node lets the old link serve until then and finish its streams after (hawse_exitnode.takeovers). Used by
session.py.
"""

from dataclasses import dataclass

from hawse_agent.choice import Offered

FIRST_S = 60.0
MOST_S = 1800.0
GREETING_S = 10.0
"""From the link until Registered."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A trial under way."""

    link: int = 0
    """0: still dialling."""
    epoch: int = 0
    deadline: float = 0.0
    welcomed: bool = False
    offered: tuple[Offered, ...] | None = None


def pause_s(failed: int, luck: float) -> float:
    """Before the next trial: between half and all of FIRST_S * 2^failed, at most MOST_S, by `luck` in [0, 1)."""
    return min(MOST_S, FIRST_S * float(1 << min(failed, 16))) * (1 + luck) / 2
