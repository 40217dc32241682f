"""What the processes of a trial are told: files of exit nodes, the agent's login. Pure but for randomness.

A trial has one AgentToken and any number of Tunnels that name it. Called by trial/processes.py and tests.
"""

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf import json_format

from hawse_agent.credentials import Credentials
from hawse_agent.trial import pki
from hawse_api import names
from hawse_api.ir import ir_pb2

NAMESPACE = "default"
TOKEN_NAME = "laptop"  # noqa: S105 - the name of an AgentToken
_CERTIFICATE_ID = "certificate/fleet-default"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one exit node listens."""

    name: str
    region: str
    address: str
    https_port: int
    agents_port: int
    admin_port: int

    def at(self, port: int) -> str:
        """Address and port, as in a URL."""
        return f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"


@dataclass(frozen=True, slots=True)
class TunnelSpec:
    """A tunnel of the trial; its host is <name>.<domain>, of a TCP tunnel tcp-<port>.<domain>."""

    name: str
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    app_protocol: "ir_pb2.AppProtocol.ValueType" = ir_pb2.APP_PROTOCOL_HTTP1
    request_timeout_ms: int = 0
    max_concurrent: int = 0
    tcp_port: int = 0
    """Set: a TCP tunnel, at this port."""
    closed: str = ""
    """Set: the tunnel is closed with this sentence."""
    direct: ir_pb2.UrlTarget | None = None
    """Set: it leads there and not to the trial's agents."""
    standby: ir_pb2.Standby | None = None
    shield: ir_pb2.Shield | None = None

    @property
    def host_label(self) -> str:
        """First label of its host name."""
        return names.tcp_label(self.tcp_port) if self.tcp_port else self.name


@dataclass(frozen=True, slots=True)
class TrialFleet:
    """Identities that all parts of a trial share."""

    domain: str
    authority: pki.Authority
    """Vouches for exit nodes and agents."""
    visitors: pki.Authority
    """Vouches for the wildcard certificate: what curl gets as --cacert."""
    wildcard: pki.Leaf
    token_uid: str
    made: dt.datetime

    @property
    def connect_name(self) -> str:
        """What exit nodes prove towards agents."""
        return f"connect.{self.domain}"


def make_fleet(domain: str, now: dt.datetime) -> TrialFleet:
    """New CAs and a wildcard certificate for the domain."""
    visitors = pki.make_authority("hawse trial visitors", now)
    return TrialFleet(
        domain=domain,
        authority=pki.make_authority("hawse trial", now),
        visitors=visitors,
        wildcard=visitors.issue(f"*.{domain}", now=now, dns=[f"*.{domain}", domain]),
        token_uid=str(uuid.uuid4()),
        made=now,
    )


def build_objects(
    fleet: TrialFleet, place: Place, tunnels: Sequence[TunnelSpec], *, token: bool, allowed_cidrs: Sequence[str] = ()
) -> list[ir_pb2.Object]:
    """The exit node's configuration. Without `token` the agent is cut off, as if its AgentToken had been deleted."""
    objects = [
        ir_pb2.Object(
            key="fleet",
            fleet=ir_pb2.Fleet(
                name="default",
                domain=fleet.domain,
                https_port=place.https_port,
                agents_port=place.agents_port,
                certificate_id=_CERTIFICATE_ID,
                allowed_cidrs=allowed_cidrs,
            ),
        )
    ]
    if token:
        spoken = ir_pb2.AgentToken(uid=fleet.token_uid, namespace=NAMESPACE, name=TOKEN_NAME)
        objects.append(ir_pb2.Object(key=f"token/{fleet.token_uid}", token=spoken))
    objects += [_tunnel(fleet, spec) for spec in tunnels]
    return objects


def build_static_file(fleet: TrialFleet, place: Place, objects: Sequence[ir_pb2.Object]) -> str:
    """Content of the file that `hawse-exitnode static FILE` reads (docs/design/0001-contracts.md §2)."""
    identity = fleet.authority.issue(
        place.name,
        now=fleet.made,
        uri=f"spiffe://{fleet.domain}/exitnode/{place.name}/{place.name}-0",
        dns=[fleet.connect_name],
    )
    return json.dumps(
        {
            "exit_node": place.name,
            "region": place.region,
            "bind": place.address,
            "https_port": place.https_port,
            "agents_port": place.agents_port,
            "admin_port": place.admin_port,
            "domain": fleet.domain,
            "objects": [json_format.MessageToDict(one) for one in objects],
            "certificates": [
                {
                    "id": _CERTIFICATE_ID,
                    "chain_pem": fleet.wildcard.chain_pem,
                    "key_pem": fleet.wildcard.key_pem,
                }
            ],
            "identity": {
                "chain_pem": identity.chain_pem,
                "key_pem": identity.key_pem,
                "roots_pem": fleet.authority.pem,
            },
        },
        indent=1,
    )


def build_login(
    fleet: TrialFleet, addresses: Mapping[str, int], *, agent_id: str, life: dt.timedelta = dt.timedelta(hours=24)
) -> Credentials:
    """The login that an enrolment with the trial's token would have left on the laptop."""
    leaf = fleet.authority.issue(
        f"agent {agent_id}",
        now=fleet.made,
        uri=f"spiffe://{fleet.domain}/ns/{NAMESPACE}/agenttoken/{fleet.token_uid}/agent/{agent_id}",
        life=life,
    )
    return Credentials(
        connect_name=fleet.connect_name,
        domain=fleet.domain,
        addresses=tuple(addresses),
        tcp_ports=tuple(addresses.values()),
        namespace=NAMESPACE,
        token_name=TOKEN_NAME,
        agent_id=agent_id,
        chain=leaf.chain_der,
        roots=(fleet.authority.der,),
        key=leaf.key_der,
    )


def _tunnel(fleet: TrialFleet, spec: TunnelSpec) -> ir_pb2.Object:
    tunnel = ir_pb2.Tunnel(
        uid=spec.uid,
        namespace=NAMESPACE,
        name=spec.name,
        hostname=f"{spec.host_label}.{fleet.domain}",
        tcp_port=spec.tcp_port,
        required_features=[names.FEATURE_TCP] if spec.tcp_port else [],
        holder_generation=1,
        agent=ir_pb2.AgentTarget(token_uid=fleet.token_uid),
        app_protocol=spec.app_protocol,
        timeouts=ir_pb2.Timeouts(request_ms=spec.request_timeout_ms),
        max_concurrent=spec.max_concurrent,
    )
    if spec.direct is not None:
        tunnel.direct.CopyFrom(spec.direct)
    if spec.standby is not None:
        tunnel.standby.CopyFrom(spec.standby)
    if spec.shield is not None:
        tunnel.shield.CopyFrom(spec.shield)
        tunnel.required_features.append(names.FEATURE_SHIELD)
    if spec.closed:
        tunnel.closed.CopyFrom(ir_pb2.Closed(code="HAWSE-1008", message=spec.closed))
    return ir_pb2.Object(key=f"tunnel/{spec.uid}", tunnel=tunnel)
