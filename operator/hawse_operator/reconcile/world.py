"""The cache read as our own kinds: parsed, indexed, with what exit nodes and agents report beside it.

Everything a reconciler gathers comes from here, without awaiting; Secrets are the exception, they are read when
needed. Parsed objects are kept per resourceVersion. Called by the reconcilers, the books and intake.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any, TypeVar

from hawse_api import names, v1alpha1
from hawse_operator.control.hub import Hub, SessionView
from hawse_operator.dns import weights
from hawse_operator.dns.records import IpAddress
from hawse_operator.k8s import resources
from hawse_operator.manifests import metadata, services
from hawse_operator.policies import access, exitnodes, facts, hosts
from hawse_operator.policies import fleets as fleet_policies
from hawse_operator.reconcile.cache import Cache, IndexFn, Key, version_of

Kind = TypeVar("Kind", bound=v1alpha1.Resource)
SILENT_AFTER = timedelta(seconds=30)
"""A pod that has not been heard of for so long is left out of Programmed."""


def _spec(body: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = body.get("spec")
    return spec if isinstance(spec, dict) else {}


def _at(body: Mapping[str, Any], *path: str) -> str:
    found: Any = body
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def _namespace(body: Mapping[str, Any]) -> str:
    return _at(body, "metadata", "namespace")


def _namespace_uid(reservation: Mapping[str, Any]) -> str:
    return _at(_spec(reservation), "claimRef", "namespaceUID")


def _owner_of_name(reservation: Mapping[str, Any]) -> str:
    """The namespace that a name belongs to, as what it was when it got it."""
    return f"{_at(_spec(reservation), 'claimRef', 'namespace')}/{_namespace_uid(reservation)}"


def _label(name: str) -> IndexFn:
    return lambda body: [value] if (value := str((body["metadata"].get("labels") or {}).get(name, ""))) else []


def _host_index(body: Mapping[str, Any]) -> str:
    """`<fleet>/<first label>`, or a host name of somebody's own domain."""
    spec = _spec(body)
    port = _asked_port(spec)
    label = names.tcp_label(port) if port else _at(spec, "host", "subdomain")
    return _at(spec, "host", "hostname") or f"{_at(spec, 'fleetName')}/{label}"


def _asked_port(tunnel_spec: Mapping[str, Any]) -> int | None:
    port = tunnel_spec.get("port")
    return port if isinstance(port, int) else None


TUNNEL_TOKENS = (("target", "agent", "tokenRef", "name"), ("standby", "target", "agent", "tokenRef", "name"))


def tokens_named(tunnel: Mapping[str, Any]) -> list[str]:
    """AgentTokens that the targets of a Tunnel name, also of an invalid one."""
    return [token for path in TUNNEL_TOKENS if (token := _at(_spec(tunnel), *path))]


