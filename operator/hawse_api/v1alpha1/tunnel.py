"""Tunnel: a public address and where it leads. The only object that an app developer has to know.

HTTP tunnels have a host, TCP tunnels a port. Where they lead is in targets.py.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from hawse_api.v1alpha1.exitnode import Weight
from hawse_api.v1alpha1.fleet import Port
from hawse_api.v1alpha1.meta import (
    DNS_NAME,
    DnsLabel,
    Duration,
    LocalRef,
    NamespacedRef,
    Resource,
    ResourceStatus,
    ShortName,
    between,
)
from hawse_api.v1alpha1.schema import (
    LIST_SET,
    Bool,
    Choice,
    Column,
    Definition,
    Int32,
    Int64,
    Members,
    Model,
    Rule,
    Scope,
    Status,
    condition_columns,
    immutable,
    list_map,
)
from hawse_api.v1alpha1.shield import Shield
from hawse_api.v1alpha1.targets import TCP_SCHEME, AppProtocol, Standby, Target, token_of


class Protocol(StrEnum):
    """What visitors speak."""

    HTTP = "HTTP"
    TCP = "TCP"


class HostType(StrEnum):
    """Where the public name comes from."""

    SUBDOMAIN = "Subdomain"
    GENERATED = "Generated"
    HOSTNAME = "Hostname"


class ReclaimPolicy(StrEnum):
    """What becomes of a name when its Tunnel is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class PlacementPolicy(StrEnum):
    """How visitors are led to regions."""

    WEIGHTED = "Weighted"
    FAILOVER = "Failover"
    NEAREST = "Nearest"


Subdomain = Annotated[
    DnsLabel,
    Rule(
        cel="!self.startsWith('xn--')",
        message="internationalised names (xn--) are not served: they imitate others' names",
        holds=lambda label: not label.startswith("xn--"),
    ),
]


Hostname = Annotated[str, Field(min_length=4, max_length=253, pattern=DNS_NAME)]


class Host(Choice):
    """The public name."""

    choices: ClassVar[Members] = {
        HostType.SUBDOMAIN: "subdomain",
        HostType.GENERATED: None,
        HostType.HOSTNAME: "hostname",
    }

    type: HostType
    """Subdomain: one label under the fleet's domain. Generated: a label made from this Tunnel's name and characters
    that nobody guesses. Hostname: a name of your own domain."""
    subdomain: Subdomain | None = None
    """One DNS label in lower case: `shop` becomes shop.<domain of the fleet>."""
    hostname: Hostname | None = None
    """A name outside the fleets' domains: `shop.example.org`. Served once a TXT record proves that it is this
    namespace's (status.hostVerification); needs tls.certificateRef."""


class TunnelTLS(Model):
    """The certificate that visitors see."""

    certificate_ref: LocalRef
    """A Secret of type kubernetes.io/tls in this namespace whose certificate names the host; read again every minute.
    It is used for this Tunnel's host alone."""


class Timeouts(Model):
    """How long a visitor's request may take."""

    request: Annotated[Duration, between("100ms", "1h")] = "60s"
    """From the whole request sent until the head of the app's answer; then the visitor gets 504 HAWSE-1004."""
    idle: Annotated[Duration, between("1s", "24h")] = "1h"
    """Without a byte in either direction, for WebSockets, streamed bodies and connections of TCP tunnels."""


class Traffic(Model):
    """How requests are treated on their way."""

    timeouts: Timeouts = Timeouts()
    """Limits of time."""
    max_concurrent: Annotated[Int32, Field(ge=1, le=960)] = 960
    """Requests at the app at the same time, for each exit node; WebSockets count while they live, and so do the
    connections of a TCP tunnel. One more waits up to 10 s, in turn among visitors' addresses; then the visitor gets 503
    HAWSE-1010, or a reset."""
    shield: Shield | None = None
    """Answers that several visitors share, so that ten thousand at once do not reach a laptop; absent: off. Not for TCP
    tunnels."""


class TunnelAccess(Model):
    """Who may visit."""

    policy_ref: NamespacedRef
    """An AccessPolicy; one of another namespace has to allow this one (spec.allowedNamespaces). While it is not there
    or cannot be enforced, visitors get 503 HAWSE-1020."""


