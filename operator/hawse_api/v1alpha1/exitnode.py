"""ExitNode: a group of exit-node replicas in one region: the unit of placement and scale."""

import ipaddress
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from hawse_api.v1alpha1.meta import SHORT_NAME_RULE, DnsLabel, Duration, Resource, ResourceStatus, ShortName, between
from hawse_api.v1alpha1.schema import (
    LIST_SET,
    PRESERVE_UNKNOWN,
    Bool,
    Choice,
    Column,
    Definition,
    Int32,
    Members,
    Model,
    Rule,
    Scale,
    Scope,
    condition_columns,
    immutable,
)


class DeploymentType(StrEnum):
    """Who makes the exit node's pods."""

    MANAGED = "Managed"


class AddressType(StrEnum):
    """Where visitors and agents find an exit node."""

    POD_IPS = "PodIPs"
    SERVICE = "Service"
    STATIC = "Static"


class ServiceType(StrEnum):
    """Type of the Service in front of the pods."""

    LOAD_BALANCER = "LoadBalancer"
    NODE_PORT = "NodePort"
    CLUSTER_IP = "ClusterIP"


class Http3(StrEnum):
    """Whether visitors may speak HTTP/3."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
"""Pattern of resource.Quantity, as controller-gen writes it."""
Quantity = Annotated[int, Field(strict=True)] | Annotated[str, Field(pattern=QUANTITY)]
Address = Annotated[
    str,
    Field(min_length=2, max_length=45),
    Rule(cel="isIP(self)", message="must be an IPv4 or IPv6 address", holds=_is_address),
]
_LabelValue = Annotated[str, Field(max_length=63)]
_DEGREES = r"^-?[0-9]{1,3}(\.[0-9]{1,6})?$"
WEIGHT_MAX = 1_000_000
ADDRESSES_MAX = 128
"""Room for the address of every pod, and those of a rollout."""
Weight = Annotated[Int32, Field(ge=0, le=WEIGHT_MAX)]


class Resources(Model):
    """What the container asks for, as in a pod."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """Reserved for it: `cpu: 250m`."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """The most it gets: `memory: 512Mi`."""


class ManagedDeployment(Model):
    """A Deployment that the operator owns."""

    node_selector: Annotated[dict[str, _LabelValue], Field(max_length=32)] | None = None
    """Labels of the nodes that may run the pods: how a region is chosen in this cluster."""
    resources: Resources | None = None
    """What the container asks for."""
    pod_template_patch: Annotated[dict[str, Any], Field(json_schema_extra=PRESERVE_UNKNOWN)] | None = None
    """Merged into the pod template last (strategic for containers and volumes by name): tolerations, affinity,
    annotations, whatever has no field here."""


class Deployment(Choice):
    """How the pods come to be."""

    choices: ClassVar[Members] = {DeploymentType.MANAGED: "managed"}

    type: DeploymentType
    """Managed: the operator makes a Deployment in its own namespace."""
    managed: ManagedDeployment | None = None
    """Settings of that Deployment; `{}` for the defaults."""


class ServiceAddress(Model):
    """A Service in front of the pods."""

    type: ServiceType = ServiceType.LOAD_BALANCER
    """LoadBalancer, NodePort or ClusterIP."""
    http3: Http3 = Http3.ENABLED
    """Enabled: visitors may speak HTTP/3, on UDP at the same port. Disabled: where the load balancer has no UDP."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=32)] | None = None
    """Annotations of the Service: what the load balancer of your cloud asks for."""


class StaticAddress(Model):
    """Addresses that lead to the pods by means outside the cluster."""

    ips: Annotated[tuple[Address, ...], Field(min_length=1, max_length=16, json_schema_extra=LIST_SET)]
    """Addresses that visitors and agents connect to."""


