"""Settings of the operator process, read once from environment and flags.

Every setting is a field with its unit and the reason of its default. Reads no file and no cluster. Called by
__main__; everything else gets the values as arguments.
"""

import ipaddress
from collections.abc import Mapping

import pydantic

from hawse_api import names
from hawse_operator import errors

LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class Settings(pydantic.BaseModel):
    """What the process was told."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    pod_name: str = pydantic.Field(min_length=1, max_length=253)
    """Own pod; also the identity in the Lease, so it must differ between replicas."""
    pod_namespace: str = pydantic.Field(pattern=LABEL, max_length=63)
    """Namespace of the operator: its Lease, Secrets and exit nodes live here."""
    pod_ip: str
    """The only address that ports are bound to."""
    exitnode_image: str = "hawse/exitnode"
    """Image of the exit nodes' Deployments."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces whose Tunnels are served; empty: all."""
    resolvers: tuple[str, ...] = ()
    """Name servers that prove host names of tenants' own domains ("192.0.2.53:53"); empty: the system's. Better public
    ones than a resolver that knows names of this network."""
    network_policies: bool = False
    """Whether the chart's NetworkPolicies select the exit nodes' pods: ports of TCP tunnels need one of their own
    then."""
    log_level: str = pydantic.Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """Least level that is logged."""
    admin_port: int = pydantic.Field(default=names.PORT_ADMIN, ge=0, le=65535)
    """Probes and metrics; 0 picks a free one (tests)."""
    enrol_port: int = pydantic.Field(default=names.PORT_ENROL, ge=0, le=65535)
    """Exit nodes without a certificate."""
    control_port: int = pydantic.Field(default=names.PORT_CONTROL, ge=0, le=65535)
    """Exit nodes with a certificate."""
    workers: int = pydantic.Field(default=16, ge=1, le=64)
    """Reconciles at the same time. 16 keeps a local API server busy without crowding out other clients' requests."""
    resync_s: float = pydantic.Field(default=300.0, ge=1.0)
    """Everything is listed and reconciled again this often, in seconds: heals what a lost watch event would have
    hidden."""
    lease_duration_s: float = pydantic.Field(default=15.0, ge=3.0, le=60.0)
    """How long a silent leader is believed, in seconds; client-go's default."""
    secret_poll_s: float = pydantic.Field(default=60.0, ge=1.0)
    """Named Secrets are read again this often, in seconds (design 0002, 3: no watch of all Secrets)."""

    certificate_lifetime_s: float = pydantic.Field(default=86_400.0, ge=20.0, le=30 * 86_400.0)
    """Life of the certificates of exit nodes and agents, in seconds, and of each step of a rotation of their CA."""
    dns_poll_s: float = pydantic.Field(default=30.0, ge=1.0)
    """Zones are compared with what they should hold this often, in seconds: a record that somebody removed comes
    back."""

    @pydantic.field_validator("resolvers")
    @classmethod
    def _servers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            parse_server(server)
        return value

    @pydantic.field_validator("pod_ip")
    @classmethod
    def _an_address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value))


FROM_ENVIRONMENT = {
    "POD_NAME": "pod_name",
    "POD_NAMESPACE": "pod_namespace",
    "POD_IP": "pod_ip",
    "HAWSE_EXITNODE_IMAGE": "exitnode_image",
    "HAWSE_WATCH_NAMESPACES": "watch_namespaces",
    "HAWSE_RESOLVERS": "resolvers",
    "HAWSE_NETWORK_POLICIES": "network_policies",
    "HAWSE_LOG_LEVEL": "log_level",
    "HAWSE_ADMIN_PORT": "admin_port",
    "HAWSE_ENROL_PORT": "enrol_port",
    "HAWSE_CONTROL_PORT": "control_port",
    "HAWSE_WORKERS": "workers",
    "HAWSE_RESYNC_SECONDS": "resync_s",
    "HAWSE_LEASE_SECONDS": "lease_duration_s",
    "HAWSE_SECRET_POLL_SECONDS": "secret_poll_s",
    "HAWSE_CERTIFICATE_SECONDS": "certificate_lifetime_s",
    "HAWSE_DNS_POLL_SECONDS": "dns_poll_s",
}
"""Variable -> field. Variables that the operator does not know are none of its business (Kubernetes sets many)."""
LISTS = frozenset({"watch_namespaces", "resolvers"})
"""Fields whose variable is a list with commas."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment; all mistakes in one SettingsError, each naming its variable."""
    values: dict[str, object] = {}
    for variable, field in FROM_ENVIRONMENT.items():
        if text := environment.get(variable, "").strip():
            values[field] = tuple(part.strip() for part in text.split(",") if part.strip()) if field in LISTS else text
    try:
        return Settings.model_validate(values)
    except pydantic.ValidationError as exc:
        raise errors.SettingsError("\n".join(_explain(error) for error in exc.errors())) from None


def parse_server(server: str) -> tuple[str, int]:
    """Address and port of "192.0.2.53:5353", "[2001:db8::1]:53" or a bare address.

    Raises:
        ValueError: it is none of these.
    """
    try:
        return str(ipaddress.ip_address(server)), 53
    except ValueError:
        address, _, port = server.rpartition(":")
        if not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"{server!r} is not an address with or without a port") from None
        return str(ipaddress.ip_address(address.strip("[]"))), int(port)


def _explain(error: Mapping[str, object]) -> str:
    location = error.get("loc")
    field = str(location[0]) if isinstance(location, tuple) and location else "?"
    variable = next((name for name, value in FROM_ENVIRONMENT.items() if value == field), field)
    if error.get("type") == "missing":
        return f"{variable} is not set. In a pod the chart sets it from the downward API; elsewhere export it."
    return f"{variable} is {error.get('input')!r}: {error.get('msg')}."
