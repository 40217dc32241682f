"""Which keys wake when something changes, through the real cache, world and intake."""

from typing import Any

import pytest

from hawse_api.ir import control_pb2, ir_pb2
from hawse_operator.control import hub as control_hub
from hawse_operator.k8s import resources
from hawse_operator.manifests.metadata import child_name, session_name
from hawse_operator.reconcile import dependents
from hawse_operator.reconcile.cache import Cache, Key
from hawse_operator.reconcile.intake import Intake
from hawse_operator.reconcile.world import INDEXES, World
from support import objects
from support.objects import NOW

HOST = "shop.tunnels.example.com"
TUNNEL = Key("tunnels", "team-a", "shop")
TOKEN = Key("agenttokens", "team-a", "laptop")
FLEET = Key("fleets", "", "default")
EXIT_NODE = Key("exitnodes", "", "eu-west-1")
RESERVATION = Key("subdomainreservations", "", HOST)
NODES = Key("nodes", "", "default")
DNS = Key("dns", "", "default")
PEERS = Key("peers", "", "default")
POLICY = Key("accesspolicies", "team-a", "staff")
GUARDED = Key("tunnels", "team-a", "blog")


class FakeQueue:
    """Remembers what was added."""

    def __init__(self) -> None:
        self.keys: list[Key] = []

    def add(self, key: Key, *, delay_s: float = 0.0) -> None:
        assert delay_s >= 0
        self.keys.append(key)


class Scene:
    """A cluster in memory, with one of everything."""

    def __init__(self) -> None:
        self.cache = Cache(resources.CACHED, INDEXES)
        self.intake = Intake(self.cache)
        self.hub = control_hub.Hub(lambda: NOW)
        self.world = World(self.cache, self.hub, lambda: NOW)
        for resource, body in (
            (resources.FLEETS, objects.fleet_body()),
            (resources.NAMESPACES, objects.namespace_body("team-a")),
            (resources.EXIT_NODES, objects.exit_node_body()),
            (resources.AGENT_TOKENS, objects.token_body()),
            (resources.TUNNELS, objects.tunnel_body()),
            (resources.RESERVATIONS, objects.reservation_body(HOST)),
            (resources.PODS, objects.pod_body("p1")),
        ):
            self.intake.observe(resource, None, body)
        self.queue = FakeQueue()
        self.intake.lead(self.world, self.queue)  # type: ignore[arg-type]  # a fake

    def woken(self) -> set[Key]:
        found, self.queue.keys = set(self.queue.keys), []
        return found


@pytest.fixture
def scene() -> Scene:
    return Scene()


