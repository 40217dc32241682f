"""AgentSession: who is connected. Written by the operator, coarsely; nobody configures anything with it.

Named `<token>-<hash of the agent>` and owned by the AgentToken; removed when not renewed for five minutes.
"""

from typing import Annotated, ClassVar

from pydantic import Field, computed_field

from hawse_api.v1alpha1.agenttoken import AgentId
from hawse_api.v1alpha1.meta import DnsLabel, ObjectName, Resource, ResourceStatus, ShortName, Time
from hawse_api.v1alpha1.schema import (
    LIST_SET,
    Column,
    Definition,
    Int32,
    Model,
    Scope,
    Status,
    condition_columns,
    immutable,
    list_map,
)


class AgentSessionSpec(Model):
    """Which agent."""

    rules = (immutable("tokenName"), immutable("agentID"))

    token_name: ObjectName
    """The AgentToken of the same namespace that it enrolled with."""
    agent_id: Annotated[AgentId, Field(alias="agentID")]
    """The agent's own id, made on its machine."""


class Connection(Status):
    """A link to one exit node."""

    name: ShortName
    """ExitNode."""
    region: DnsLabel
    """Its region."""
    pod: ObjectName
    """Its pod."""
    transport: Annotated[str, Field(min_length=1, max_length=16)]
    """What carries the link: quic."""
    rtt_milliseconds: Annotated[Int32, Field(ge=0)] | None = None
    """Round trip, rounded coarsely."""
    since: Time
    """When the link was made."""


_NAMES_SAY = "Names of the exit nodes that it is connected to, for the column of kubectl."


class AgentSessionStatus(ResourceStatus):
    """What the exit nodes report."""

    hostname: Annotated[str, Field(max_length=253)] | None = None
    """What the agent calls its machine; shown to people, trusted for nothing."""
    version: Annotated[str, Field(max_length=64)] | None = None
    """Version of the agent's software."""
    exit_nodes: Annotated[tuple[Connection, ...], Field(max_length=64, json_schema_extra=list_map("name", "pod"))] = ()
    """Exit nodes that it is connected to."""
    tunnels: Annotated[tuple[ObjectName, ...], Field(max_length=256, json_schema_extra=LIST_SET)] = ()
    """Tunnels of the same namespace that it serves."""
    renew_time: Time | None = None
    """When the operator last confirmed the session; moves at most once a minute."""

    @computed_field(  # type: ignore[prop-decorator]  # mypy#1362: it knows no decorator above @property
        alias="exitNodeNames", description=_NAMES_SAY, json_schema_extra={"maxItems": 64, **LIST_SET}
    )
    @property
    def exit_node_names(self) -> tuple[ShortName, ...]:
        """Names of exit_nodes: kubectl shows only the first match of `exitNodes[*].name` in a column."""
        return tuple(sorted({node.name for node in self.exit_nodes}))


class AgentSession(Resource):
    """Who is connected: agent, version, exit nodes, round trip, since when."""

    definition: ClassVar[Definition] = Definition(
        kind="AgentSession",
        plural="agentsessions",
        short="ags",
        scope=Scope.NAMESPACED,
        columns=(
            Column("Token", ".spec.tokenName", description="The AgentToken that it enrolled with."),
            Column("Hostname", ".status.hostname", description="What the agent calls its machine."),
            Column("Exit Nodes", ".status.exitNodeNames", description="Exit nodes that it is connected to."),
            Column("Tunnels", ".status.tunnels", description="Tunnels that it serves."),
            Column("Version", ".status.version", description="Version of the agent.", wide=True),
            *condition_columns(),
        ),
        selectable=(".spec.tokenName", ".spec.agentID"),
    )

    spec: AgentSessionSpec
    status: AgentSessionStatus = AgentSessionStatus()
