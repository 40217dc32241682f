"""Fleet: what a group of ExitNodes shares: the domain, public ports, the certificate, who may use it."""

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from hawse_api import names
from hawse_api.v1alpha1.dns import Dns, DnsType
from hawse_api.v1alpha1.meta import (
    DNS_NAME,
    SHORT_NAME_RULE,
    DnsLabel,
    Duration,
    LabelSelector,
    LocalRef,
    Resource,
    ResourceStatus,
    between,
)
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
    immutable,
)

DOMAIN_MAX = 253 - 63 - 1
"""A subdomain of 63 characters and its dot still fit into a name of DNS."""


def _is_cidr(text: str) -> bool:
    """As Kubernetes' isCIDR takes it: with a prefix length; host bits may be set."""
    address, slash, _ = text.partition("/")
    try:
        ipaddress.ip_network(text, strict=False)
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return bool(slash) and "%" not in text


Port = Annotated[Int32, Field(ge=1, le=65535)]

DEFAULT_RESERVED = ("www", "auth", "api", "admin", "mail", "wpad", "autodiscover", "mta-sts", "connect")
"""Names that browsers, mail and agents trust more than others."""


class CertificateType(StrEnum):
    """Where the wildcard certificate comes from."""

    SELF_SIGNED = "SelfSigned"
    SECRET = "Secret"  # noqa: S105 - a kind


class NamespacesFrom(StrEnum):
    """Which namespaces may use a fleet."""

    ALL = "All"
    SELECTOR = "Selector"
    NONE = "None"


class Listeners(Model):
    """Public ports: those that URLs, tokens and redirects name. Containers listen on 8443 and 7443."""

    https: Port = 443
    """TCP, visitors; UDP too, for HTTP/3, unless agents have the same port."""
    agents: Port = 7443
    """UDP, agents."""


class Certificate(Choice):
    """The certificate for *.<domain>."""

    choices: ClassVar[Members] = {CertificateType.SELF_SIGNED: None, CertificateType.SECRET: "secret"}

    type: CertificateType
    """SelfSigned: made by the operator's own CA, for trying things out. Secret: yours."""
    secret: LocalRef | None = None
    """A Secret of type kubernetes.io/tls in the operator's namespace; read again every minute."""


class AllowedNamespaces(Choice):
    """Which namespaces may use it."""

    discriminator = "from_"
    choices: ClassVar[Members] = {
        NamespacesFrom.ALL: None,
        NamespacesFrom.SELECTOR: "selector",
        NamespacesFrom.NONE: None,
    }

    from_: Annotated[NamespacesFrom, Field(alias="from")]
    """All, None, or Selector: those whose labels match."""
    selector: LabelSelector | None = None
    """Labels of the Namespace objects."""

    def allows(self, namespace_labels: dict[str, str]) -> bool:
        """Say whether a namespace with these labels may use it."""
        match self.from_:
            case NamespacesFrom.ALL:
                return True
            case NamespacesFrom.NONE:
                return False
            case NamespacesFrom.SELECTOR:
                return self.selector is not None and self.selector.matches(namespace_labels)


class ProxyProtocolMode(StrEnum):
    """Whether load balancers say whose connection they pass on."""

    OFF = "Off"
    REQUIRED = "Required"


Cidr = Annotated[
    str,
    Field(min_length=4, max_length=49),
    Rule(cel="isCIDR(self)", message="must be a network such as 10.0.0.0/8 or 2001:db8::/32", holds=_is_cidr),
]


class ProxyProtocol(Model):
    """Load balancers in front of the exit nodes, whose word on a visitor's address counts."""

    rules = (
        Rule(
            cel="self.mode != 'Required' || self.trustedCIDRs.size() > 0",
            message="mode Required needs trustedCIDRs: the networks of the load balancers",
            holds=lambda it: it.mode is not ProxyProtocolMode.REQUIRED or bool(it.trusted_cidrs),
        ),
    )

    mode: ProxyProtocolMode = ProxyProtocolMode.OFF
    """Required: TCP connections from trustedCIDRs begin with a PROXY header (version 1 or 2);
    those without it are closed."""
    trusted_cidrs: Annotated[
        tuple[Cidr, ...], Field(alias="trustedCIDRs", max_length=64, json_schema_extra=LIST_SET)
    ] = ()
    """Networks of the load balancers. X-Forwarded-For from there counts too; from anywhere else it is dropped."""