class RegionWeight(Model):
    """A region and its share."""

    name: DnsLabel
    """Region as in ExitNode.spec.region."""
    weight: Weight = 100
    """Share of new visitors, relative to the other regions; it multiplies the weights of the region's ExitNodes. 0:
    none, as long as another region has any. Not used by Failover."""


class Placement(Model):
    """To which regions DNS leads visitors. Every exit node of the fleet serves the tunnel all the same."""

    policy: PlacementPolicy
    """Weighted: by weight. Failover: the first region of the list that is up. Nearest: the visitor's region (by
    dns.clientNetworks of the Fleet), then the next nearest that is up."""
    regions: Annotated[tuple[RegionWeight, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """The regions, in the order of preference; empty: all of the fleet."""
    sticky: Bool = False
    """True: a client network gets the same exit node as long as that is up. With dns.type PowerDNS only."""


def _targets(spec: "TunnelSpec") -> tuple[Target, ...]:
    return (spec.target, spec.standby.target) if spec.standby else (spec.target,)


class TunnelSpec(Model):
    """What the developer wants."""

    rules = (
        immutable("fleetName"),
        immutable("protocol"),
        immutable("host"),
        Rule(
            cel="!has(oldSelf.port) || (has(self.port) && self.port == oldSelf.port)",
            message="port is immutable: delete the object and create it again",
        ),
        Rule(
            cel="has(self.host) == (self.protocol == 'HTTP')",
            message="host belongs to protocol HTTP: required with it, refused without it",
            holds=lambda spec: (spec.host is not None) == (spec.protocol is Protocol.HTTP),
        ),
        Rule(
            cel="self.protocol == 'TCP' || !has(self.port)",
            message="port belongs to protocol TCP",
            holds=lambda spec: spec.protocol is Protocol.TCP or spec.port is None,
        ),
        Rule(
            cel="self.protocol == 'HTTP' || (!has(self.tls) && self.target.appProtocol == 'HTTP1' && "
            "(!has(self.standby) || self.standby.target.appProtocol == 'HTTP1'))",
            message="tls and appProtocol belong to protocol HTTP",
            holds=lambda spec: (
                spec.protocol is Protocol.HTTP
                or (spec.tls is None and all(to.app_protocol is AppProtocol.HTTP1 for to in _targets(spec)))
            ),
        ),
        Rule(
            cel="(!has(self.target.url) || self.target.url.startsWith('tcp:') == (self.protocol == 'TCP')) && "
            "(!has(self.standby) || !has(self.standby.target.url) || "
            "self.standby.target.url.startsWith('tcp:') == (self.protocol == 'TCP'))",
            message="url begins with tcp:// in a Tunnel with protocol TCP, and with http:// or https:// in every other",
            holds=lambda spec: all(
                to.url is None or to.url.startswith(f"{TCP_SCHEME}:") == (spec.protocol is Protocol.TCP)
                for to in _targets(spec)
            ),
        ),
        Rule(
            cel="!has(self.traffic) || !has(self.traffic.shield) || self.protocol == 'HTTP'",
            message="traffic.shield is for HTTP tunnels: nothing else has answers that can be shared",
            holds=lambda spec: spec.traffic.shield is None or spec.protocol is Protocol.HTTP,
        ),
        Rule(
            cel="!has(self.access) || self.protocol == 'HTTP'",
            message="access is for HTTP tunnels: other visitors bring nothing that a policy could check",
            holds=lambda spec: spec.access is None or spec.protocol is Protocol.HTTP,
        ),
        Rule(
            cel="!has(self.standby) || !has(self.standby.target.agent) || !has(self.target.agent) || "
            "self.standby.target.agent.tokenRef.name != self.target.agent.tokenRef.name",
            message="the agents of the standby need an AgentToken of their own",
            holds=lambda spec: (
                spec.standby is None
                or token_of(spec.target) is None
                or token_of(spec.standby.target) != token_of(spec.target)
            ),
        ),
    )

    fleet_name: ShortName = "default"
    """The Fleet whose exit nodes serve this tunnel. Immutable."""
    protocol: Protocol = Protocol.HTTP
    """HTTP: HTTP/1.1, HTTP/2 and HTTP/3 over TLS, WebSocket, server-sent events. TCP: connections to a port of its own,
    passed as they are; Hawse adds no TLS. Immutable."""
    host: Host | None = None
    """The public name, of protocol HTTP. Immutable: another name is another Tunnel."""
    port: Port | None = None
    """With protocol TCP: the public port, one of Fleet.spec.tcpPorts; absent: the lowest free one is assigned
    (status.port), and stays. Immutable once set."""
    tls: TunnelTLS | None = None
    """The certificate that visitors see; absent: the fleet's wildcard certificate."""
    target: Target
    """Where it leads."""
    standby: Standby | None = None
    """A second target, which answers while the first does not: a laptop for a cloud region, or the reverse."""
    placement: Placement | None = None
    """To which regions DNS leads visitors; absent: all of the fleet, by the weights of its ExitNodes."""
    access: TunnelAccess | None = None
    """Who may visit; absent: everybody who knows the name."""
    traffic: Traffic = Traffic()
    """How requests are treated on their way."""
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.RETAIN
    """What becomes of the name when this Tunnel is deleted. Retain: it is kept for this namespace for the fleet's
    tombstoneFor. Delete: it is free at once."""
    suspend: Bool = False
    """True: hold the name and serve nothing; visitors get 503 HAWSE-1008, those of a TCP tunnel a reset."""

    @property
    def is_tcp(self) -> bool:
        """Whether it has a port in place of a host name."""
        return self.protocol is Protocol.TCP


class ActiveTarget(StrEnum):
    """What answers."""

    PRIMARY = "Primary"
    STANDBY = "Standby"


class RegionStatus(Status):
    """One region."""

    name: DnsLabel
    """Region, as in ExitNode.spec.region."""
    ready: Bool
    """Whether every ready pod of the region serves this tunnel as it now is."""
    weight: Annotated[Int64, Field(ge=0)] | None = None
    """What was asked for: weight of the region (placement) times the sum of the weights of its ExitNodes."""
    effective_weight: Annotated[Int64, Field(ge=0)] | None = None
    """The same after readiness and drain: what DNS spreads by."""
    addresses: Annotated[
        tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=64, json_schema_extra=LIST_SET)
    ] = ()
    """Where visitors of this region connect."""


class HostVerification(Status):
    """What proves a name of your own domain."""

    record: Annotated[str, Field(max_length=260)]
    """Name of the TXT record to publish."""
    value: Annotated[str, Field(max_length=128)]
    """Its value; it holds for this namespace alone."""
    target: Annotated[str, Field(max_length=253)]
    """Where a CNAME of the host name leads visitors."""


class TunnelStatus(ResourceStatus):
    """What the operator found and did."""

    hostname: Annotated[str, Field(max_length=253)] | None = None
    """The public name; of a TCP tunnel `tcp-<port>` under the fleet's domain."""
    port: Port | None = None
    """The public port of a TCP tunnel, asked for or assigned."""
    url: Annotated[str, Field(max_length=300)] | None = None
    """The address to visit; of a TCP tunnel `tcp://<hostname>:<port>`."""
    host_verification: HostVerification | None = None
    """Of a name of your own domain: what proves it."""
    reservation_name: Annotated[str, Field(max_length=253)] | None = None
    """The SubdomainReservation that holds the name."""
    regions: Annotated[tuple[RegionStatus, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """Where it is served."""
    active_target: ActiveTarget | None = None
    """Of a Tunnel with a standby: Standby while it answers at any exit node, for each decides alone."""


class Tunnel(Resource):
    """A public address and where it leads: the only object that an app developer has to know."""

    definition: ClassVar[Definition] = Definition(
        kind="Tunnel",
        plural="tunnels",
        short="tun",
        scope=Scope.NAMESPACED,
        columns=(
            Column("Host", ".status.hostname", description="The public name."),
            Column("Protocol", ".spec.protocol", description="What visitors speak."),
            Column("Port", ".status.port", "integer", "The public port of a TCP tunnel.", wide=True),
            Column("Target", ".spec.target.type", description="What it leads to."),
            Column(
                "Target Ready",
                '.status.conditions[?(@.type=="TargetReady")].status',
                description="Whether what it leads to is there.",
            ),
            Column("Active", ".status.activeTarget", description="What answers, if there is a standby.", wide=True),
            Column("URL", ".status.url", description="The address to visit.", wide=True),
            *condition_columns(),
        ),
        selectable=(
            ".spec.fleetName",
            ".spec.host.subdomain",
            ".spec.host.hostname",
            ".spec.target.agent.tokenRef.name",
        ),
    )

    spec: TunnelSpec
    status: TunnelStatus = TunnelStatus()