class ExitNodeAddress(Choice):
    """Where visitors and agents find the exit node."""

    choices: ClassVar[Members] = {
        AddressType.POD_IPS: None,
        AddressType.SERVICE: "service",
        AddressType.STATIC: "static",
    }

    type: AddressType
    """PodIPs: the pods' own addresses. Service: a Service that the operator makes. Static: addresses named here."""
    service: ServiceAddress | None = None
    """The Service; `{}` for the defaults."""
    static: StaticAddress | None = None
    """The addresses."""


class Shutdown(Model):
    """How a pod stops."""

    min_drain_duration: Annotated[Duration, between("0s", "10m")] | None = None
    """How long a pod that was told to stop serves everybody as before, new visitors too, while DNS and load balancers
    turn away from it. Absent: dns.ttl of the Fleet and 10 s more; without a managed DNS 5 s."""
    drain_timeout: Annotated[Duration, between("1s", "1h")] = "60s"
    """How long requests in flight may take to end after that, when agents were told to leave."""


class Location(Model):
    """A place on the globe, in degrees."""

    latitude: Annotated[
        str,
        Field(max_length=12, pattern=_DEGREES),
        Rule(
            cel="double(self) >= -90.0 && double(self) <= 90.0",
            message="must be between -90 and 90",
            holds=lambda text: -90 <= float(text) <= 90,
        ),
    ]
    """Degrees north, negative in the south: "52.37"."""
    longitude: Annotated[
        str,
        Field(max_length=12, pattern=_DEGREES),
        Rule(
            cel="double(self) >= -180.0 && double(self) <= 180.0",
            message="must be between -180 and 180",
            holds=lambda text: -180 <= float(text) <= 180,
        ),
    ]
    """Degrees east, negative in the west: "4.90"."""


REPLICAS_MAX = 100
Replicas = Annotated[Int32, Field(ge=1, le=REPLICAS_MAX)]


class Autoscaling(Model):
    """How a HorizontalPodAutoscaler chooses the number of pods; of two targets the one that asks for more decides."""

    rules = (
        Rule(
            cel="self.minReplicas <= self.maxReplicas",
            message="minReplicas must not be greater than maxReplicas",
            holds=lambda autoscaling: autoscaling.min_replicas <= autoscaling.max_replicas,
        ),
        Rule(
            cel="has(self.targetCPU) || has(self.targetConnections)",
            message="at least one of targetCPU and targetConnections is required",
            holds=lambda autoscaling: bool(autoscaling.target_cpu or autoscaling.target_connections),
        ),
    )

    min_replicas: Replicas = 1
    """Never fewer pods than this."""
    max_replicas: Replicas
    """Never more pods than this."""
    target_cpu: Annotated[Int32, Field(ge=1, le=10_000)] | None = Field(default=None, alias="targetCPU")
    """CPU that a pod shall use on average, in percent of what it asks for (resources.requests.cpu). Needs
    metrics-server."""
    target_connections: Annotated[Int32, Field(ge=1, le=1_000_000)] | None = None
    """Visitors' connections that a pod shall have open on average. Needs an adapter for custom metrics that knows
    hawse_edge_connections_open."""


def _asks_for_cpu(spec: Any) -> bool:
    if spec.autoscaling is None or spec.autoscaling.target_cpu is None:
        return True
    managed = spec.deployment.managed or ManagedDeployment()
    if managed.resources is None or managed.pod_template_patch:
        return True
    return "cpu" in (managed.resources.requests or {}) or "cpu" in (managed.resources.limits or {})


CPU_RULE = Rule(
    cel="!has(self.autoscaling) || !has(self.autoscaling.targetCPU) || !has(self.deployment.managed) "
    "|| !has(self.deployment.managed.resources) || has(self.deployment.managed.podTemplatePatch) "
    "|| (has(self.deployment.managed.resources.requests) && 'cpu' in self.deployment.managed.resources.requests) "
    "|| (has(self.deployment.managed.resources.limits) && 'cpu' in self.deployment.managed.resources.limits)",
    message="autoscaling.targetCPU is a share of resources.requests.cpu: set that too",
    holds=_asks_for_cpu,
)
"""Without a request the autoscaler would do nothing, and say so only in its own status."""