class AccessDefaultsMode(StrEnum):
    """For which tunnels the fleet's policy counts."""

    DEFAULT = "Default"
    REQUIRED = "Required"


class FleetPolicyRef(LocalRef):
    """A reference to an AccessPolicy; a Fleet has no namespace of its own."""

    namespace: DnsLabel
    """Its namespace. Its allowedNamespaces do not matter here."""


class AccessDefaults(Model):
    """The fleet's own access policy."""

    policy_ref: FleetPolicyRef
    """The AccessPolicy. While it is not there or cannot be enforced, visitors get 503 HAWSE-1020."""
    mode: AccessDefaultsMode = AccessDefaultsMode.DEFAULT
    """Default: for HTTP tunnels that name none. Required: for all; where a Tunnel names one too, both have to let a
    visitor in, and TCP tunnels are closed."""


class Quotas(Model):
    """How many names one namespace may have, in whatever Fleet."""

    tunnels_per_namespace: Annotated[Int32, Field(ge=0, le=100_000)] = 100
    """Names that its Tunnels hold."""
    reservations_per_namespace: Annotated[Int32, Field(ge=0, le=100_000)] = 200
    """Names held, and released ones that are still kept for it."""


class Targets(Model):
    """Where tunnels of type URL and Service may lead."""

    allowed_cidrs: Annotated[
        tuple[Cidr, ...], Field(alias="allowedCIDRs", max_length=64, json_schema_extra=LIST_SET)
    ] = ()
    """Networks that exit nodes dial although such addresses are refused otherwise: loopback, link-local (cloud
    metadata), private and carrier-grade NAT ranges, multicast, documentation. A Service's ClusterIP in a private range
    needs no entry. Whoever may make Tunnels reaches all of them from inside the cluster: keep them narrow."""


TCP_PORTS_MOST = 1000
"""As many as an exit node listens on (edge limits)."""
_RANGE = "^[0-9]{4,5}-[0-9]{4,5}$"
_FIRST, _LAST = "int(self.split('-')[0])", "int(self.split('-')[1])"
_TAKEN_IN_PODS = (names.PORT_HTTPS, names.PORT_ADMIN)


def port_range(text: str | None) -> range:
    """Ports of a range that has passed its rules; None: none."""
    if text is None:
        return range(0)
    first, last = text.split("-")
    return range(int(first), int(last) + 1)


def _is_port_range(text: str) -> bool:
    ports = port_range(text) if re.fullmatch(_RANGE[1:-1], text) else range(0)
    return 1 <= len(ports) <= TCP_PORTS_MOST and ports[0] >= 1024 and ports[-1] <= 65535


def _leaves_out(text: str | None, *taken: int) -> bool:
    return text is None or not _is_port_range(text) or not any(port in port_range(text) for port in taken)


TcpPorts = Annotated[
    str,
    Field(max_length=11),
    Rule(
        cel=f"self.matches('{_RANGE}') && {_FIRST} >= 1024 && {_LAST} <= 65535 && "
        f"{_LAST} >= {_FIRST} && {_LAST} - {_FIRST} < {TCP_PORTS_MOST}",
        message=f"must be a range of at most {TCP_PORTS_MOST} ports from 1024 on, such as 20000-20999",
        holds=_is_port_range,
    ),
    Rule(
        cel=f"!self.matches('{_RANGE}') || "
        f"({' && '.join(f'({_FIRST} > {port} || {_LAST} < {port})' for port in _TAKEN_IN_PODS)})",
        message="must leave out 8443 and 9090: exit nodes listen there themselves",
        holds=lambda text: _leaves_out(text, *_TAKEN_IN_PODS),
    ),
]


def _nameservers_are_outside(spec: "FleetSpec") -> bool:
    names = spec.dns.power_dns.nameservers if spec.dns.power_dns else ()
    return not any(f".{name}".endswith(f".{spec.domain}") for name in names)


