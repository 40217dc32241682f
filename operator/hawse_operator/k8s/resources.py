"""Which resources the operator touches, and where they live in the API.

Only data. Called by client, handlers and reconcile.
"""

from dataclasses import dataclass

from hawse_api import names


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object of the API server."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """As in `apiVersion:`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of an object, or of the collection when `name` is empty."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = f"/{name}" if name else ""
        return f"{root}{scope}/{self.plural}{tail}{f'/{subresource}' if subresource else ''}"


def _hawse(plural: str, kind: str, *, namespaced: bool) -> Resource:
    return Resource(names.GROUP, names.VERSION, plural, kind, namespaced)


TUNNELS = _hawse("tunnels", "Tunnel", namespaced=True)
EXIT_NODES = _hawse("exitnodes", "ExitNode", namespaced=False)
FLEETS = _hawse("fleets", "Fleet", namespaced=False)
RESERVATIONS = _hawse("subdomainreservations", "SubdomainReservation", namespaced=False)
AGENT_TOKENS = _hawse("agenttokens", "AgentToken", namespaced=True)
AGENT_SESSIONS = _hawse("agentsessions", "AgentSession", namespaced=True)
ACCESS_POLICIES = _hawse("accesspolicies", "AccessPolicy", namespaced=True)
HAWSE = (FLEETS, EXIT_NODES, RESERVATIONS, AGENT_TOKENS, ACCESS_POLICIES, TUNNELS, AGENT_SESSIONS)
"""Our kinds, in the order in which a new leader reconciles them."""

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod", namespaced=True)
SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
SERVICES = Resource("", "v1", "services", "Service", namespaced=True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", namespaced=True)
DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", namespaced=True)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event", namespaced=True)
TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)

NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", namespaced=True)
DNS_ENDPOINTS = Resource("externaldns.k8s.io", "v1alpha1", "dnsendpoints", "DNSEndpoint", namespaced=True)

CHILDREN = (DEPLOYMENTS, PODS, SERVICES, CONFIG_MAPS, AUTOSCALERS, DISRUPTION_BUDGETS, NETWORK_POLICIES)
"""What the operator makes in its own namespace, and may watch there; by label."""
STATUS_UNREAD = (AUTOSCALERS, DISRUPTION_BUDGETS)
"""Children whose controllers write a status that nobody here reads, the autoscaler's several times a minute."""
CACHED = (*HAWSE, NAMESPACES, *CHILDREN)
"""Everything the cache holds."""
