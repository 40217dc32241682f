"""What enrolment has to ask of Kubernetes, as two Protocols.

Reconcile implements them; tests/support/control.py has fakes. Implementations answer from a cache or with one bounded
call (timeout inside). A refusal comes back as a value with words for the person who reads it; only a failure of
Kubernetes itself is raised, as `BookUnavailableError`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from hawse_operator.control.hub import NodeIdentity


class BookUnavailableError(Exception):
    """Kubernetes did not answer: whoever asks is told to try again."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """An AgentToken as enrolment needs it."""

    id: str
    """Token id, as in the token's text."""
    uid: str
    """UID of the AgentToken."""
    namespace: str
    name: str
    fleet: str
    domain: str
    """The Fleet's domain: trust domain of the agent's certificate."""
    secret: bytes = field(repr=False)
    """32 random bytes; empty if the Secret is gone (used up)."""
    expires_at: datetime | None = None
    """Aware UTC; None = never."""
    once: bool = False
    """spec.uses: Once."""
    used_up: bool = False
    """A Once token that has enrolled its agent."""
    deleting: bool = False
    """The AgentToken has a deletionTimestamp."""
    max_agents: int = 1
    agents: frozenset[str] = frozenset()
    """Ids of agents that are counted already."""
    version: str = ""
    """Opaque to control: lets `count` notice that the record is not the newest (resourceVersion)."""


@dataclass(frozen=True, slots=True)
class NodeRefusal:
    """Why an exit node is not accepted (HAWSE-3010); `message` names what to change, without any secret."""

    message: str


class TokenBook(Protocol):
    """AgentTokens."""

    async def find(self, token_id: str) -> TokenRecord | None:
        """The token with this id; None = there is none. A used-up token is still found while its AgentToken exists."""

    async def find_uid(self, token_uid: str) -> TokenRecord | None:
        """The token whose AgentToken has this UID (renewals); None = deleted."""

    async def count(self, record: TokenRecord, agent_id: str) -> bool:
        """Persist that the agent enrolled with the token, before it gets a certificate.

        That is status.agents, and for a Once token that it is used up.

        Returns False without writing if the record is not the newest: the caller finds it again and decides again.
        """


class NodeBook(Protocol):
    """Exit node pods."""

    async def review(self, service_account_token: str) -> NodeIdentity | NodeRefusal:
        """TokenReview (audience `hawse`), then the bound pod and its owners; names come from there only."""

    def find(self, exit_node: str, pod: str) -> NodeIdentity | None:
        """From the cache: the exit node behind a certificate; None if its ExitNode or Fleet does not exist any more."""

    def addresses(self, fleet: str) -> Mapping[str, int]:
        """Where agents reach the fleet's ready exit nodes: "203.0.113.7:7443" (UDP) -> TCP port of the same node."""