class FleetSpec(Model):
    """What the platform team wants."""

    rules = (
        immutable("domain"),
        Rule(
            cel="!has(self.dns.powerDNS) || !has(self.dns.powerDNS.nameservers) || "
            "self.dns.powerDNS.nameservers.all(name, !('.' + name).endsWith('.' + self.domain))",
            message="nameservers must lie outside the domain: inside it every name leads to exit nodes",
            holds=_nameservers_are_outside,
        ),
        Rule(
            cel=f"!has(self.tcpPorts) || !self.tcpPorts.matches('{_RANGE}') || "
            "self.listeners.https < int(self.tcpPorts.split('-')[0]) || "
            "self.listeners.https > int(self.tcpPorts.split('-')[1])",
            message="tcpPorts must leave out listeners.https",
            holds=lambda spec: _leaves_out(spec.tcp_ports, spec.listeners.https),
        ),
    )

    domain: Annotated[str, Field(min_length=3, max_length=DOMAIN_MAX, pattern=DNS_NAME)]
    """Names of tunnels hang below it: tunnels.example.com. It is also the trust domain of all certificates.
    Immutable; two Fleets never share or nest domains."""
    listeners: Listeners = Listeners()
    """Public ports."""
    tcp_ports: TcpPorts | None = None
    """Ports of Tunnels with protocol TCP: `20000-20999`, at most 1,000. Absent: there are none. A Tunnel whose port a
    new range leaves out is no longer served."""
    dns: Dns = Dns(type=DnsType.NONE)
    """Who answers for *.<domain> and the names of its Tunnels."""
    certificate: Certificate = Certificate(type=CertificateType.SELF_SIGNED)
    """The certificate for *.<domain>."""
    allowed_namespaces: AllowedNamespaces = AllowedNamespaces(from_=NamespacesFrom.NONE)
    """Which namespaces may use the fleet; none unless said so."""
    reserved_names: Annotated[tuple[DnsLabel, ...], Field(max_length=128, json_schema_extra=LIST_SET)] = (
        DEFAULT_RESERVED
    )
    """Labels that no tenant gets. `connect`, `tcp-<n>`, `udp-<n>` and `c-<16 characters>` are always among them."""
    proxy_protocol: ProxyProtocol = ProxyProtocol()
    """Load balancers in front of the exit nodes, whose word on a visitor's address counts."""
    targets: Targets = Targets()
    """Where tunnels of type URL and Service may lead."""
    access_defaults: AccessDefaults | None = None
    """Who may visit the fleet's tunnels; absent: what each Tunnel says of itself."""
    quotas: Quotas = Quotas()
    """How many names one namespace may have. Who holds a name keeps it; one more is refused
    (Reserved=False/QuotaExceeded)."""
    tombstone_for: Annotated[Duration, between("0s", "87600h")] = "2160h"
    """How long a released name is kept for the namespace that held it."""
    max_staleness: Annotated[Duration, between("1m", "720h")] = "24h"
    """How long an exit node that does not hear the operator may have agents: it cannot know whose token was revoked
    meanwhile. After that it sends them away, and visitors of their tunnels get 503 (HAWSE-1017), until the operator is
    back. Tunnels that lead to a Service or URL go on."""


class FleetStatus(ResourceStatus):
    """What the operator found and did."""

    certificate_secret_name: Annotated[str, Field(max_length=253)] | None = None
    """Secret in the operator's namespace with the certificate in use."""
    exit_nodes: Annotated[Int32, Field(ge=0)] | None = None
    """ExitNodes that name this Fleet."""
    ds_records: Annotated[
        tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=16, json_schema_extra=LIST_SET)
    ] = ()
    """DS records for the parent zone: with them resolvers check the signatures of the fleet's zone (DNSSEC)."""


class Fleet(Resource):
    """What ExitNodes share: the domain, public ports, the certificate, who may use it."""

    rules = (SHORT_NAME_RULE,)
    definition: ClassVar[Definition] = Definition(
        kind="Fleet",
        plural="fleets",
        short="fl",
        scope=Scope.CLUSTER,
        columns=(
            Column("Domain", ".spec.domain", description="Names of tunnels hang below it."),
            Column("DNS", ".spec.dns.type", description="Who answers for the names.", wide=True),
            Column(
                "DNS Ready",
                '.status.conditions[?(@.type=="DNSReady")].status',
                description="Whether the name servers have the records, where the operator writes them.",
                wide=True,
            ),
            Column("Exit Nodes", ".status.exitNodes", "integer", "ExitNodes that name this Fleet."),
            *condition_columns(),
        ),
        selectable=(".spec.domain",),
    )

    spec: FleetSpec
    status: FleetStatus = FleetStatus()
