"""Directory: what agents may serve on this exit node, read out of the IR. Pure.

Sessions ask it and nothing else whether a token exists and which tunnels are its own (design 0002, 4: permission is in
the IR). Built by `holdings` whenever the configuration changes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hawse_api import names
from hawse_api.ir import frames_pb2, ir_pb2

MAX_DELETED = 1000
_PROTOCOLS = {ir_pb2.APP_PROTOCOL_H2C: "H2C", ir_pb2.APP_PROTOCOL_TCP: names.APP_PROTOCOL_TCP}


@dataclass(frozen=True, slots=True)
class Offered:
    """A tunnel as it is offered to an agent."""

    uid: str
    namespace: str
    name: str
    hostname: str
    url: str
    app_protocol: str

    def to_frame(self) -> frames_pb2.OfferedTunnel:
        """As it goes over the link."""
        return frames_pb2.OfferedTunnel(
            uid=self.uid,
            namespace=self.namespace,
            name=self.name,
            hostname=self.hostname,
            url=self.url,
            app_protocol=self.app_protocol,
        )


@dataclass(frozen=True, slots=True)
class Directory:
    """Tokens that may be used, and the tunnels of each."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    """UID -> "namespace/name"."""
    offers: Mapping[str, tuple[Offered, ...]] = field(default_factory=dict)
    """Token UID -> its tunnels, by namespace and name."""
    deleted: Mapping[str, str] = field(default_factory=dict)
    """UID -> "namespace/name" of tokens that were there before: for the message. The newest MAX_DELETED."""

    addresses: tuple[tuple[str, int], ...] = ()
    """Where agents reach the fleet's exit nodes (UDP), each with its TCP port."""

    def offer(self, token_uid: str) -> tuple[Offered, ...]:
        """Tunnels that agents of this token may serve."""
        return self.offers.get(token_uid, ())


def build_directory(objects: Iterable[ir_pb2.Object], before: Directory) -> Directory:
    """The directory of a configuration; `before` tells which tokens are gone."""
    fleet = ir_pb2.Fleet(https_port=443)
    tokens: dict[str, str] = {}
    tunnels: list[ir_pb2.Tunnel] = []
    for obj in objects:
        match obj.WhichOneof("object"):
            case "fleet":
                fleet = obj.fleet
            case "token":
                tokens[obj.token.uid] = f"{obj.token.namespace}/{obj.token.name}"
            case "tunnel":
                tunnels.append(obj.tunnel)
    offers: dict[str, list[Offered]] = {}
    for tunnel in sorted(tunnels, key=lambda tunnel: (tunnel.namespace, tunnel.name, tunnel.uid)):
        if tunnel.WhichOneof("target") == "agent":
            offered = _offered(tunnel, fleet, tunnel.uid, tunnel.app_protocol)
            offers.setdefault(tunnel.agent.token_uid, []).append(offered)
        if tunnel.standby.WhichOneof("target") == "agent":
            offered = _offered(tunnel, fleet, standby_uid(tunnel.uid), tunnel.standby.app_protocol)
            offers.setdefault(tunnel.standby.agent.token_uid, []).append(offered)
    gone = {uid: name for uid, name in {**before.deleted, **before.tokens}.items() if uid not in tokens}
    deleted = dict(list(gone.items())[-MAX_DELETED:])
    return Directory(
        MappingProxyType(tokens),
        MappingProxyType({uid: tuple(offered) for uid, offered in offers.items()}),
        MappingProxyType(deleted),
        tuple(zip(fleet.agent_addresses, fleet.agent_tcp_ports, strict=False)),
    )


def standby_uid(uid: str) -> str:
    """Under what a tunnel's standby is offered to its agents; the edge asks for them by the same."""
    return f"{uid}/standby"


def _offered(
    tunnel: ir_pb2.Tunnel, fleet: ir_pb2.Fleet, uid: str, app_protocol: ir_pb2.AppProtocol.ValueType
) -> Offered:
    port = "" if fleet.https_port in (0, 443) else f":{fleet.https_port}"
    url = f"https://{tunnel.hostname}{port}/"
    if tunnel.tcp_port:
        url = names.tcp_url(tunnel.hostname, tunnel.tcp_port)
    return Offered(
        uid,
        tunnel.namespace,
        tunnel.name,
        tunnel.hostname,
        url,
        _PROTOCOLS.get(app_protocol, "HTTP1"),
    )