def changed(body: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    described = {**body["metadata"], "resourceVersion": "9", "generation": 2, **metadata}
    return {**body, "metadata": described}


CHANGES = [
    pytest.param(resources.TUNNELS, objects.tunnel_body(), {TUNNEL, TOKEN}, id="a Tunnel wakes itself and its token"),
    pytest.param(
        resources.AGENT_TOKENS,
        objects.token_body(),
        {TOKEN, TUNNEL},
        id="a token wakes itself and the Tunnels that name it",
    ),
    pytest.param(
        resources.TUNNELS,
        objects.tunnel_body("blog", spec={"access": {"policyRef": {"name": "staff"}}}),
        {GUARDED, POLICY, TOKEN},
        id="a Tunnel wakes its policy: its fleet may need it",
    ),
    pytest.param(
        resources.RESERVATIONS,
        objects.reservation_body(HOST),
        {RESERVATION, TUNNEL},
        id="a reservation wakes who wants it",
    ),
    pytest.param(
        resources.FLEETS,
        objects.fleet_body(),
        {FLEET, EXIT_NODE, TOKEN, TUNNEL, DNS, PEERS},
        id="a Fleet wakes all that use it",
    ),
    pytest.param(
        resources.EXIT_NODES,
        objects.exit_node_body(),
        {EXIT_NODE, FLEET, TOKEN, TUNNEL, DNS},
        id="an ExitNode wakes Fleet, tokens, records, and Tunnels, which tell its weight",
    ),
]


@pytest.mark.parametrize(("resource", "body", "expected"), CHANGES)
def test_a_changed_spec_wakes(
    scene: Scene, resource: resources.Resource, body: dict[str, Any], expected: set[Key]
) -> None:
    scene.intake.observe(resource, "MODIFIED", changed(body))
    assert scene.woken() == expected


def test_a_port_wakes_the_tunnel_that_asks_for_it_and_the_exit_nodes_that_let_it_through(scene: Scene) -> None:
    wanting = objects.tunnel_body("db", spec={"protocol": "TCP", "host": None, "port": 20_017})
    scene.intake.observe(resources.TUNNELS, "ADDED", wanting)
    scene.woken()
    port = objects.reservation_body("tcp-20017.tunnels.example.com", namespace="team-b", name="other")
    scene.intake.observe(resources.RESERVATIONS, "ADDED", port)
    expected = {Key("subdomainreservations", "", port["metadata"]["name"]), Key("tunnels", "team-a", "db"), EXIT_NODE}
    assert scene.woken() == expected


@pytest.mark.parametrize(
    ("resource", "body", "key"),
    [
        (resources.FLEETS, objects.fleet_body(), FLEET),
        (resources.AGENT_TOKENS, objects.token_body(), TOKEN),
        (resources.TUNNELS, objects.tunnel_body(), TUNNEL),
        (resources.RESERVATIONS, objects.reservation_body(HOST), RESERVATION),
    ],
)
def test_a_changed_status_wakes_its_own_object_only(
    scene: Scene, resource: resources.Resource, body: dict[str, Any], key: Key
) -> None:
    scene.intake.observe(resource, "MODIFIED", {**changed(body, generation=1), "status": {"conditions": []}})
    assert scene.woken() == {key}


def test_a_policy_wakes_the_tunnels_that_name_it_when_it_or_its_readiness_turns(scene: Scene) -> None:
    policy = objects.policy_body("staff", "security")
    ref = {"policyRef": {"name": "staff", "namespace": "security"}}
    named = Key("accesspolicies", "security", "staff")
    scene.intake.observe(resources.TUNNELS, "ADDED", objects.tunnel_body("blog", spec={"access": ref}))
    scene.woken()
    scene.intake.observe(resources.ACCESS_POLICIES, "ADDED", policy)
    assert scene.woken() == {named, GUARDED}
    scene.intake.observe(resources.ACCESS_POLICIES, "MODIFIED", changed(policy, resourceVersion="7"))
    assert scene.woken() == {named, GUARDED}
    ready = {"conditions": [{"type": "Ready", "status": "False", "reason": "SecretNotFound"}]}
    scene.intake.observe(resources.ACCESS_POLICIES, "MODIFIED", {**changed(policy), "status": ready})
    assert scene.woken() == {named, GUARDED}
    scene.intake.observe(
        resources.ACCESS_POLICIES, "MODIFIED", {**changed(policy, resourceVersion="11"), "status": {**ready, "x": 1}}
    )
    assert scene.woken() == {named}
    scene.hub.publish("default", ir_pb2.Object(key="access/uid-staff", access=ir_pb2.AccessPolicy(uid="uid-staff")))
    change = control_hub.AcksChanged("default", frozenset({"access/uid-staff"}))
    assert {key for key, _ in dependents.of_change(scene.world, change)} == {GUARDED}
    scene.intake.observe(resources.ACCESS_POLICIES, "DELETED", changed(policy, resourceVersion="12"))
    assert scene.woken() == {named, GUARDED}


def test_policies_go_to_the_fleets_that_name_them_or_whose_tunnels_may(scene: Scene) -> None:
    staff, ref = objects.policy("staff", "security"), {"name": "staff", "namespace": "security"}
    shared = objects.policy("staff", "security", spec={**staff.spec.dump(), "allowedNamespaces": {"from": "All"}})
    assert scene.world.fleets_of_policy(shared) == set()
    named = objects.tunnel_body("blog", spec={"access": {"policyRef": ref}})
    scene.intake.observe(resources.TUNNELS, "ADDED", named)
    assert scene.world.fleets_of_policy(staff) == set(), "it does not let that namespace use it"
    assert scene.world.fleets_of_policy(shared) == {"default"}
    scene.intake.observe(resources.TUNNELS, "DELETED", changed(named))
    defaults = changed(objects.fleet_body(spec={"accessDefaults": {"policyRef": ref}}))
    scene.intake.observe(resources.FLEETS, "MODIFIED", defaults)
    assert scene.world.fleets_of_policy(staff) == {"default"}
    scene.woken()
    scene.intake.observe(resources.ACCESS_POLICIES, "ADDED", objects.policy_body("staff", "security"))
    assert scene.woken() == {Key("accesspolicies", "security", "staff"), TUNNEL}


def test_what_is_no_news_wakes_nobody(scene: Scene) -> None:
    scene.intake.observe(resources.TUNNELS, "MODIFIED", objects.tunnel_body())
    assert scene.woken() == set()


def test_an_own_write_wakes_only_others(scene: Scene) -> None:
    body = objects.reservation_body(HOST)
    scene.intake.learn(resources.RESERVATIONS, changed(body), wakes_itself=False)
    assert scene.woken() == {TUNNEL}


def test_a_deleted_tunnel_wakes_the_reservation_that_it_held(scene: Scene) -> None:
    body = {**changed(objects.tunnel_body()), "status": {"reservationName": HOST}}
    scene.intake.observe(resources.TUNNELS, "MODIFIED", body)
    scene.woken()
    scene.intake.observe(resources.TUNNELS, "DELETED", changed(body, resourceVersion="10"))
    assert scene.woken() == {TUNNEL, TOKEN, RESERVATION}


def test_labels_of_a_namespace_wake_what_is_in_it(scene: Scene) -> None:
    scene.intake.observe(
        resources.NAMESPACES, "MODIFIED", objects.namespace_body("team-a", labels={"a": "b"}, version=9)
    )
    assert scene.woken() == {TUNNEL, TOKEN, RESERVATION}
    scene.intake.observe(
        resources.NAMESPACES, "MODIFIED", objects.namespace_body("team-a", labels={"a": "b"}, version=10)
    )
    assert scene.woken() == set()


def test_a_pod_wakes_the_fleet_when_its_readiness_turns(scene: Scene) -> None:
    scene.intake.observe(resources.PODS, "MODIFIED", objects.pod_body("p1", version=8))
    assert scene.woken() == {EXIT_NODE}
    scene.intake.observe(resources.PODS, "MODIFIED", objects.pod_body("p1", ready=False, version=9))
    assert scene.woken() == {EXIT_NODE, TUNNEL, TOKEN, DNS}


@pytest.mark.parametrize(
    ("change", "wakes"),
    [
        pytest.param({"ip": "127.0.1.9"}, {PEERS}, id="its address"),
        pytest.param({"fleet": "other"}, {PEERS, Key("peers", "", "other")}, id="its fleet"),
        pytest.param({"ready": False}, set(), id="readiness is no matter"),
        pytest.param({"deletionTimestamp": "2026-03-01T00:00:00Z"}, set(), id="it drains"),
        pytest.param({"phase": "Failed"}, {PEERS}, id="it has ended"),
    ],
)
def test_a_pod_wakes_the_list_of_peers_when_what_that_says_turns(
    scene: Scene, change: dict[str, Any], wakes: set[Key]
) -> None:
    phase = change.pop("phase", "Running")
    body = objects.pod_body("p1", version=9, **change)
    scene.intake.observe(resources.PODS, "MODIFIED", {**body, "status": {**body["status"], "phase": phase}})
    assert {key for key in scene.woken() if key.plural == "peers"} == wakes


def test_a_pod_that_comes_or_goes_wakes_the_list_of_peers(scene: Scene) -> None:
    scene.intake.observe(resources.PODS, "ADDED", objects.pod_body("p2", version=9))
    assert PEERS in scene.woken()
    scene.intake.observe(resources.PODS, "DELETED", objects.pod_body("p2", version=10))
    assert PEERS in scene.woken()


def child(resource: resources.Resource, version: int, spec: dict[str, Any], **status: Any) -> dict[str, Any]:
    labels = {"hawse.dev/exit-node": "eu-west-1", "hawse.dev/fleet": "default"}
    name = child_name("eu-west-1", status.pop("of_uid", "uid-eu-west-1"))
    metadata = objects.meta(name, "hawse-system", labels=labels, version=version)
    described = {"apiVersion": resource.api_version, "kind": resource.kind}
    return {**described, "metadata": metadata, "spec": spec, "status": status}


@pytest.mark.parametrize("resource", resources.STATUS_UNREAD, ids=lambda resource: resource.plural)
def test_what_an_autoscaler_and_a_budget_found_out_wakes_nobody(scene: Scene, resource: resources.Resource) -> None:
    scene.intake.observe(resource, "ADDED", child(resource, 2, {"a": 1}))
    assert scene.woken() == {EXIT_NODE}
    scene.intake.observe(resource, "MODIFIED", child(resource, 3, {"a": 1}, seen=1))
    assert scene.woken() == set()
    scene.intake.observe(resource, "MODIFIED", child(resource, 4, {"a": 2}, seen=1))
    assert scene.woken() == {EXIT_NODE}
    scene.intake.observe(resource, "DELETED", child(resource, 5, {"a": 2}, seen=1))
    assert scene.woken() == {EXIT_NODE}


def test_the_choice_of_an_autoscaler_wakes_all_that_tell_weights(scene: Scene) -> None:
    scene.intake.observe(resources.DEPLOYMENTS, "ADDED", child(resources.DEPLOYMENTS, 2, {"replicas": 1}))
    assert scene.woken() == {EXIT_NODE}
    scene.intake.observe(resources.DEPLOYMENTS, "MODIFIED", child(resources.DEPLOYMENTS, 3, {"replicas": 1}, ready=1))
    assert scene.woken() == {EXIT_NODE}
    scene.intake.observe(resources.DEPLOYMENTS, "MODIFIED", child(resources.DEPLOYMENTS, 4, {"replicas": 2}, ready=1))
    assert scene.woken() == {EXIT_NODE, FLEET, DNS, TUNNEL}


def test_an_autoscaled_exit_node_weighs_by_the_pods_that_were_chosen(scene: Scene) -> None:
    auto = {"minReplicas": 1, "maxReplicas": 4, "targetCPU": 70}
    body = objects.exit_node_body(version=2, spec={"autoscaling": auto})
    scene.intake.observe(resources.EXIT_NODES, "MODIFIED", body)
    fleet = scene.world.fleets()["default"]
    assert [(node.ready, node.wanted) for node in scene.world.dns_nodes(fleet)] == [(1, 1)]
    of_an_earlier_one = child(resources.DEPLOYMENTS, 2, {"replicas": 3}, of_uid="another")
    scene.intake.observe(resources.DEPLOYMENTS, "ADDED", of_an_earlier_one)
    assert [(node.ready, node.wanted) for node in scene.world.dns_nodes(fleet)] == [(1, 1)]
    scene.intake.observe(resources.DEPLOYMENTS, "ADDED", child(resources.DEPLOYMENTS, 3, {"replicas": 4}))
    assert [(node.ready, node.wanted) for node in scene.world.dns_nodes(fleet)] == [(1, 4)]


def test_agents_get_no_more_addresses_than_they_take_and_some_of_every_exit_node(scene: Scene) -> None:
    for number in range(40):
        scene.intake.observe(resources.PODS, "ADDED", objects.pod_body(f"e{number}", ip=f"127.0.2.{number}"))
    scene.intake.observe(resources.EXIT_NODES, "ADDED", objects.exit_node_body("us-1", "us-east"))
    scene.intake.observe(resources.PODS, "ADDED", objects.pod_body("u", "us-1", region="us-east", ip="127.0.3.1"))
    found = list(scene.world.agent_addresses(scene.world.fleets()["default"]))
    assert len(found) == 16
    assert "127.0.3.1:7443" in found
    assert found == sorted(found)


def test_a_placement_wakes_the_records_when_it_turns_or_its_name_is_held(scene: Scene) -> None:
    body = objects.tunnel_body(spec={"placement": {"policy": "Nearest"}}, version=8)
    scene.intake.observe(resources.TUNNELS, "MODIFIED", body)
    assert DNS in scene.woken()
    held = {**objects.tunnel_body(spec=body["spec"], version=9), "status": {"reservationName": HOST}}
    scene.intake.observe(resources.TUNNELS, "MODIFIED", held)
    assert DNS in scene.woken()
    scene.intake.observe(
        resources.TUNNELS, "MODIFIED", {**held, "metadata": held["metadata"] | {"resourceVersion": "10"}}
    )
    assert DNS not in scene.woken()
    scene.intake.observe(
        resources.TUNNELS, "DELETED", {**held, "metadata": held["metadata"] | {"resourceVersion": "11"}}
    )
    assert DNS in scene.woken()


OTHER_FLEET = [
    (resources.FLEETS, objects.fleet_body("other", "other.example.com")),
    (resources.AGENT_TOKENS, objects.token_body("elsewhere")),
    (resources.TUNNELS, objects.tunnel_body("away", token="elsewhere", fleet="other")),
    (resources.AGENT_TOKENS, objects.token_body("second")),
]


def tokens(keys: set[Key]) -> set[str]:
    return {key.name for key in keys if key.plural == "agenttokens"}


def test_only_an_address_that_moves_wakes_tokens_and_only_those_that_lead_there(scene: Scene) -> None:
    for resource, body in OTHER_FLEET:
        scene.intake.observe(resource, "ADDED", body)
    for number, name in enumerate(("p1", "p2")):
        scene.intake.observe(resources.PODS, "ADDED", objects.pod_body(name, ip=f"127.0.1.{number + 2}", version=9))
    scene.woken()
    scene.intake.observe(resources.PODS, "MODIFIED", objects.pod_body("p2", ready=False, ip="127.0.1.3", version=10))
    assert tokens(scene.woken()) == set(), "a pod that is not ready for a moment moves nothing"
    scene.intake.observe(resources.EXIT_NODES, "MODIFIED", changed(objects.exit_node_body()))
    assert tokens(scene.woken()) == set(), "neither does a spec that says the same of addresses"
    scene.intake.observe(resources.PODS, "MODIFIED", objects.pod_body("p2", ready=False, ip="127.0.1.9", version=11))
    assert tokens(scene.woken()) == {"laptop", "second"}


def test_the_ca_for_exit_nodes_wakes_the_authority(scene: Scene) -> None:
    body = {"metadata": objects.meta("hawse-ca", "hawse-system")}
    scene.intake.observe(resources.CONFIG_MAPS, "ADDED", body)
    scene.intake.observe(resources.CONFIG_MAPS, "DELETED", changed(body))
    assert scene.queue.keys == [dependents.AUTHORITY] * 2


def test_a_list_tells_what_was_deleted_behind_the_watchs_back(scene: Scene) -> None:
    scene.intake.listed(resources.TUNNELS, [], "50")
    assert TUNNEL in scene.woken()
    assert scene.world.tunnel("team-a", "shop") is None


def test_a_list_of_one_namespace_says_nothing_about_others(scene: Scene) -> None:
    scene.intake.listed(resources.TUNNELS, [], "50", namespace="team-b")
    assert scene.woken() == set()


def test_a_list_that_is_older_than_an_event_deletes_nothing(scene: Scene) -> None:
    scene.intake.observe(resources.TUNNELS, "ADDED", objects.tunnel_body("new", version=60))
    scene.intake.listed(resources.TUNNELS, [objects.tunnel_body()], "50")
    assert scene.world.tunnel("team-a", "new") is not None


def test_acks_wake_their_tunnels(scene: Scene) -> None:
    scene.intake.changed(
        control_hub.AcksChanged("default", frozenset({"tunnel/uid-shop", "fleet", "tunnel/gone", "peer/p"}))
    )
    assert scene.woken() == {TUNNEL}


def test_nodes_wake_the_exit_nodes_and_their_watch(scene: Scene) -> None:
    scene.intake.changed(control_hub.NodesChanged("default"))
    assert scene.woken() == {EXIT_NODE, NODES}


def test_sessions_wake_tunnels_of_the_token_and_the_exit_nodes(scene: Scene) -> None:
    scene.intake.changed(control_hub.SessionsChanged("default", frozenset({"uid-laptop", "gone"})))
    assert scene.woken() == {EXIT_NODE, TUNNEL}


def connect(scene: Scene) -> tuple[control_hub.NodeIdentity, Any]:
    identity = control_hub.NodeIdentity("eu-west-1", "p1", "eu-west", "default", "tunnels.example.com")
    return identity, scene.hub.connect(identity, control_pb2.NodeHello(version="1"), lambda: None)


def test_agents_that_are_cut_off_wake_the_tunnels_they_served_though_their_token_is_gone(scene: Scene) -> None:
    identity, outbox = connect(scene)
    session = control_pb2.Session(token_uid="uid-laptop", agent_id="a", tunnel_uids=["uid-shop"])
    scene.hub.report(identity, outbox, control_pb2.SessionReport(sessions=[session]))
    assert scene.world.exit_nodes_serving("uid-shop") == {"eu-west-1"}
    scene.intake.observe(resources.AGENT_TOKENS, "DELETED", changed(objects.token_body()))
    scene.woken()
    scene.hub.report(identity, outbox, control_pb2.SessionReport())
    assert TUNNEL in scene.woken()
    assert scene.world.exit_nodes_serving("uid-shop") == frozenset()


def test_sessions_wake_their_objects(scene: Scene) -> None:
    identity, outbox = connect(scene)
    session = control_pb2.Session(token_uid="uid-laptop", agent_id="a", tunnel_uids=["uid-shop"])
    scene.hub.report(identity, outbox, control_pb2.SessionReport(sessions=[session]))
    assert {key.name for key in scene.woken() if key.plural == "agentsessions"} == {session_name("laptop", "a")}


def test_on_standby_the_cache_is_filled_and_nobody_wakes(scene: Scene) -> None:
    scene.intake.stand_by()
    scene.intake.observe(resources.TUNNELS, "ADDED", objects.tunnel_body("other"))
    scene.intake.changed(control_hub.NodesChanged("default"))
    assert scene.woken() == set()
    assert scene.world.tunnel("team-a", "other") is not None


def test_managed_fields_are_not_kept(scene: Scene) -> None:
    body = objects.tunnel_body("other", managedFields=[{"manager": "x"}])
    scene.intake.observe(resources.TUNNELS, "ADDED", body)
    kept = scene.cache[resources.TUNNELS].get(Key("tunnels", "team-a", "other"))
    assert kept is not None
    assert "managedFields" not in kept["metadata"]


def test_a_bad_edit_of_a_fleet_keeps_its_last_good_form(scene: Scene) -> None:
    assert scene.world.fleets()["default"].spec.domain == "tunnels.example.com"
    scene.intake.observe(resources.FLEETS, "MODIFIED", {**changed(objects.fleet_body()), "spec": {"nonsense": 1}})
    assert scene.world.fleets()["default"].spec.domain == "tunnels.example.com"
    scene.intake.observe(resources.FLEETS, "DELETED", changed(objects.fleet_body(), resourceVersion="11"))
    assert "default" not in scene.world.fleets()


def test_a_pod_that_is_not_connected_is_away(scene: Scene) -> None:
    obj = ir_pb2.Object(key="tunnel/uid-shop", tunnel=ir_pb2.Tunnel(uid="uid-shop"))
    scene.hub.publish("default", obj)
    assert [ack.state.value for ack in scene.world.acks("default", obj.key)] == ["away"]


def test_addresses_of_agents_are_those_of_ready_pods(scene: Scene) -> None:
    assert scene.world.agent_addresses(scene.world.fleets()["default"]) == {"127.0.1.2:7443": 8443}
