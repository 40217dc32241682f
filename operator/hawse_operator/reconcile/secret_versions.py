"""Notices that somebody changed or deleted a Secret that an object names: asks for one version after another.

A watch would be prompter, but the operator has no right to list or watch Secrets, on purpose (design 0002, 3). So
their metadata is read in turn, at a pace that does not grow with their number; their contents stay where they are.
Called by runtime (run) and the reconcilers of AgentTokens and AccessPolicies (saw).
"""

import asyncio
import logging
from collections.abc import Mapping

from hawse_operator import errors
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.resources import SECRETS
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.queue import Queue

logger = logging.getLogger(__name__)

ROUND_S = 10.0
"""Each Secret is looked at so often while there are few."""
LEAST_PAUSE_S = 0.2
"""Five requests a second at most, 1 % of a core (measured): with 1,000 tokens a round takes 200 s."""


class SecretVersions:
    """Which version of each Secret the operator knows, and whose it is."""

    def __init__(self, client: k8s_client.Client, queue: Queue) -> None:
        self._client = client
        self._queue = queue
        self._known: dict[Key, dict[str, str]] = {}

    def saw(self, owner: Key, versions: Mapping[str, str]) -> None:
        """The reconciler read or wrote these Secrets of the owner's namespace: name -> version; empty: there is none.

        They replace what was said of the owner before.
        """
        self._known[owner] = dict(versions)

    def forget(self, owner: Key) -> None:
        """The object is gone."""
        self._known.pop(owner, None)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            wanted = [(owner, name) for owner, versions in self._known.items() for name in versions]
            if not wanted:
                await asyncio.sleep(ROUND_S)
            for owner, name in wanted:
                await asyncio.sleep(max(LEAST_PAUSE_S, ROUND_S / len(wanted)))
                await self._look(owner, name)

    async def _look(self, owner: Key, name: str) -> None:
        before = self._version(owner, name)
        if before is None:
            return  # gone, or named no more
        try:
            found = await self._client.version(SECRETS, owner.namespace, name)
        except errors.KubernetesError as exc:
            logger.debug("a Secret could not be looked at", extra={"owner": "/".join(owner), "error": str(exc)})
            return
        # Another version than before the request: the reconciler was there meanwhile.
        if self._version(owner, name) == before != found:
            self._queue.add(owner)

    def _version(self, owner: Key, name: str) -> str | None:
        return self._known.get(owner, {}).get(name)
