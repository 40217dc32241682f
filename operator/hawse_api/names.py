"""Every literal that more than one room has to agree on: labels, condition types and reasons, ports, error codes.

Nothing here decides anything. Reasons and codes are API: they are never renamed, and docs/conditions.md and
docs/errors/ list them. The Rust side of the error codes is generated from `ERRORS` (`make codegen`).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

GROUP = "hawse.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "hawse"

FIELD_MANAGER = "hawse-operator"
"""Server-side apply: the one owner of everything the operator writes."""

# --- labels, annotations -------------------------------------------------------------------------------------------
LABEL_LEADER = f"{GROUP}/leader"
LABEL_FLEET = f"{GROUP}/fleet"
LABEL_EXIT_NODE = f"{GROUP}/exit-node"
LABEL_REGION = f"{GROUP}/region"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "hawse-operator"
ANNOTATION_REISSUE = f"{GROUP}/reissue"
"""On an AgentToken: any new value makes the operator write a new secret."""
ANNOTATION_PURGE = f"{GROUP}/purge"
"""On a Tunnel: any new value makes its exit nodes forget the answers that they store (traffic.shield)."""
ANNOTATION_ROTATE = f"{GROUP}/rotate"
"""On the Secret with the CA: any new value begins its rotation."""
ANNOTATION_ALLOW_RECREATED = f"{GROUP}/allow-recreated-namespace"
"""On a SubdomainReservation, by an administrator: the UID of the re-created namespace that may take the name back."""

# --- the operator's own objects ------------------------------------------------------------------------------------
OPERATOR_SERVICE = "hawse-operator"
"""Service of the leader; pods find it by HAWSE_OPERATOR_SERVICE_HOST and verify `hawse-operator.<namespace>.svc`."""
PORT_ENROL = 8441
PORT_CONTROL = 8442
CA_SECRET = "hawse-ca"
"""Secret in the operator's namespace: ca.crt and ca.key, PEM."""
CA_CONFIG_MAP = "hawse-ca"
"""ConfigMap in the operator's namespace: ca.crt, PEM, one or two certificates; mounted by exit nodes."""
SESSIONS_SECRET = "hawse-sessions"
"""Secret in the operator's namespace: `root`, from which the keys of visitors' sessions are derived."""
LEASE = "hawse-operator"

# --- exit node pods ------------------------------------------------------------------------------------------------
PORT_HTTPS = 8443
PORT_AGENTS = 7443
PORT_ADMIN = 9090
TOKEN_AUDIENCE = "hawse"

# --- tunnel protocol -----------------------------------------------------------------------------------------------
ALPN_LINK = "hawse/1"
ALPN_ENROL = "hawse-enroll/1"
ALPN_PEER = "hawse-peer/1"
AGENT_ADDRESSES_MAX = 16
"""Exit node addresses in a token's text, an offer, an agent's login."""
PEER_PROTOCOL_MIN = 1
PEER_PROTOCOL_MAX = 1
PROTOCOL_MIN = 1
PROTOCOL_MAX = 1
TOKEN_PREFIX = "hwt1."
APP_PROTOCOL_TCP = "TCP"
"""OfferedTunnel.app_protocol of a TCP tunnel."""
FEATURE_SHIELD = "shield/1"
FEATURE_TCP = "tcp/1"
"""Tunnel.required_features of a TCP tunnel."""
FEATURE_ACCESS = "access/1"
"""Tunnel.required_features of a tunnel with an access policy."""

CUSTOM_TARGET_PREFIX = "c-"
CUSTOM_TARGET_CHARACTERS = 16
"""`c-<16 characters>` under a Fleet's domain: where a CNAME of a host name outside it leads."""
ALWAYS_RESERVED = rf"^(_.*|(tcp|udp)-[0-9]+|connect|{CUSTOM_TARGET_PREFIX}[a-z2-7]{{{CUSTOM_TARGET_CHARACTERS}}})$"
"""Labels that no tenant gets, whatever Fleet.spec.reservedNames says."""


def tcp_label(port: int) -> str:
    """First label of a TCP tunnel's host name: its port names it."""
    return f"tcp-{port}"


def tcp_port_of(hostname: str) -> int | None:
    """The port that a host name stands for; None: it is no TCP tunnel's."""
    found = re.fullmatch(r"tcp-([1-9][0-9]{0,4})", hostname.partition(".")[0])
    return int(found[1]) if found else None


def tcp_url(hostname: str, port: int) -> str:
    """What visitors of a TCP tunnel connect to."""
    return f"tcp://{hostname}:{port}"


