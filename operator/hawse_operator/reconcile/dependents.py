"""Which keys have to be reconciled when something changed: reads the world's indexes, decides about no object.

Level-based: an extra key costs a reconcile that writes nothing, a missing one costs waiting for the next resync.
Rules look at what changed, so that 10,000 Tunnels are not gone through because a Fleet's status did. Called by
intake.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from hawse_api import names
from hawse_operator.control import hub as control_hub
from hawse_operator.k8s import resources
from hawse_operator.manifests import metadata
from hawse_operator.policies import facts, fleets
from hawse_operator.reconcile.cache import Key, key_of
from hawse_operator.reconcile.world import World, policies_named, tokens_named

JsonObject = dict[str, Any]
SOON_S = 0.1
"""Changes that come in bursts (acks, pods, addresses) are awaited for so long and taken together."""
LATER_S = 1.0
"""Counts that people look at, no more."""
MOVED_S = 1.0
"""Pods of a rollout come and go together."""
TOKENS_PER_S = 50.0
"""Texts of tokens follow their addresses at this pace, beside everything else that has to be done."""
DNS = "dns"
"""Kind of the keys that stand for a fleet's records (reconcile.dns)."""
PEERS = "peers"
"""Kind of the keys that stand for the list of a fleet's pods (reconcile.peers)."""
NODES = "nodes"
"""Kind of the keys that stand for a fleet's exit nodes as a whole (reconcile.nodes)."""
AUTHORITY = Key("authority", "", "")
"""The internal CA (reconcile.authority)."""

Wake = tuple[Key, float]


def of_object(
    world: World, resource: resources.Resource, old: JsonObject | None, new: JsonObject | None
) -> Iterator[Wake]:
    """Keys woken by an object that turned from `old` to `new`; None: it was, or is, not there.

    The cache holds `new` already.
    """
    body = new if new is not None else old
    if body is None:
        return
    if resource not in resources.STATUS_UNREAD or _without_status(old) != _without_status(new):
        yield from _own(resource, body)
    match resource:
        case resources.TUNNELS:
            yield from _of_tunnel(resource, old, new)
            yield from _of_placement(old, new)
            yield from _of_access(old, new)
        case resources.RESERVATIONS if _spec_changed(old, new):
            yield from _waiting_for(world, body)
            yield from _of_port(world, body)
        case resources.AGENT_TOKENS if _spec_changed(old, new):
            yield from _tunnels(world, "token", f"{body['metadata'].get('namespace', '')}/{body['metadata']['name']}")
        case resources.ACCESS_POLICIES if _spec_changed(old, new) or _ready(old) != _ready(new):
            yield from _of_policy(world, body)
        case resources.FLEETS if _spec_changed(old, new):
            yield from _of_fleet(world, body)
        case resources.EXIT_NODES if _spec_changed(old, new) or _addresses(old) != _addresses(new):
            fleet = str((body.get("spec") or {}).get("fleetName", ""))
            yield from _tokens_of_fleet(world, fleet)
            yield from _of_exit_node(world, fleet)
        case resources.NAMESPACES if _identity(old) != _identity(new):
            yield from _of_namespace(world, body["metadata"]["name"])
        case resources.DEPLOYMENTS if old is not None and new is not None and _replicas(old) != _replicas(new):
            fleet = str((new["metadata"].get("labels") or {}).get(names.LABEL_FLEET, ""))
            yield from _of_exit_node(world, fleet)  # an autoscaler chose: the ready share is another one
        case resources.PODS:
            yield from _of_pod(world, old, new)
        case resources.CONFIG_MAPS:
            yield AUTHORITY, 0.0


def _own(resource: resources.Resource, body: JsonObject) -> Iterator[Wake]:
    if resource in resources.HAWSE:
        yield key_of(resource, body), 0.0
    elif resource in resources.CHILDREN:
        owner = str((body["metadata"].get("labels") or {}).get(names.LABEL_EXIT_NODE, ""))
        if owner:
            yield Key(resources.EXIT_NODES.plural, "", owner), SOON_S


def _of_tunnel(resource: resources.Resource, old: JsonObject | None, new: JsonObject | None) -> Iterator[Wake]:
    """Its token (which Fleet its text leads to) and, when the Tunnel has gone, the name that it held."""
    if not _spec_changed(old, new):
        return
    for body in (old, new):
        for token in tokens_named(body or {}):
            yield Key(resources.AGENT_TOKENS.plural, (body or {})["metadata"].get("namespace", ""), token), SOON_S
    hostname = ((old or {}).get("status") or {}).get("reservationName")
    if hostname and (new is None or new["metadata"].get("uid") != (old or {})["metadata"].get("uid")):
        yield Key(resources.RESERVATIONS.plural, "", str(hostname)), 0.0


