"""Watches how long the operator has been silent, and carries out what `staleness` decides. Shell.

Too old: agents are sent away and visitors told why, once; an operator that is back ends it in the moment its
configuration is in force. The time of its last word is kept beside the configuration, so that a restart makes nobody
young again. Owned by `supervisor`.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from hawse_exitnode import staleness
from hawse_exitnode.node import Node
from hawse_exitnode.session_state import Moment
from hawse_exitnode.staleness import LastWord, Verdict
from hawse_exitnode.store import Store

logger = logging.getLogger(__name__)

CHECK_S = 1.0
KEEP_EVERY_S = 10.0
"""By so much too old a restarted node may take itself to be, and never too young."""
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts also while the machine is suspended."""


def read_clocks() -> Moment:
    """Now."""
    return Moment(time.clock_gettime(_CLOCK), datetime.now(UTC).timestamp())


class StalenessGuard:
    """One per node that has an operator."""

    def __init__(self, node: Node, store: Store, clocks: Callable[[], Moment] = read_clocks) -> None:
        self._node = node
        self._store = store
        self._clocks = clocks
        self._word = LastWord(clocks().at)  # what comes from now on is new
        self._verdict = Verdict.FRESH
        self._kept_at = -math.inf
        self._keeps = True

    @property
    def age_s(self) -> float:
        """For how long the operator has been silent."""
        return self._word.age_s(self._clocks())

    @property
    def is_too_old(self) -> bool:
        """No agent is served."""
        return self._verdict is Verdict.TOO_OLD

    def restore(self) -> None:
        """A kept configuration was restored: it is as old as the kept time says."""
        self._word = staleness.of_kept(self._store.load_heard(), self._clocks())
        self.check()

    def on_synced(self, synced: bool) -> None:
        """The operator is heard from now on, or was until now."""
        self._word = LastWord(None if synced else self._clocks().at)
        self.check()

    def heard_unix(self) -> float | None:
        """What to keep as the time of the operator's last word; None: it is not heard now."""
        return self._clocks().unix if self._word.at is None else None

    async def run(self) -> None:
        """Judge every second; keep the time now and then."""
        while True:
            self.check()
            await self._keep()
            await asyncio.sleep(CHECK_S)

    def check(self) -> None:
        """Judge, and act if the verdict is another one than before."""
        now, bound_s = self._clocks(), self._node.holdings.max_staleness_s
        age_s = self._word.age_s(now)
        verdict = staleness.judge(age_s, bound_s)
        before, self._verdict = self._verdict, verdict
        if verdict is before:
            return
        extra = {"age_s": age_s if math.isinf(age_s) else round(age_s), "limit_s": round(bound_s)}
        if verdict is Verdict.TOO_OLD:
            logger.warning("the configuration is too old: agents are sent away until the operator is back", extra=extra)
            self._node.set_stale(staleness.explain(age_s, now))
        elif before is Verdict.TOO_OLD:
            logger.info("the configuration is fresh enough again: agents are let in", extra=extra)
            self._node.set_stale("")
        elif verdict is Verdict.AGEING:
            logger.warning("the operator has been silent for half of the time that agents may be served", extra=extra)

    async def _keep(self) -> None:
        heard, now = self.heard_unix(), self._clocks()
        if heard is None or now.at - self._kept_at < KEEP_EVERY_S:
            return
        self._kept_at = now.at
        try:
            await asyncio.to_thread(self._store.save_heard, heard)
            self._keeps = True
        except OSError as exc:
            if self._keeps:  # once, not every ten seconds
                logger.warning("cannot keep when the operator was heard last", extra={"cause": str(exc)})
            self._keeps = False
