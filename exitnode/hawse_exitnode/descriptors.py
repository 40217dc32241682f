"""File descriptors: each visitor takes one, and the usual soft limit of 1,024 is far below what an edge serves.

`raise_limit` runs once at the start; `visitor_cap` is how many connections then fit. Called by `__main__` and `node`.
"""

import logging
import resource

logger = logging.getLogger(__name__)

VISITORS = 16_384
"""Connections of visitors that the edge takes by default (exitnode/core/edge/src/limits.rs)."""
RESERVED = 2_048
"""For everything else: listeners, the operator's stream, files, agents whose links are TCP."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one, and say so if that is too little."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as exc:  # macOS: the kernel's own limit is below the hard one
            logger.warning("cannot raise the limit of open files", extra={"limit": soft, "cause": str(exc)})
    cap = visitor_cap(limit())
    if cap < VISITORS:
        logger.warning(
            "few files may be open, so fewer visitors are taken: raise the hard limit (ulimit -Hn, LimitNOFILE)",
            extra={"limit": limit(), "visitors": cap, "wanted": VISITORS + RESERVED},
        )


def limit() -> int:
    """How many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return VISITORS + RESERVED if soft == resource.RLIM_INFINITY else soft


def visitor_cap(descriptors: int) -> int:
    """Connections of visitors that fit, never more than the edge's default. A small limit is shared in halves."""
    return min(VISITORS, descriptors - min(RESERVED, descriptors // 2))