class ExitNodeSpec(Model):
    """What the platform team wants."""

    rules = (immutable("fleetName"), CPU_RULE)

    fleet_name: ShortName = "default"
    """The Fleet it belongs to. Immutable."""
    region: DnsLabel
    """Region that it serves, in your own words; several ExitNodes may share one."""
    weight: Weight = 100
    """Share of new visitors among the fleet's ExitNodes; 0: none, as long as another has any."""
    drain: Bool = False
    """True: DNS gives it no new visitors (weight 0). Those who are connected stay."""
    location: Location | None = None
    """Where the region is: decides which region is the next nearest."""
    replicas: Annotated[Int32, Field(ge=0, le=REPLICAS_MAX)] = 1
    """Pods. With autoscaling only the number to begin with."""
    autoscaling: Autoscaling | None = None
    """Lets a HorizontalPodAutoscaler choose the number of pods."""
    deployment: Deployment = Deployment(type=DeploymentType.MANAGED, managed=ManagedDeployment())
    """How the pods come to be."""
    address: ExitNodeAddress = ExitNodeAddress(type=AddressType.POD_IPS)
    """Where visitors and agents find it."""
    shutdown: Shutdown = Shutdown()
    """How a pod stops."""

    @property
    def most_replicas(self) -> int:
        """The most pods that it can come to without another edit."""
        return self.replicas if self.autoscaling is None else self.autoscaling.max_replicas


class ExitNodeStatus(ResourceStatus):
    """What the operator found and did."""

    replicas: Annotated[Int32, Field(ge=0)] | None = None
    """Pods that exist, without those that are stopping."""
    desired_replicas: Annotated[Int32, Field(ge=0)] | None = None
    """Pods that there should be: spec.replicas, or what the autoscaler chose."""
    ready_replicas: Annotated[Int32, Field(ge=0)] | None = None
    """Pods that have their configuration and listen."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the pods, for `kubectl scale` and autoscalers."""
    addresses: Annotated[
        tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=ADDRESSES_MAX, json_schema_extra=LIST_SET)
    ] = ()
    """Addresses or names that visitors and agents connect to."""
    agents: Annotated[Int32, Field(ge=0)] | None = None
    """Agents connected; coarse."""
    effective_weight: Annotated[Int32, Field(ge=0)] | None = None
    """spec.weight times the ready share of its pods; 0 while it drains."""


class ExitNode(Resource):
    """A group of exit-node replicas in one region: the unit of placement and scale."""

    rules = (SHORT_NAME_RULE,)
    definition: ClassVar[Definition] = Definition(
        kind="ExitNode",
        plural="exitnodes",
        short="xn",
        scope=Scope.CLUSTER,
        columns=(
            Column("Fleet", ".spec.fleetName", description="The Fleet it belongs to."),
            Column("Region", ".spec.region", description="Region that it serves."),
            Column("Desired", ".status.desiredReplicas", "integer", "Pods that there should be."),
            Column("Pods", ".status.readyReplicas", "integer", "Pods that serve."),
            Column("Agents", ".status.agents", "integer", "Agents connected."),
            Column("Weight", ".spec.weight", "integer", "Share of new visitors that was asked for."),
            Column("Effective", ".status.effectiveWeight", "integer", "Weight after readiness and drain."),
            Column(
                "Draining",
                '.status.conditions[?(@.type=="Draining")].status',
                description="Whether it, or one of its pods, turns visitors away.",
            ),
            Column("Addresses", ".status.addresses", description="Where visitors and agents find it.", wide=True),
            *condition_columns(),
        ),
        selectable=(".spec.fleetName", ".spec.region"),
        scale=Scale(".spec.replicas", ".status.replicas", ".status.selector"),
    )

    spec: ExitNodeSpec
    status: ExitNodeStatus = ExitNodeStatus()