class Condition(StrEnum):
    """Types of status conditions, the same on every kind that has them."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    RESERVED = "Reserved"
    PROGRAMMED = "Programmed"
    CERTIFICATE_READY = "CertificateReady"
    TARGET_READY = "TargetReady"
    DNS_READY = "DNSReady"
    WEIGHTS_HONOURED = "WeightsHonoured"
    DISCOVERED = "Discovered"
    ISSUED = "Issued"
    BOUND = "Bound"
    DRAINING = "Draining"
    READY = "Ready"


class Reason(StrEnum):
    """Reasons of conditions and events. A comment names where each is seen."""

    # Accepted
    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    RESERVED_LABEL = "ReservedLabel"
    FLEET_NOT_FOUND = "FleetNotFound"
    FLEET_NOT_READY = "FleetNotReady"
    DOMAIN_OVERLAP = "DomainOverlap"
    SUSPENDED = "Suspended"
    HOSTNAME_IN_FLEET = "HostnameInFleet"
    HOSTNAME_NOT_VERIFIED = "HostnameNotVerified"
    NO_TCP_PORTS = "NoTCPPorts"
    PORT_NOT_ALLOWED = "PortNotAllowed"
    # ResolvedRefs
    RESOLVED = "Resolved"
    TOKEN_NOT_FOUND = "TokenNotFound"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    TARGET_NOT_ALLOWED = "TargetNotAllowed"
    CERTIFICATE_NOT_FOUND = "CertificateNotFound"
    REGION_NOT_FOUND = "RegionNotFound"
    ACCESS_POLICY_NOT_FOUND = "AccessPolicyNotFound"
    ACCESS_POLICY_NOT_ALLOWED = "AccessPolicyNotAllowed"
    ACCESS_POLICY_NOT_READY = "AccessPolicyNotReady"
    ACCESS_NOT_CHECKED = "AccessNotChecked"
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_UNREADABLE = "SecretUnreadable"
    KEYS_NOT_FETCHED = "KeysNotFetched"
    # Reserved
    RESERVED = "Reserved"
    NAME_TAKEN = "NameTaken"
    TOMBSTONE = "Tombstone"
    NAMESPACE_RECREATED = "NamespaceRecreated"
    QUOTA_EXCEEDED = "QuotaExceeded"
    NO_PORT_LEFT = "NoPortLeft"
    # Programmed
    PROGRAMMED = "Programmed"
    PENDING = "Pending"
    NO_EXIT_NODE = "NoExitNode"
    REFUSED_BY_EXIT_NODE = "RefusedByExitNode"
    # CertificateReady
    ISSUED = "Issued"
    NOT_NEEDED = "NotNeeded"
    # TargetReady
    AGENT_CONNECTED = "AgentConnected"
    NO_AGENT = "NoAgent"
    DIALLED = "Dialled"
    FAILED_OVER = "FailedOver"
    FAILED_BACK = "FailedBack"
    # DNSReady
    PUBLISHED = "Published"
    NOT_MANAGED = "NotManaged"
    KEY_NOT_FOUND = "KeyNotFound"
    KEY_REFUSED = "KeyRefused"
    SERVER_UNREACHABLE = "ServerUnreachable"
    REFUSED_BY_SERVER = "RefusedByServer"
    FOREIGN_RECORD = "ForeignRecord"
    NO_ADDRESS = "NoAddress"
    # WeightsHonoured
    BY_SERVER = "ByServer"
    PROVIDER_LACKS_WEIGHTS = "ProviderLacksWeights"
    DEPENDS_ON_PROVIDER = "DependsOnProvider"
    # Discovered
    DISCOVERED = "Discovered"
    PROVIDER_UNREACHABLE = "ProviderUnreachable"
    PROVIDER_NOT_USABLE = "ProviderNotUsable"
    # AgentToken
    EXPIRED = "Expired"
    SECRET_IN_USE = "SecretInUse"
    USED_UP = "UsedUp"
    # SubdomainReservation
    BOUND = "Bound"
    RELEASED = "Released"
    # ExitNode
    AVAILABLE = "Available"
    PARTLY_AVAILABLE = "PartlyAvailable"
    UNAVAILABLE = "Unavailable"
    FOREIGN_EDITS = "ForeignEdits"
    # Draining
    ASKED = "Asked"
    PODS_STOPPING = "PodsStopping"
    NOT_DRAINING = "NotDraining"
    # any Ready
    READY = "Ready"


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One stable code. `title` is a sentence of what happened; docs/errors/<code>.md has the whole page."""

    code: str
    name: str
    status: int
    """HTTP status at the edge; 0 = never sent to a visitor."""
    title: str

    @property
    def number(self) -> int:
        """The digits, also used as QUIC application error code."""
        return int(self.code.removeprefix("HAWSE-"))


def _code(number: int, name: str, status: int, title: str) -> ErrorCode:
    return ErrorCode(f"HAWSE-{number}", name, status, title)


