"""What is told of a Tunnel's targets: to exit nodes, in TargetReady, activeTarget and events. The messages are API."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from hawse_api import v1alpha1
from hawse_api.ir import ir_pb2
from hawse_operator.control.hub import TargetView
from hawse_operator.policies import facts, tunnels
from hawse_operator.policies.targets import Destination
from hawse_operator.reconcile import targets
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import statuses
from support.objects import NOW, fleet, token, tunnel

WEB = facts.Service("web", ("10.96.0.7",), (("http", 80),))
AGENT = {"type": "Agent", "agent": {"tokenRef": {"name": "laptop"}}}
SPARE = {"type": "Agent", "agent": {"tokenRef": {"name": "spare"}}}
SERVICE = {"type": "Service", "service": {"name": "web", "port": 80}}
URL = {"type": "URL", "url": "https://eu.example.com"}
PRIMARY, STANDBY = v1alpha1.ActiveTarget.PRIMARY, v1alpha1.ActiveTarget.STANDBY


class Scene:
    """A Context of what these decisions look at."""

    def __init__(self) -> None:
        self.serving: dict[str, set[str]] = {}
        self.turned: list[TargetView] = []
        self.notes: list[Any] = []
        self.settling_s = 0.0

    @property
    def context(self) -> Context:
        world = SimpleNamespace(exit_nodes_serving=lambda uid: self.serving.get(uid, set()))
        hub = SimpleNamespace(standbys=lambda _fleet, _uid: self.turned)
        recorder = SimpleNamespace(record=self.notes.append)
        parts = SimpleNamespace(world=world, hub=hub, recorder=recorder, settling_s=self.settling_s)
        return cast("Context", parts)

    def turn(self, *exit_nodes: str, why: str = "No agent is connected for this tunnel.") -> None:
        self.turned = [TargetView("uid-shop", why, exit_node) for exit_node in exit_nodes]

    def target_ready(self, given: tunnels.TunnelInput) -> tuple[str, str, str]:
        found = targets.judge(self.context, given)
        return found.status, found.reason, found.message


def destination(target: dict[str, Any], *, is_there: bool = True) -> Destination:
    parsed = tunnel(spec={"target": target}).spec.target
    named = parsed.agent.token_ref.name if parsed.agent else ""
    return Destination(
        parsed,
        token(named) if named and is_there else None,
        WEB if parsed.service and is_there else None,
    )


def given(
    target: dict[str, Any], standby: dict[str, Any] | None = None, *, gone: str = "", status: Any = None
) -> tunnels.TunnelInput:
    """`gone`: which of the two names something that is not there."""
    spec = {"target": target, **({"standby": {"target": standby}} if standby else {})}
    made = tunnel(spec=spec)
    if status is not None:
        made = made.model_copy(update={"status": status})
    return tunnels.TunnelInput(
        made,
        fleet(),
        ("default",),
        facts.Namespace("team-a", "uid-team-a", {}),
        destination(target, is_there="target" not in gone),
        destination(standby, is_there="standby" not in gone) if standby else None,
        (),
    )


# --- what exit nodes are told ----------------------------------------------------------------------------------------
AGENTS, DIRECT = ir_pb2.AgentTarget(token_uid="uid-laptop"), ir_pb2.UrlTarget(scheme="https", host="eu.example.com")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        pytest.param(given(AGENT), ("uid-laptop", None), id="no standby"),
        pytest.param(given(AGENT, SPARE), ("uid-laptop", "uid-spare"), id="both are there"),
        pytest.param(given(AGENT, SPARE, gone="standby"), ("uid-laptop", None), id="the standby is not there"),
        pytest.param(given(AGENT, SPARE, gone="target"), ("", "uid-spare"), id="the token was deleted"),
        pytest.param(given(SERVICE, SPARE, gone="target"), ("", "uid-spare"), id="the Service was deleted"),
        pytest.param(given(SERVICE, SPARE, gone="target, standby"), None, id="neither is there"),
        pytest.param(given(AGENT, gone="target"), None, id="no standby and no token"),
    ],
)
def test_a_standby_serves_also_when_what_the_target_names_is_gone(
    parts: tunnels.TunnelInput, told: tuple[str, str | None] | None
) -> None:
    found = targets.for_exit_nodes(parts)
    assert (tunnels.violations_that_close(parts) == ()) is (told is not None)
    if found is None:
        assert told is None
        return
    primary, standby = found
    assert isinstance(primary, ir_pb2.AgentTarget), "a target that is not there leads to nobody"
    assert (primary.token_uid, standby.token_uid if isinstance(standby, ir_pb2.AgentTarget) else None) == told


def test_an_address_that_is_not_allowed_does_not_close_a_tunnel_with_a_standby() -> None:
    parts = given({"type": "URL", "url": "http://169.254.169.254"}, URL)
    found = targets.for_exit_nodes(parts)
    assert found is not None
    primary, standby = found
    assert primary == ir_pb2.AgentTarget(), "nobody dials it"
    assert isinstance(standby, ir_pb2.UrlTarget)
    assert standby.host == "eu.example.com"
    assert [violation.reason for violation in tunnels.violations_of_refs(parts)] == ["TargetNotAllowed"]


# --- TargetReady -----------------------------------------------------------------------------------------------------
NO_AGENT = (
    'No agent is connected. On the laptop: hawse login with the token of AgentToken "{}", then hawse http <port>.'
)
NO_SERVICE = 'Service "web" does not exist in namespace team-a.'


def test_without_a_standby_the_target_alone_counts() -> None:
    scene = Scene()
    assert scene.target_ready(given(AGENT)) == ("False", "NoAgent", NO_AGENT.format("laptop"))
    scene.serving["uid-shop"] = {"eu-1"}
    assert scene.target_ready(given(AGENT)) == ("True", "AgentConnected", "An agent is connected through eu-1.")
    assert scene.target_ready(given(URL))[:2] == ("True", "Dialled")
    assert scene.target_ready(given(SERVICE, gone="target")) == ("False", "ServiceNotFound", NO_SERVICE)


def test_a_target_that_is_there_is_named_whatever_the_standby_is() -> None:
    scene = Scene()
    scene.serving["uid-shop"] = {"eu-1"}
    connected = ("True", "AgentConnected", "An agent is connected through eu-1.")
    for parts in (given(AGENT, URL), given(AGENT, SPARE), given(AGENT, SERVICE, gone="standby")):
        assert scene.target_ready(parts) == connected
    scene.turn("eu-1")
    assert scene.target_ready(given(AGENT, SPARE)) == connected, "a standby without agents answers nobody"


def test_exit_nodes_that_lead_to_the_standby_are_named_with_the_reason() -> None:
    scene = Scene()
    scene.turn("us-1", "eu-1", why="The target answered a health check with 503.")
    assert scene.target_ready(given(SERVICE, URL)) == (
        "True",
        "FailedOver",
        "Visitors are led to the standby at eu-1, us-1: The target answered a health check with 503.",
    )
    assert scene.target_ready(given(SERVICE, URL, gone="target")) == (
        "True",
        "FailedOver",
        f"Visitors are led to the standby at eu-1, us-1: {NO_SERVICE}",
    ), "the cause is known better here than there"


def test_a_standby_that_nobody_has_needed_yet_is_announced() -> None:
    scene = Scene()
    assert scene.target_ready(given(AGENT, URL)) == (
        "True",
        "FailedOver",
        f"The standby takes over: {NO_AGENT.format('laptop')}",
    )
    scene.serving["uid-shop/standby"] = {"us-1"}
    assert scene.target_ready(given(SERVICE, SPARE, gone="target"))[:2] == ("True", "FailedOver")


def test_when_neither_is_there_both_are_told() -> None:
    scene = Scene()
    scene.turn("eu-1")
    assert scene.target_ready(given(SERVICE, SPARE, gone="target")) == (
        "False",
        "ServiceNotFound",
        f"{NO_SERVICE} Nor is the standby there: {NO_AGENT.format('spare')}",
    )


def test_a_new_leader_keeps_what_the_status_said_until_agents_had_their_time() -> None:
    scene = Scene()
    before = v1alpha1.judge("TargetReady", True, "AgentConnected", "An agent is connected through eu-1.")
    status = statuses.build_status(v1alpha1.TunnelStatus(), [before], {}, generation=1, now=NOW)
    scene.settling_s = 20.0
    for parts in (given(AGENT, status=status), given(AGENT, SPARE, status=status), given(URL, SPARE, status=status)):
        assert scene.target_ready(parts) == (before.status, before.reason, before.message)
    assert scene.target_ready(given(AGENT))[:2] == ("False", "NoAgent"), "nothing was said before"


# --- activeTarget and events -----------------------------------------------------------------------------------------
def shop(active: v1alpha1.ActiveTarget | None = None, *, standby: bool = True) -> v1alpha1.Tunnel:
    made = tunnel(spec={"target": AGENT, **({"standby": {"target": URL}} if standby else {})})
    return made.model_copy(update={"status": v1alpha1.TunnelStatus(active_target=active)})


@pytest.mark.parametrize(
    ("it", "turned", "settling_s", "active"),
    [
        pytest.param(shop(standby=False), ["eu-1"], 0.0, None, id="no standby"),
        pytest.param(shop(), [], 0.0, PRIMARY, id="nobody has turned"),
        pytest.param(shop(PRIMARY), ["eu-1"], 0.0, STANDBY, id="one has turned"),
        pytest.param(shop(PRIMARY), ["eu-1"], 20.0, STANDBY, id="what is reported counts at once"),
        pytest.param(shop(STANDBY), [], 20.0, STANDBY, id="a new leader waits for reports"),
        pytest.param(shop(STANDBY), [], 0.0, PRIMARY, id="they had their time"),
        pytest.param(shop(), [], 20.0, PRIMARY, id="a new leader and a new Tunnel"),
    ],
)
def test_the_standby_is_active_while_it_answers_anywhere(
    it: v1alpha1.Tunnel, turned: list[str], settling_s: float, active: v1alpha1.ActiveTarget | None
) -> None:
    scene = Scene()
    scene.turn(*turned)
    scene.settling_s = settling_s
    assert targets.active_target(scene.context, it, scene.turned) is active


@pytest.mark.parametrize(
    ("before", "active", "reason"),
    [
        pytest.param(PRIMARY, STANDBY, "FailedOver", id="over"),
        pytest.param(None, STANDBY, "FailedOver", id="a Tunnel that began with its standby"),
        pytest.param(STANDBY, PRIMARY, "FailedBack", id="back"),
        pytest.param(None, PRIMARY, None, id="a new Tunnel"),
        pytest.param(PRIMARY, PRIMARY, None, id="nothing happened"),
        pytest.param(STANDBY, STANDBY, None, id="nothing happened either"),
        pytest.param(STANDBY, None, None, id="the standby was taken out"),
    ],
)
def test_each_turn_is_one_event(
    before: v1alpha1.ActiveTarget | None, active: v1alpha1.ActiveTarget | None, reason: str | None
) -> None:
    scene = Scene()
    if active is STANDBY:
        scene.turn("us-1", "eu-1", "eu-1", why="No agent.")
    targets.record_turn(scene.context, shop(before), active, scene.turned)
    assert [note.reason for note in scene.notes] == ([reason] if reason else [])
    for note in scene.notes:
        assert (note.action, note.regarding["name"], note.is_warning) == ("TargetReady", "shop", active is STANDBY)
        text = "The standby answers at eu-1, us-1: No agent." if active is STANDBY else "The target answers again."
        assert note.text == text


# --- when to look again ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parts", "again_s"),
    [
        pytest.param(given(AGENT, URL), None, id="events tell all"),
        pytest.param(given(SERVICE, URL), targets.SERVICE_POLL_S, id="a Service"),
        pytest.param(given(URL, SERVICE, gone="standby"), targets.MISSING_POLL_S, id="one that is not there yet"),
    ],
)
def test_services_are_polled(parts: tunnels.TunnelInput, again_s: float | None) -> None:
    assert targets.look_again_s("team-a", parts.destinations) == again_s
