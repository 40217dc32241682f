"""How long to wait before the operator is tried again: full jitter with a cap. Pure."""

BASE_S = 0.5
CAP_S = 15.0
_FLOOR_S = 0.1


def delay_s(attempt: int, luck: float) -> float:
    """Between the floor and min(CAP_S, BASE_S * 2^attempt), by `luck` in [0, 1); `attempt` counts failures from 0.

    The cap is below the 20 s that a change of leader may take (design 0002, 1), so a node is back soon after it.
    """
    most = min(CAP_S, BASE_S * float(1 << min(attempt, 16)))
    return _FLOOR_S + luck * (most - _FLOOR_S)