def policies_named(tunnel: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Namespace and name of the AccessPolicy that a Tunnel names, also an invalid one."""
    name = _at(_spec(tunnel), "access", "policyRef", "name")
    return [(_at(_spec(tunnel), "access", "policyRef", "namespace") or _namespace(tunnel), name)] if name else []


def default_policies(fleet: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Namespace and name of the AccessPolicy that a Fleet names."""
    ref = ("accessDefaults", "policyRef")
    namespace, name = (_at(_spec(fleet), *ref, part) for part in ("namespace", "name"))
    return [(namespace, name)] if namespace and name else []


INDEXES: dict[str, dict[str, IndexFn]] = {
    resources.TUNNELS.plural: {
        "uid": lambda body: [_at(body, "metadata", "uid")],
        "namespace": lambda body: [_namespace(body)],
        "fleet": lambda body: [_at(_spec(body), "fleetName")],
        "placed": lambda body: [_at(_spec(body), "fleetName")] if _spec(body).get("placement") else [],
        "host": lambda body: [_host_index(body)],
        "token": lambda body: [f"{_namespace(body)}/{token}" for token in tokens_named(body)],
        "access": lambda body: [f"{namespace}/{name}" for namespace, name in policies_named(body)],
        "token_fleet": lambda body: [
            f"{_namespace(body)}/{token}/{_at(_spec(body), 'fleetName')}" for token in tokens_named(body)
        ],
    },
    resources.AGENT_TOKENS.plural: {
        "uid": lambda body: [_at(body, "metadata", "uid")],
        "namespace": lambda body: [_namespace(body)],
    },
    resources.ACCESS_POLICIES.plural: {"uid": lambda body: [_at(body, "metadata", "uid")]},
    resources.RESERVATIONS.plural: {
        "namespace": lambda body: [_at(_spec(body), "claimRef", "namespace")],
        "owner": lambda body: [_owner_of_name(body)],
        "holder": lambda body: [] if "releasedAt" in _spec(body) else [_owner_of_name(body)],
        "tunnel": lambda body: [f"{_at(_spec(body), 'claimRef', 'namespace')}/{_at(_spec(body), 'claimRef', 'name')}"],
    },
    resources.AGENT_SESSIONS.plural: {"token": lambda body: [f"{_namespace(body)}/{_at(_spec(body), 'tokenName')}"]},
    resources.FLEETS.plural: {
        "access": lambda body: [f"{namespace}/{name}" for namespace, name in default_policies(body)]
    },
    resources.EXIT_NODES.plural: {"fleet": lambda body: [_at(_spec(body), "fleetName")]},
    resources.PODS.plural: {"exit_node": _label(names.LABEL_EXIT_NODE), "fleet": _label(names.LABEL_FLEET)},
    resources.DEPLOYMENTS.plural: {"exit_node": _label(names.LABEL_EXIT_NODE)},
    resources.SERVICES.plural: {"exit_node": _label(names.LABEL_EXIT_NODE)},
    resources.NETWORK_POLICIES.plural: {"exit_node": _label(names.LABEL_EXIT_NODE)},
    resources.AUTOSCALERS.plural: {"exit_node": _label(names.LABEL_EXIT_NODE)},
    resources.DISRUPTION_BUDGETS.plural: {"exit_node": _label(names.LABEL_EXIT_NODE)},
}


BEHIND_DNS = (resources.EXIT_NODES, resources.DEPLOYMENTS, resources.PODS, resources.SERVICES)
"""What an ExitNode as DNS sees it is made of."""


def _count(members: Set[Key], more: Set[Key], without: Key) -> int:
    """Size of the union without one: costs as much as `more`, not as `members`, which may be thousands."""
    return len(members) + len(more - members) - (without in members or without in more)


def _default_of(fleet: v1alpha1.Fleet) -> list[tuple[str, str]]:
    defaults = fleet.spec.access_defaults
    return [(defaults.policy_ref.namespace, defaults.policy_ref.name)] if defaults else []


class World:
    """Typed, read-only view of cache and hub."""

    def __init__(self, cache: Cache, hub: Hub, clock: Callable[[], datetime]) -> None:
        self.cache = cache
        self.hub = hub
        self.clock = clock
        self._parsed: dict[Key, tuple[int, v1alpha1.Resource | v1alpha1.ObjectInvalid]] = {}
        self._good_fleets: dict[str, v1alpha1.Fleet] = {}
        self._fleet_revision = -1
        self._told_addresses: dict[str, dict[str, int]] = {}
        self._dns_nodes: dict[str, tuple[tuple[int, ...], v1alpha1.Fleet, tuple[weights.Node, ...]]] = {}
        self._resolved: dict[str, Mapping[str, tuple[IpAddress, ...]]] = {}
        self._resolved_revision = 0
        self._sessions_are_stale = True
        self._by_tunnel: dict[str, set[str]] = {}
        self._by_agent: dict[tuple[str, str], list[SessionView]] = {}
        self._by_token: dict[str, set[str]] = {}

    # --- our kinds ---------------------------------------------------------------------------------------------------
    def parse(self, kind: type[Kind], key: Key, body: Mapping[str, Any]) -> Kind:
        """The object as its model; raises ObjectInvalid."""
        version = version_of(body)
        known = self._parsed.get(key)
        if known is None or known[0] != version:
            try:
                found: v1alpha1.Resource | v1alpha1.ObjectInvalid = kind.from_object(body)
            except v1alpha1.ObjectInvalid as exc:
                found = exc
            self._parsed[key] = known = (version, found)
        if isinstance(known[1], kind):
            return known[1]
        if isinstance(known[1], v1alpha1.ObjectInvalid):
            raise known[1]
        raise TypeError(f"{key} was read as another kind")

    def forget(self, key: Key) -> None:
        """Drop what was kept of a deleted object."""
        self._parsed.pop(key, None)

    def find(self, kind: type[Kind], resource: resources.Resource, namespace: str, name: str) -> Kind | None:
        """A valid object by name, or None."""
        key = Key(resource.plural, namespace, name)
        body = self.cache[resource].get(key)
        if body is None:
            return None
        try:
            return self.parse(kind, key, body)
        except v1alpha1.ObjectInvalid:
            return None

    def _valid(self, kind: type[Kind], resource: resources.Resource, bodies: Sequence[Mapping[str, Any]]) -> list[Kind]:
        found = (self.find(kind, resource, _namespace(body), body["metadata"]["name"]) for body in bodies)
        return [item for item in found if item is not None]

    def token(self, namespace: str, name: str) -> v1alpha1.AgentToken | None:
        """An AgentToken."""
        return self.find(v1alpha1.AgentToken, resources.AGENT_TOKENS, namespace, name)

    def token_by_uid(self, uid: str) -> v1alpha1.AgentToken | None:
        """An AgentToken by its UID, which is also its token id."""
        bodies = self.cache[resources.AGENT_TOKENS].select("uid", uid)
        return next(iter(self._valid(v1alpha1.AgentToken, resources.AGENT_TOKENS, bodies)), None)

    def access_policy(self, namespace: str, name: str) -> v1alpha1.AccessPolicy | None:
        """An AccessPolicy."""
        return self.find(v1alpha1.AccessPolicy, resources.ACCESS_POLICIES, namespace, name)

    def fleets_of_policy(self, policy: v1alpha1.AccessPolicy) -> set[str]:
        """Fleets that name a policy, and those of the Tunnels that name it and may."""
        found = {name for name, fleet in self.fleets().items() if (policy.namespace, policy.name) in _default_of(fleet)}
        for body in self.cache[resources.TUNNELS].select("access", f"{policy.namespace}/{policy.name}"):
            fleet, namespace = self.fleets().get(_at(_spec(body), "fleetName")), self.namespace(_namespace(body))
            if fleet is None or namespace is None or not fleet.spec.allowed_namespaces.allows(dict(namespace.labels)):
                continue
            if access.allows(policy, namespace.name, namespace.labels):
                found.add(fleet.name)
        return found

    def tunnel(self, namespace: str, name: str) -> v1alpha1.Tunnel | None:
        """A Tunnel."""
        return self.find(v1alpha1.Tunnel, resources.TUNNELS, namespace, name)

    def named(self, namespace: str, name: str) -> hosts.Named | None:
        """How a Tunnel names its host, also an invalid one; None: there is no such Tunnel."""
        body = self.cache[resources.TUNNELS].get(Key(resources.TUNNELS.plural, namespace, name))
        if body is None:
            return None
        spec = _spec(body)
        fleet = _at(spec, "fleetName")
        if _at(spec, "protocol") == v1alpha1.Protocol.TCP:
            return hosts.Named(name, fleet, hosts.PORT, port=_asked_port(spec))
        type_, subdomain, hostname = (_at(spec, "host", field) for field in ("type", "subdomain", "hostname"))
        return hosts.Named(name, fleet, type_, subdomain, hostname)

    def placed_tunnels(self, fleet: str) -> list[v1alpha1.Tunnel]:
        """Tunnels of a fleet that say where they want to be served."""
        bodies = self.cache[resources.TUNNELS].select("placed", fleet)
        return self._valid(v1alpha1.Tunnel, resources.TUNNELS, bodies)

    def reservation(self, hostname: str) -> v1alpha1.SubdomainReservation | None:
        """The reservation of a name."""
        return self.find(v1alpha1.SubdomainReservation, resources.RESERVATIONS, "", hostname)

    def names_kept_for(self, namespace: str, namespace_uid: str, tunnel: str) -> list[str]:
        """Names that a Tunnel of this name holds, or held last."""
        found = self.cache[resources.RESERVATIONS].select("tunnel", f"{namespace}/{tunnel}")
        return [body["metadata"]["name"] for body in found if _namespace_uid(body) == namespace_uid]

    def reservations_of(self, namespace: str, namespace_uid: str, tunnel: str) -> list[v1alpha1.SubdomainReservation]:
        """The same as objects."""
        kept = self.names_kept_for(namespace, namespace_uid, tunnel)
        return [found for name in kept if (found := self.reservation(name)) is not None]

    def names_of(
        self, namespace: str, namespace_uid: str, *, besides: str, under_way: Set[str] = frozenset()
    ) -> tuple[int, int]:
        """How many names a namespace holds, and how many it holds or has kept for it, one of them not counted.

        `under_way` are being claimed just now.
        """
        store, owner = self.cache[resources.RESERVATIONS], f"{namespace}/{namespace_uid}"
        claimed = {Key(resources.RESERVATIONS.plural, "", hostname) for hostname in under_way}
        own = Key(resources.RESERVATIONS.plural, "", besides)
        held, kept = (_count(store.members(index, owner), claimed, own) for index in ("holder", "owner"))
        return held, kept

    def exit_nodes(self, fleet: str) -> list[v1alpha1.ExitNode]:
        """ExitNodes of a fleet."""
        bodies = self.cache[resources.EXIT_NODES].select("fleet", fleet)
        return self._valid(v1alpha1.ExitNode, resources.EXIT_NODES, bodies)

    def exit_node(self, name: str) -> v1alpha1.ExitNode | None:
        """An ExitNode."""
        return self.find(v1alpha1.ExitNode, resources.EXIT_NODES, "", name)

    def namespace(self, name: str) -> facts.Namespace | None:
        """A namespace."""
        body = self.cache[resources.NAMESPACES].get(Key(resources.NAMESPACES.plural, "", name))
        return facts.read_namespace(body) if body is not None else None

    # --- fleets ------------------------------------------------------------------------------------------------------
    def fleets(self) -> Mapping[str, v1alpha1.Fleet]:
        """Accepted Fleets by name, each in its last good form: a bad edit changes nothing for tunnels."""
        store = self.cache[resources.FLEETS]
        if store.revision != self._fleet_revision:
            valid = self._valid(v1alpha1.Fleet, resources.FLEETS, store.bodies())
            for fleet in valid:
                if not fleet_policies.violations_of_fleet(self.fleet_input(fleet)):
                    self._good_fleets[fleet.name] = fleet
            existing = {key.name for key in store.names()}
            self._good_fleets = {name: fleet for name, fleet in self._good_fleets.items() if name in existing}
            self._fleet_revision = store.revision
        return self._good_fleets

    def fleet_input(self, fleet: v1alpha1.Fleet) -> fleet_policies.FleetInput:
        """A Fleet among the others."""
        every = self._valid(v1alpha1.Fleet, resources.FLEETS, self.cache[resources.FLEETS].bodies())
        return fleet_policies.FleetInput(fleet, tuple(other for other in every if other.name != fleet.name))

    def fleet_names(self) -> tuple[str, ...]:
        """All Fleets, accepted or not."""
        return tuple(key.name for key in self.cache[resources.FLEETS].names())

    def fleet_of_token(self, token: v1alpha1.AgentToken) -> v1alpha1.Fleet | None:
        """The Fleet that a token's text leads to."""
        store, owner = self.cache[resources.TUNNELS], f"{token.namespace}/{token.name}"
        wanted = [name for name in self.fleets() if store.members("token_fleet", f"{owner}/{name}")]
        return fleet_policies.fleet_of_token(wanted, list(self.fleets().values()))

    def fleets_open_to(self, namespace: str) -> list[v1alpha1.Fleet]:
        """Fleets that let a namespace in."""
        found = self.namespace(namespace)
        labels = dict(found.labels) if found else {}
        return [fleet for fleet in self.fleets().values() if found and fleet.spec.allowed_namespaces.allows(labels)]

    # --- pods, addresses ---------------------------------------------------------------------------------------------
    def pods_of(self, exit_node: str) -> list[facts.Pod]:
        """Pods of an ExitNode."""
        return [facts.read_pod(body) for body in self.cache[resources.PODS].select("exit_node", exit_node)]

    def addresses(self, exit_node: v1alpha1.ExitNode) -> tuple[str, ...]:
        """Where an ExitNode is reached now, without ports."""
        return exitnodes.addresses_of(
            exit_node, self.pods_of(exit_node.name), self._addresses_of_service(exit_node.name)
        )

    def ip_addresses(self, exit_node: v1alpha1.ExitNode) -> tuple[IpAddress, ...]:
        """The same in numbers: names of load balancers count as what was last found of them."""
        return exitnodes.ip_addresses(self.addresses(exit_node), self._resolved.get(exit_node.spec.fleet_name, {}))

    def put_resolved(self, fleet: str, found: Mapping[str, tuple[IpAddress, ...]]) -> bool:
        """What names of a fleet's load balancers lead to now; whether that is something else than before."""
        if self._resolved.get(fleet, {}) == found:
            return False
        self._resolved[fleet] = found
        self._resolved_revision += 1
        return True

    def _addresses_of_service(self, exit_node: str) -> tuple[str, ...]:
        found = self.cache[resources.SERVICES].select("exit_node", exit_node)
        return services.addresses_of_service(found[0] if found else None)

    def desired_replicas(self, exit_node: v1alpha1.ExitNode) -> int:
        """How many pods an ExitNode should have."""
        name = metadata.child_name(exit_node.name, exit_node.uid)  # not that of an earlier one of its name
        found = self.cache[resources.DEPLOYMENTS].select("exit_node", exit_node.name)
        chosen = next((_spec(body).get("replicas") for body in found if body["metadata"]["name"] == name), None)
        return exitnodes.desired_replicas(exit_node, chosen)

    def regions(self, fleet: str) -> tuple[str, ...]:
        """Regions of a fleet's ExitNodes."""
        return tuple(sorted({exit_node.spec.region for exit_node in self.exit_nodes(fleet)}))

    def dns_nodes(self, fleet: v1alpha1.Fleet) -> tuple[weights.Node, ...]:
        """ExitNodes of a fleet as DNS sees them. Kept until one of them changes: every Tunnel asks for them."""
        revision = (self._resolved_revision, *(self.cache[kind].revision for kind in BEHIND_DNS))
        known = self._dns_nodes.get(fleet.name)
        if known is None or known[0] != revision or known[1] is not fleet:
            nodes = tuple(self.dns_node(one, fleet) for one in self.exit_nodes(fleet.name) if not one.is_deleting)
            self._dns_nodes[fleet.name] = known = (revision, fleet, nodes)
        return known[2]

    def dns_node(self, exit_node: v1alpha1.ExitNode, fleet: v1alpha1.Fleet) -> weights.Node:
        """One ExitNode as DNS sees it."""
        spec = exit_node.spec
        return weights.Node(
            name=exit_node.name,
            region=spec.region,
            weight=spec.weight,
            drains=spec.drain,
            ready=sum(pod.is_ready for pod in self.pods_of(exit_node.name)),
            wanted=self.desired_replicas(exit_node),
            addresses=self.ip_addresses(exit_node),
            port=exitnodes.links_tcp_port(exit_node, fleet),
            location=(float(spec.location.latitude), float(spec.location.longitude)) if spec.location else None,
        )

    def agent_addresses(self, fleet: v1alpha1.Fleet) -> dict[str, int]:
        """Where agents try to reach a fleet, in order: "203.0.113.7:7443" (UDP) -> the TCP port of the same exit node.

        Empty while nobody would answer at any of them. Not more than an agent takes: some of each ExitNode then.
        """
        exit_nodes = self.exit_nodes(fleet.name)
        if not any(self.addresses(exit_node) for exit_node in exit_nodes):
            return {}
        groups = [self._agent_addresses(one, fleet) for one in sorted(exit_nodes, key=lambda one: one.name)]
        found = {address: port for group in groups for address, port in group.items()}
        return {address: found[address] for address in sorted(exitnodes.spread(groups, names.AGENT_ADDRESSES_MAX))}

    def _agent_addresses(self, exit_node: v1alpha1.ExitNode, fleet: v1alpha1.Fleet) -> dict[str, int]:
        udp, tcp = exitnodes.agents_port(exit_node, fleet), exitnodes.links_tcp_port(exit_node, fleet)
        pods, of_service = self.pods_of(exit_node.name), self._addresses_of_service(exit_node.name)
        found = exitnodes.dial_addresses_of(exit_node, pods, of_service)
        return {exitnodes.with_port(address, udp): tcp for address in found}

    def addresses_moved(self, fleet_name: str) -> bool:
        """Whether agents reach a fleet elsewhere than when this was last asked. Most changes of pods move nothing."""
        fleet = self.fleets().get(fleet_name)
        addresses = self.agent_addresses(fleet) if fleet is not None else {}
        before, self._told_addresses[fleet_name] = self._told_addresses.get(fleet_name), addresses
        return before != addresses

    # --- what exit nodes say -----------------------------------------------------------------------------------------
    def acks(self, fleet: str, key: str) -> tuple[facts.PodAck, ...]:
        """What every ready pod of a fleet said about an object."""
        wanted, acks, nodes = self.hub.hash_of(fleet, key), self.hub.acks(fleet, key), self.hub.nodes(fleet)
        now = self.clock()
        result = []
        for body in self.cache[resources.PODS].select("fleet", fleet):
            pod = facts.read_pod(body)
            if not pod.is_ready:
                continue
            node, ack = nodes.get(pod.name), acks.get(pod.name)
            state = facts.AckState.PENDING
            if node is None or (not node.connected and now - node.last_seen >= SILENT_AFTER):
                state = facts.AckState.AWAY
            elif ack is not None and ack.hash == wanted:
                state = facts.AckState.REFUSED if ack.error else facts.AckState.IN_FORCE
            result.append(facts.PodAck(pod.name, pod.region, state, ack.error if ack else ""))
        return tuple(result)

    def sessions_changed(self, token_uids: Collection[str]) -> frozenset[str]:
        """The hub's sessions are others now; returns the tunnels that these tokens' agents served until now.

        They cannot be found through the AgentToken: it may have been deleted, which is why its agents are gone.
        """
        self._sessions_are_stale = True
        return frozenset().union(*(self._by_token.get(uid, ()) for uid in token_uids))

    def exit_nodes_serving(self, tunnel_uid: str) -> frozenset[str]:
        """ExitNodes on which an agent serves a tunnel."""
        self._index_sessions()
        return frozenset(self._by_tunnel.get(tunnel_uid, ()))

    def sessions_of_agent(self, token_uid: str, agent_id: str) -> Sequence[SessionView]:
        """Links of one agent."""
        self._index_sessions()
        return self._by_agent.get((token_uid, agent_id), [])

    def agents(self) -> Mapping[tuple[str, str], Sequence[SessionView]]:
        """All agents: (token uid, agent id) -> links."""
        self._index_sessions()
        return self._by_agent

    def _index_sessions(self) -> None:
        if not self._sessions_are_stale:
            return
        by_tunnel: defaultdict[str, set[str]] = defaultdict(set)
        by_agent: defaultdict[tuple[str, str], list[SessionView]] = defaultdict(list)
        by_token: defaultdict[str, set[str]] = defaultdict(set)
        for fleet in self.fleets():
            for session in self.hub.sessions(fleet):
                by_agent[session.token_uid, session.agent_id].append(session)
                by_token[session.token_uid].update(session.tunnel_uids)
                for uid in session.tunnel_uids:
                    by_tunnel[uid].add(session.exit_node)
        self._by_tunnel, self._by_agent, self._by_token = by_tunnel, by_agent, by_token
        self._sessions_are_stale = False