ERRORS: tuple[ErrorCode, ...] = (
    # 1xxx: the edge answers a visitor
    _code(1001, "NO_SUCH_TUNNEL", 404, "There is no tunnel at this address."),
    _code(1002, "NO_AGENT", 503, "No agent is connected for this tunnel."),
    _code(1003, "APP_REFUSED", 502, "The tunnel works, but the app on the developer's side refused the connection."),
    _code(1004, "APP_TIMED_OUT", 504, "The app accepted the request and did not answer in time."),
    _code(1005, "APP_CLOSED", 502, "The app closed the connection before it had answered."),
    _code(1006, "BAD_REQUEST", 400, "The request is not valid HTTP."),
    _code(1007, "HEADERS_TOO_LARGE", 431, "The head of the request is too large."),
    _code(1008, "TUNNEL_CLOSED", 503, "This tunnel is closed."),
    _code(1009, "BODY_TOO_SLOW", 408, "The body of the request arrives too slowly."),
    _code(1010, "OVERLOADED", 503, "This exit node has no room for another request."),
    _code(1011, "CODING_NOT_SUPPORTED", 501, "The transfer coding of the request is not supported."),
    _code(1012, "MISDIRECTED", 421, "This connection was made for another host name."),
    _code(1013, "AGENT_LOST", 502, "The agent was lost while it carried this request."),
    _code(1014, "APP_INVALID", 502, "The app's answer is not valid HTTP."),
    _code(1015, "METHOD_NOT_SUPPORTED", 405, "CONNECT is not served here."),
    _code(1016, "TARGET_NOT_ALLOWED", 502, "The tunnel leads to an address that is not allowed."),
    _code(1017, "CONFIGURATION_TOO_OLD", 503, "This exit node has been without its operator for too long."),
    _code(1018, "UNAUTHENTICATED", 401, "This tunnel lets in only visitors who prove who they are."),
    _code(1019, "FORBIDDEN", 403, "This tunnel does not let you in."),
    _code(1020, "ACCESS_UNAVAILABLE", 503, "Who may use this tunnel cannot be checked at the moment."),
    _code(1021, "SIGN_IN_FAILED", 400, "This sign-in cannot be completed."),
    _code(1022, "PROVIDER_FAILED", 502, "The identity provider did not answer as it should."),
    # 2xxx: the agent and its sessions
    _code(2001, "NO_EXIT_NODE", 0, "No exit node could be reached."),
    _code(2002, "VERSION_MISMATCH", 0, "Agent and exit node speak no common version of the protocol."),
    _code(2003, "REVOKED", 0, "The AgentToken was deleted: its agents are cut off."),
    _code(2004, "NO_TUNNEL", 0, "No Tunnel names this token."),
    _code(2005, "SEVERAL_TUNNELS", 0, "Several Tunnels name this token."),
    _code(2006, "APP_NOT_LISTENING", 0, "Nothing listens where the tunnel leads."),
    _code(2007, "SUPERSEDED", 0, "Another session of the same agent took this one's place."),
    _code(2008, "NOT_LOGGED_IN", 0, "There is no login on this machine."),
    _code(2009, "BAD_FRAME", 0, "The peer sent something that is not a frame of this protocol."),
    _code(2010, "NOT_ALLOWED", 0, "This token may not serve that tunnel."),
    _code(2011, "EXIT_NODE_UNTRUSTED", 0, "The exit node could not prove who it is."),
    _code(2012, "CONFIG_UNREADABLE", 0, "A file of the agent cannot be read."),
    _code(2013, "PORT_IN_USE", 0, "The address is in use already."),
    _code(2014, "CERTIFICATE_EXPIRED", 0, "The agent's certificate has expired."),
    _code(2015, "DRAINING", 0, "The exit node is stopping."),
    _code(2016, "CERTIFICATE_REFUSED", 0, "The exit node does not accept the agent's certificate."),
    # 3xxx: enrolment
    _code(3001, "TOKEN_MALFORMED", 0, "This is not the text of a token."),
    _code(3002, "TOKEN_WRONG", 0, "The token is not known or its secret is wrong."),
    _code(3003, "TOKEN_REVOKED", 0, "The token was deleted."),
    _code(3004, "TOKEN_EXPIRED", 0, "The token has expired."),
    _code(3005, "TOKEN_USED_UP", 0, "The token was good for one agent and is used up."),
    _code(3006, "TOO_MANY_AGENTS", 0, "The token's maximum of agents is reached."),
    _code(3007, "CLOCK_SKEW", 0, "The clocks of agent and exit node differ too much."),
    _code(3008, "TOO_MANY_ATTEMPTS", 0, "Too many attempts to enrol."),
    _code(3009, "OPERATOR_AWAY", 0, "The exit node cannot reach the operator."),
    _code(3010, "EXIT_NODE_REFUSED", 0, "The operator does not accept this exit node."),
    _code(3011, "BAD_CSR", 0, "The certificate request is not acceptable."),
)
BY_NAME = {error.name: error for error in ERRORS}
BY_CODE = {error.code: error for error in ERRORS}
