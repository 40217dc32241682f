"""Where a tunnel leads: an agent, a Service of the cluster, or a URL; and what takes over. Part of Tunnel.

Which addresses exit nodes dial is decided elsewhere (hawse_api.addresses for the operator, the edge for names): here is
only what can be said of the text.
"""

import re
from enum import StrEnum
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from hawse_api.v1alpha1.meta import DNS_1035, Duration, LocalRef, between
from hawse_api.v1alpha1.schema import Choice, Int32, Members, Model, Rule


class TargetType(StrEnum):
    """What a tunnel leads to."""

    AGENT = "Agent"
    SERVICE = "Service"
    URL = "URL"


class AppProtocol(StrEnum):
    """What the app speaks."""

    HTTP1 = "HTTP1"
    H2C = "H2C"


class AgentTarget(Model):
    """An agent, on a laptop or anywhere."""

    token_ref: LocalRef
    """The AgentToken of the same namespace whose agents may serve this tunnel. Which local port they lead to is their
    user's choice."""


_PORT_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


def _is_port(port: int | str) -> bool:
    if isinstance(port, int):
        return 1 <= port <= 65535
    return len(port) <= 15 and re.fullmatch(_PORT_NAME[1:-1], port) is not None


class ServiceTarget(Model):
    """A Service of the Tunnel's own namespace."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_1035)]
    """Name of the Service; it needs a ClusterIP."""
    port: Annotated[
        int | str,
        Rule(
            cel=f"type(self) == int ? self >= 1 && self <= 65535 : self.size() <= 15 && self.matches('{_PORT_NAME}')",
            message="must be a port number or the name of a port of the Service",
            holds=_is_port,
        ),
    ]
    """One of its ports: the number, or the name."""


_HOST = r"(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)"
_PORT = r"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
URL = rf"^(?:https?://{_HOST}(?::{_PORT})?|tcp://{_HOST}:{_PORT})$"
TCP_SCHEME = "tcp"


class Url(NamedTuple):
    """A URL taken apart."""

    scheme: str
    host: str
    """A name or an address; an IPv6 address without its brackets."""
    port: int


def split_url(url: str) -> Url:
    """Take a URL apart that has passed its pattern."""
    scheme, _, rest = url.partition("://")
    host, port = rest, ""
    if colon := re.search(r":([0-9]+)$", re.sub(r"^\[.*\]", "", rest)):
        port = colon[1]
        host = rest[: -len(port) - 1]
    return Url(scheme, host.strip("[]"), int(port or (443 if scheme == "https" else 80)))


class Target(Choice):
    """Where a tunnel leads."""

    choices: ClassVar[Members] = {TargetType.AGENT: "agent", TargetType.SERVICE: "service", TargetType.URL: "url"}

    type: TargetType
    """Agent: whoever enrolled with an AgentToken. Service: a Service of this namespace. URL: an app that exit nodes
    reach over the network."""
    agent: AgentTarget | None = None
    """Which agents."""
    service: ServiceTarget | None = None
    """Which Service. The app sees the public host name."""
    url: (
        Annotated[
            str,
            Field(max_length=300),
            Rule(
                cel=f"self.matches(r'{URL}')",
                message="must be http:// or https://, a host in lower case, and a port if need be (tcp://host:port for "
                "protocol TCP): no path, no user",
                holds=lambda url: re.fullmatch(URL[1:-1], url) is not None,
            ),
        ]
        | None
    ) = None
    """`https://eu.example.com`. Exit nodes look the host up themselves and dial no address that only the cluster
    reaches (Fleet.spec.targets). https is verified against the web's certificate authorities. The app sees the URL's
    host as Host and the public one as X-Forwarded-Host; redirects go to the visitor as they are. For a Tunnel with
    protocol TCP: `tcp://db.example.com:5432`."""
    app_protocol: AppProtocol = AppProtocol.HTTP1
    """What the app speaks: HTTP1 (WebSocket too), or H2C (HTTP/2, as gRPC servers do; without TLS unless url is
    https). Left alone in a Tunnel with protocol TCP."""


Threshold = Annotated[Int32, Field(ge=1, le=10)]


class HealthCheck(Model):
    """How each exit node finds out whether the target answers: a GET on the way that requests take.

    Of a Tunnel with protocol TCP it is a connection.
    """

    path: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^/[!-~]*$")] = "/"
    """What is asked for. Any status below 500 is healthy."""
    interval: Annotated[Duration, between("500ms", "5m")] = "2s"
    """From check to check; a tenth more or less, so that tunnels are not checked all at once."""
    timeout: Annotated[Duration, between("100ms", "30s")] = "1s"
    """For the head of the answer and its body."""
    unhealthy_threshold: Threshold = 2
    """Failed checks in a row until the standby answers. A connection that is refused or lost counts for all of them."""
    healthy_threshold: Threshold = 2
    """Passed checks in a row until the target counts as healthy again."""


class Failback(Model):
    """When requests go back to the target."""

    after: Annotated[Duration, between("0s", "24h")] = "30s"
    """For so long it has to have been healthy again, without a failed check."""


class Standby(Model):
    """A second target that answers while the first does not. Each exit node decides alone, without the operator."""

    target: Target
    """Where it leads. Agents need an AgentToken of their own."""
    health_check: HealthCheck = HealthCheck()
    """How the first target is watched."""
    failback: Failback = Failback()
    """When requests go back to the first target."""


def token_of(target: Target) -> str | None:
    """The AgentToken that a target names."""
    return target.agent.token_ref.name if target.agent else None
