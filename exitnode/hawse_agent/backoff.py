"""How long to wait before the next attempt: full jitter with a cap. Pure."""

BASE_S = 0.5
CAP_S = 15.0
_FLOOR_S = 0.05
"""Never at once: a node that accepts and drops must not be hammered."""


def delay_s(attempt: int, luck: float) -> float:
    """Between the floor and min(CAP_S, BASE_S * 2^attempt), by `luck` in [0, 1). `attempt` counts failures from 0.

    Full jitter keeps a fleet's agents apart after an exit node's restart (AWS Architecture Blog, "Exponential Backoff
    And Jitter", 2015).
    """
    most = min(CAP_S, BASE_S * float(1 << min(attempt, 16)))
    return _FLOOR_S + luck * (most - _FLOOR_S)
