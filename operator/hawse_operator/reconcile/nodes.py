"""Look at a fleet's Tunnels again when one of its exit nodes has been away long enough to be left out of Programmed.

The key's kind is none of the API's: it stands for "the exit nodes of this fleet". Called by the workers, woken by
changes at the hub.
"""

from hawse_operator.k8s.resources import TUNNELS
from hawse_operator.reconcile.cache import Key, key_of
from hawse_operator.reconcile.context import Context
from hawse_operator.reconcile.world import SILENT_AFTER

SPREAD_S = 2.0
"""Thousands of Tunnels are not gone through in one go."""


class NodesReconciler:
    """Remembers which pods it had found away."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._away: dict[str, frozenset[str]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One fleet; returns seconds until the next pod counts as away."""
        context, fleet = self._context, key.name
        ages = {
            name: context.world.clock() - node.last_seen
            for name, node in context.hub.nodes(fleet).items()
            if not node.connected
        }
        away = frozenset(name for name, age in ages.items() if age >= SILENT_AFTER)
        if away != self._away.get(fleet, frozenset()):
            self._away[fleet] = away
            tunnels = context.world.cache[TUNNELS].select("fleet", fleet)
            for number, body in enumerate(tunnels):
                context.queue.add(key_of(TUNNELS, body), delay_s=SPREAD_S * number / len(tunnels))
        waiting = [(SILENT_AFTER - age).total_seconds() for age in ages.values() if age < SILENT_AFTER]
        return min(waiting) + 0.1 if waiting else None
