"""`Fleet.spec.dns`: who answers for the fleet's names, and how the operator tells them what to answer.

Only shapes. The decisions are in hawse_operator.dns; keys stay in Secrets, which are named here and never copied.
"""

import ipaddress
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from hawse_api.v1alpha1.meta import DNS_SUBDOMAIN, DnsLabel, Duration, LocalRef, ShortName, between
from hawse_api.v1alpha1.schema import LIST_ATOMIC, LIST_SET, Bool, Choice, Int32, Members, Model, Rule, list_map


class DnsType(StrEnum):
    """Who answers."""

    POWERDNS = "PowerDNS"
    RFC2136 = "RFC2136"
    EXTERNAL_DNS = "ExternalDNS"
    NONE = "None"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


Cidr = Annotated[
    str,
    Field(min_length=4, max_length=49),
    Rule(
        cel="isCIDR(self) && cidr(self) == cidr(self).masked()",
        message="must be a network without host bits: 203.0.113.0/24 or 2001:db8::/32",
        holds=_is_network,
    ),
]
_Hostname = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]


class ClientNetwork(Model):
    """Resolvers, or clients where resolvers pass their networks on (ECS), that are near a region."""

    region: DnsLabel
    """Region as in ExitNode.spec.region."""
    cidrs: Annotated[tuple[Cidr, ...], Field(min_length=1, max_length=128, json_schema_extra=LIST_SET)]
    """Their networks."""


class PowerDnsServer(Model):
    """One authoritative server."""

    name: ShortName
    """What messages call it."""
    url: Annotated[str, Field(max_length=512, pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$")]
    """Its HTTP API, without /api/v1: http://hawse-dns.hawse-system.svc:8081."""


class PowerDns(Model):
    """PowerDNS Authoritative Server, over its HTTP API.

    It must run with enable-lua-records, and, for clientNetworks, edns-subnet-processing.
    """

    servers: Annotated[
        tuple[PowerDnsServer, ...], Field(min_length=1, max_length=8, json_schema_extra=list_map("name"))
    ]
    """Every one gets the same records and the same DNSSEC key."""
    nameservers: Annotated[tuple[_Hostname, ...], Field(max_length=8, json_schema_extra=LIST_ATOMIC)] = ()
    """Names of these servers as the world knows them, for the NS records of the zone: what the parent zone delegates
    to."""
    api_key_ref: LocalRef
    """Secret in the operator's namespace; its entry `api-key` is the key of the HTTP API. Read again every minute."""


class Rfc2136(Model):
    """Any server that takes dynamic updates (RFC 2136) and transfers its zone to the same key."""

    server: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:-]+$")]
    """Address or name of the primary."""
    port: Annotated[Int32, Field(ge=1, le=65535)] = 53
    """TCP port."""
    tsig_key_ref: LocalRef
    """Secret in the operator's namespace with `name`, `algorithm` (hmac-sha256) and `secret` (base64)."""


class ExternalDnsProvider(StrEnum):
    """What is behind external-dns."""

    ROUTE53 = "Route53"
    OTHER = "Other"


class ExternalDns(Model):
    """A DNSEndpoint object (externaldns.k8s.io/v1alpha1) for external-dns to carry out."""

    provider: ExternalDnsProvider = ExternalDnsProvider.ROUTE53
    """Route53: weighted records. Other: one record set with all addresses, since nobody else understands weights."""

    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] | None = None
    """Labels of the DNSEndpoint, for external-dns's --label-filter."""


class Dns(Choice):
    """Who answers for the fleet's names."""

    choices: ClassVar[Members] = {
        DnsType.POWERDNS: "powerDNS",
        DnsType.RFC2136: "rfc2136",
        DnsType.EXTERNAL_DNS: "externalDNS",
        DnsType.NONE: None,
    }

    type: DnsType
    """PowerDNS: weights, health and nearness are decided at each look-up. RFC2136: any server, no weights.
    ExternalDNS: hand-off to external-dns. None: you write the records."""
    ttl: Annotated[Duration, between("5s", "1h")] = "20s"
    """How long resolvers may keep an answer: so long a look-up may lead to a region that is gone."""
    sticky: Bool = False
    """True: a client network (ECS, else the resolver) gets the same exit node as long as that is up. PowerDNS only."""
    client_networks: Annotated[
        tuple[ClientNetwork, ...], Field(max_length=32, json_schema_extra=list_map("region"))
    ] = ()
    """Which networks are near which region, for connect.<domain> and for Tunnels with policy Nearest. PowerDNS only."""
    power_dns: Annotated[PowerDns | None, Field(alias="powerDNS")] = None
    """The servers."""
    rfc2136: Annotated[Rfc2136 | None, Field(alias="rfc2136")] = None
    """The server."""
    external_dns: Annotated[ExternalDns | None, Field(alias="externalDNS")] = None
    """The hand-off; `{}` for the defaults."""