def _of_placement(old: JsonObject | None, new: JsonObject | None) -> Iterator[Wake]:
    """Its fleet's records: the placement or the name of a Tunnel with a record of its own turned."""
    if _placement(old) != _placement(new):
        spec = (new or old or {}).get("spec") or {}
        yield Key(DNS, "", str(spec.get("fleetName", "default"))), SOON_S


def _of_access(old: JsonObject | None, new: JsonObject | None) -> Iterator[Wake]:
    """Policies that the Tunnel named or names: the fleets that need them turned."""
    if _spec_changed(old, new):
        for namespace, name in {*policies_named(old or {}), *policies_named(new or {})}:
            yield Key(resources.ACCESS_POLICIES.plural, namespace, name), SOON_S


def _of_policy(world: World, body: JsonObject) -> Iterator[Wake]:
    """Tunnels that name a policy, and those of Fleets that do."""
    owner = f"{body['metadata'].get('namespace', '')}/{body['metadata']['name']}"
    yield from _tunnels(world, "access", owner)
    for fleet in world.cache[resources.FLEETS].select("access", owner):
        yield from _tunnels(world, "fleet", fleet["metadata"]["name"])


def _ready(body: JsonObject | None) -> object:
    conditions = ((body or {}).get("status") or {}).get("conditions") or ()
    return [(one.get("status"), one.get("reason")) for one in conditions if one.get("type") == names.Condition.READY]


def _placement(body: JsonObject | None) -> object:
    placement = ((body or {}).get("spec") or {}).get("placement")
    if body is None or not placement or "deletionTimestamp" in body["metadata"]:
        return None
    return placement, body["metadata"].get("uid"), (body.get("status") or {}).get("reservationName")


def _of_exit_node(world: World, fleet: str) -> Iterator[Wake]:
    """Its Fleet, the records, and the Tunnels, which say where they are served and with which weight."""
    yield Key(resources.FLEETS.plural, "", fleet), SOON_S
    yield Key(DNS, "", fleet), SOON_S
    yield from _tunnels(world, "fleet", fleet)


def _of_fleet(world: World, body: JsonObject) -> Iterator[Wake]:
    name = body["metadata"]["name"]
    yield from _all(world, resources.FLEETS, SOON_S)  # domains may overlap no more
    yield Key(DNS, "", name), SOON_S
    yield Key(PEERS, "", name), SOON_S
    yield from (
        (key_of(resources.EXIT_NODES, item), SOON_S) for item in world.cache[resources.EXIT_NODES].select("fleet", name)
    )
    yield from _all(world, resources.AGENT_TOKENS, SOON_S)
    yield from _all(world, resources.ACCESS_POLICIES, SOON_S)
    yield from _tunnels(world, "fleet", name)


def _of_namespace(world: World, name: str) -> Iterator[Wake]:
    yield from _tunnels(world, "namespace", name)
    for tunnel in world.cache[resources.TUNNELS].select("namespace", name):
        for namespace, policy in policies_named(tunnel):
            yield Key(resources.ACCESS_POLICIES.plural, namespace, policy), SOON_S
    yield from (
        (key_of(resources.AGENT_TOKENS, item), SOON_S)
        for item in world.cache[resources.AGENT_TOKENS].select("namespace", name)
    )
    yield from (
        (key_of(resources.RESERVATIONS, item), SOON_S)
        for item in world.cache[resources.RESERVATIONS].select("namespace", name)
    )


def _of_pod(world: World, old: JsonObject | None, new: JsonObject | None) -> Iterator[Wake]:
    before, after = (facts.read_pod(body) if body is not None else None for body in (old, new))
    yield from _of_peers(before, after)
    pod = after or before
    if pod is None or (
        before is not None and after is not None and (before.is_ready, before.ip) == (after.is_ready, after.ip)
    ):
        return
    yield Key(DNS, "", pod.fleet), SOON_S
    yield from _tunnels(world, "fleet", pod.fleet)
    yield from _tokens_of_fleet(world, pod.fleet)


def _of_peers(before: facts.Pod | None, after: facts.Pod | None) -> Iterator[Wake]:
    """The lists that a pod stands in, if what they say of it turned."""
    said = [dataclasses.replace(pod, is_ready=False, is_ending=False) if pod else None for pod in (before, after)]
    if said[0] != said[1]:
        yield from ((Key(PEERS, "", fleet), SOON_S) for fleet in {pod.fleet for pod in said if pod is not None})


def _tokens_of_fleet(world: World, fleet: str) -> Iterator[Wake]:
    """Tokens whose texts name the fleet's addresses, if these have changed: each of them is a write."""
    if not world.addresses_moved(fleet):
        return
    for key, delay_s in all_tokens(world):
        found = world.token(key.namespace, key.name)
        lead = world.fleet_of_token(found) if found is not None else None
        if lead is not None and lead.name == fleet:
            yield key, delay_s


