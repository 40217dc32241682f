"""AgentToken: lets agents enrol. Its Secret holds the text for `hawse login`; deleting it cuts its agents off."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from hawse_api.v1alpha1.meta import Duration, Resource, ResourceStatus, Time, between
from hawse_api.v1alpha1.schema import (
    LIST_SET,
    Choice,
    Column,
    Definition,
    Int32,
    Members,
    Model,
    Rule,
    Scope,
    condition_columns,
)

MAX_AGENTS = 100
"""Bound of spec.maxAgents, so that status can list every agent."""


class ExpiryType(StrEnum):
    """When a token stops admitting agents."""

    TTL = "TTL"
    TIME = "Time"
    NEVER = "Never"


class Uses(StrEnum):
    """How often a token can be used."""

    ONCE = "Once"
    UNLIMITED = "Unlimited"


class Expiry(Choice):
    """When the token stops admitting agents."""

    choices: ClassVar[Members] = {ExpiryType.TTL: "ttl", ExpiryType.TIME: "time", ExpiryType.NEVER: None}

    type: ExpiryType
    """TTL: a time after it was issued. Time: at a moment. Never."""
    ttl: Annotated[Duration, between("1m", "87600h")] | None = None
    """How long after it was issued."""
    time: Time | None = None
    """The moment."""


class AgentTokenSpec(Model):
    """What the developer wants."""

    expiry: Expiry = Expiry(type=ExpiryType.TTL, ttl="24h")
    """When the token stops admitting new agents. Agents that enrolled before keep renewing their certificates until
    the AgentToken is deleted."""
    uses: Uses = Uses.UNLIMITED
    """Once: the token's Secret is deleted after the first agent enrolled. Unlimited: until maxAgents."""
    max_agents: Annotated[Int32, Field(ge=1, le=MAX_AGENTS)] = 1
    """How many different agents may enrol with it."""


AgentId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$")]


class AgentTokenStatus(ResourceStatus):
    """What the operator found and did."""

    secret_name: Annotated[str, Field(max_length=253)] | None = None
    """Secret of the same namespace with the text for `hawse login`, under the key `token`."""
    token_id: Annotated[str, Field(max_length=64)] | None = Field(default=None, alias="tokenID")
    """Public id of the token; not a secret."""
    expiration_time: Time | None = None
    """When it stops admitting agents; absent means never."""
    agents: Annotated[Int32, Field(ge=0)] | None = None
    """How many agents enrolled."""
    agent_ids: Annotated[
        tuple[AgentId, ...], Field(max_length=MAX_AGENTS, alias="agentIDs", json_schema_extra=LIST_SET)
    ] = ()
    """The agents that enrolled; each counts against maxAgents."""
    last_used_time: Time | None = None
    """When an agent last enrolled."""
    reissue: Annotated[str, Field(max_length=256)] | None = None
    """Value of the annotation hawse.dev/reissue that was last acted on."""


class AgentToken(Resource):
    """Lets agents enrol; deleting it cuts its agents off."""

    rules = (
        Rule(
            cel="self.metadata.name.size() <= 63",
            message="metadata.name must have at most 63 characters",
            holds=lambda token: len(token.name) <= 63,
        ),
    )
    definition: ClassVar[Definition] = Definition(
        kind="AgentToken",
        plural="agenttokens",
        short="agt",
        scope=Scope.NAMESPACED,
        columns=(
            Column("Secret", ".status.secretName", description="Secret with the text for `hawse login`."),
            Column("Agents", ".status.agents", "integer", "How many agents enrolled."),
            Column("Max", ".spec.maxAgents", "integer", "How many may."),
            Column("Expires", ".status.expirationTime", "string", "When it stops admitting agents."),
            *condition_columns(),
        ),
    )

    spec: AgentTokenSpec = AgentTokenSpec()
    status: AgentTokenStatus = AgentTokenStatus()
