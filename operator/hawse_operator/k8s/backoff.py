"""How long to wait before the next attempt. Pure. Called by k8s.client and reconcile.queue."""

ATTEMPTS = 5
"""Requests to the API server are tried this often; then the work queue's longer back-off takes over."""


def delay_s(attempt: int, *, base_s: float, cap_s: float, jitter: float) -> float:
    """Exponential delay after attempt `attempt`, counted from 0; `jitter` in 0..1 spreads it over its upper half."""
    full = min(cap_s, base_s * 2.0 ** min(attempt, 32))
    return full * (0.5 + 0.5 * jitter)


def request_delay_s(attempt: int, *, retry_after_s: float | None, jitter: float) -> float | None:
    """Delay before a request is repeated; None: give up.

    Retry-After is honoured up to 5 s, no longer: a worker is waiting.
    """
    if attempt + 1 >= ATTEMPTS:
        return None
    own = delay_s(attempt, base_s=0.1, cap_s=2.0, jitter=jitter)
    return own if retry_after_s is None else max(own, min(retry_after_s, 5.0))