def all_tokens(world: World) -> Iterator[Wake]:
    """All AgentTokens one after another: their texts have to be written."""
    for number, key in enumerate(world.cache[resources.AGENT_TOKENS].names()):
        yield key, MOVED_S + number / TOKENS_PER_S


def of_change(world: World, change: control_hub.Change) -> Iterator[Wake]:
    """Keys woken by what exit nodes said."""
    match change:
        case control_hub.AcksChanged(_, keys):
            for key in keys:
                kind, _, uid = key.partition("/")
                if kind == "tunnel":
                    yield from _tunnels(world, "uid", uid)
                elif kind == "access":
                    for policy in world.cache[resources.ACCESS_POLICIES].select("uid", uid):
                        yield from _of_policy(world, policy)
        case control_hub.NodesChanged(fleet):
            for body in world.cache[resources.EXIT_NODES].select("fleet", fleet):
                yield key_of(resources.EXIT_NODES, body), SOON_S
            yield Key(NODES, "", fleet), SOON_S
        case control_hub.TargetsChanged(_, tunnel_uids):
            yield from of_tunnels(world, tunnel_uids)
        case control_hub.SessionsChanged(fleet, token_uids):
            for uid in token_uids:
                yield from _of_sessions(world, uid)
            for body in world.cache[resources.EXIT_NODES].select("fleet", fleet):
                yield key_of(resources.EXIT_NODES, body), LATER_S


def of_tunnels(world: World, uids: Iterable[str]) -> Iterator[Wake]:
    """Tunnels by UID."""
    for uid in uids:
        yield from _tunnels(world, "uid", uid)


def _of_sessions(world: World, token_uid: str) -> Iterator[Wake]:
    token = world.token_by_uid(token_uid)
    if token is None:
        return
    owner = f"{token.namespace}/{token.name}"
    yield from _tunnels(world, "token", owner)
    for uid, agent_id in world.agents():
        if uid == token_uid:
            name = metadata.session_name(token.name, agent_id)
            yield Key(resources.AGENT_SESSIONS.plural, token.namespace, name), SOON_S
    for body in world.cache[resources.AGENT_SESSIONS].select("token", owner):
        yield key_of(resources.AGENT_SESSIONS, body), SOON_S


def _waiting_for(world: World, reservation: JsonObject) -> Iterator[Wake]:
    """Tunnels that want a name, its holder among them."""
    hostname = reservation["metadata"]["name"]
    fleet = fleets.fleet_of_host(hostname, world.fleets().values())
    wanted = f"{fleet.name}/{hostname.partition('.')[0]}" if fleet is not None else hostname
    yield from _tunnels(world, "host", wanted, 0.0)
    claim = (reservation.get("spec") or {}).get("claimRef") or {}  # a generated name is in no index
    holder = Key(resources.TUNNELS.plural, str(claim.get("namespace", "")), str(claim.get("name", "")))
    if world.cache[resources.TUNNELS].get(holder) is not None:
        yield holder, 0.0


def _of_port(world: World, reservation: JsonObject) -> Iterator[Wake]:
    """ExitNodes whose Services let a port through."""
    hostname = reservation["metadata"]["name"]
    fleet = fleets.fleet_of_host(hostname, world.fleets().values())
    if fleet is not None and names.tcp_port_of(hostname) is not None:
        for body in world.cache[resources.EXIT_NODES].select("fleet", fleet.name):
            yield key_of(resources.EXIT_NODES, body), SOON_S


def _tunnels(world: World, index: str, value: str, delay_s: float = SOON_S) -> Iterator[Wake]:
    return ((key_of(resources.TUNNELS, body), delay_s) for body in world.cache[resources.TUNNELS].select(index, value))


def _all(world: World, resource: resources.Resource, delay_s: float) -> Iterator[Wake]:
    return ((key, delay_s) for key in world.cache[resource].names())


def _spec_changed(old: JsonObject | None, new: JsonObject | None) -> bool:
    """Whether anything but the status changed."""
    return _shape(old) != _shape(new)


def _shape(body: JsonObject | None) -> tuple[object, ...] | None:
    if body is None:
        return None
    metadata_ = body["metadata"]
    return (
        metadata_.get("uid"),
        metadata_.get("generation"),
        metadata_.get("deletionTimestamp"),
        metadata_.get("annotations"),
    )


def _without_status(body: JsonObject | None) -> object:
    if body is None:
        return None
    metadata_ = {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}
    return metadata_, body.get("spec")


def _replicas(body: JsonObject) -> object:
    return (body.get("spec") or {}).get("replicas")


def _identity(body: JsonObject | None) -> tuple[object, ...] | None:
    return (body["metadata"].get("uid"), body["metadata"].get("labels")) if body is not None else None


def _addresses(body: JsonObject | None) -> object:
    return ((body or {}).get("status") or {}).get("addresses")
