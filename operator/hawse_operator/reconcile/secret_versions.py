"""Notices that somebody changed or deleted a token's Secret: asks for one version after another, by name.

A watch would be prompter, but the operator has no right to list or watch Secrets, on purpose (design 0002, 3). So
their metadata is read in turn, at a pace that does not grow with their number; their contents stay where they are.
Called by runtime (run) and the reconciler of AgentTokens (saw).
"""

import asyncio
import logging

from hawse_operator import errors
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.resources import SECRETS
from hawse_operator.manifests import secrets
from hawse_operator.reconcile.cache import Key, Store
from hawse_operator.reconcile.queue import Queue

logger = logging.getLogger(__name__)

ROUND_S = 10.0
"""Each Secret is looked at so often while there are few."""
LEAST_PAUSE_S = 0.2
"""Five requests a second at most, 1 % of a core (measured): with 1,000 tokens a round takes 200 s."""


class SecretVersions:
    """Which version of each token's Secret the operator knows."""

    def __init__(self, tokens: Store, client: k8s_client.Client, queue: Queue) -> None:
        self._tokens = tokens
        self._client = client
        self._queue = queue
        self._known: dict[Key, str] = {}

    def saw(self, token: Key, version: str) -> None:
        """The reconciler read or wrote this version of the Secret; empty: there is none."""
        self._known[token] = version

    def forget(self, token: Key) -> None:
        """The AgentToken is gone."""
        self._known.pop(token, None)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            keys = [key for key in self._tokens.names() if key in self._known]
            if not keys:
                await asyncio.sleep(ROUND_S)
            for key in keys:
                await asyncio.sleep(max(LEAST_PAUSE_S, ROUND_S / len(keys)))
                await self._look(key)

    async def _look(self, key: Key) -> None:
        before = self._known.get(key)
        try:
            found = await self._client.version(SECRETS, key.namespace, secrets.token_secret_name(key.name))
        except errors.KubernetesError as exc:
            logger.debug("a Secret could not be looked at", extra={"token": "/".join(key), "error": str(exc)})
            return
        # Another version than before the request: the reconciler was there meanwhile.
        if before is not None and self._known.get(key) == before != found:
            self._queue.add(key)
