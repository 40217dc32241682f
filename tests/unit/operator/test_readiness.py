"""Programmed, TargetReady and Ready from acks and sessions."""

import pytest

from hawse_api import v1alpha1
from hawse_operator.policies import facts, readiness
from hawse_operator.policies.facts import AckState, PodAck
from support.objects import pod_body, tunnel

IN_FORCE, PENDING, REFUSED, AWAY = AckState.IN_FORCE, AckState.PENDING, AckState.REFUSED, AckState.AWAY


def acks(**states: AckState) -> list[PodAck]:
    return [PodAck(f"pod-{region}", region, state, "no such feature: x") for region, state in states.items()]


def judge(given: list[PodAck], *, is_desired: bool = True, settling: bool = False) -> v1alpha1.Judgement | None:
    return readiness.judge_programmed(given, is_desired=is_desired, fleet="default", settling=settling)


@pytest.mark.parametrize(
    ("given", "status", "reason", "message"),
    [
        pytest.param(acks(eu=IN_FORCE, us=IN_FORCE), "True", "Programmed", "In force in eu, us.", id="everywhere"),
        pytest.param(
            acks(eu=IN_FORCE, us=PENDING), "False", "Pending", "Waiting for exit nodes in us.", id="one waits"
        ),
        pytest.param(acks(eu=IN_FORCE, us=AWAY), "True", "Programmed", "In force in eu.", id="one is away"),
        pytest.param(
            acks(eu=IN_FORCE, us=REFUSED),
            "False",
            "RefusedByExitNode",
            "Exit node pod pod-us in us refuses it: no such feature: x",
            id="one refuses",
        ),
        pytest.param([], "False", "NoExitNode", None, id="there is none"),
        pytest.param(acks(eu=AWAY), "False", "NoExitNode", None, id="all are away"),
    ],
)
def test_programmed_means_in_force_on_every_ready_pod(
    given: list[PodAck], status: str, reason: str, message: str | None
) -> None:
    found = judge(given)
    assert found is not None
    assert (found.status, found.reason) == (status, reason)
    if message is not None:
        assert found.message == message


def test_a_new_leader_does_not_judge_before_exit_nodes_are_back() -> None:
    assert judge(acks(eu=IN_FORCE, us=AWAY), settling=True) is None
    assert judge([], settling=True) is None
    found = judge(acks(eu=IN_FORCE, us=REFUSED), settling=True)
    assert found is not None, "a refusal is known at once"


def test_what_is_not_published_is_not_programmed() -> None:
    found = judge(acks(eu=IN_FORCE), is_desired=False)
    assert found is not None
    assert (found.status, found.reason) == ("False", "Pending")


def test_a_region_is_ready_when_all_its_connected_pods_are() -> None:
    given = [
        PodAck("a", "eu", IN_FORCE),
        PodAck("b", "eu", PENDING),
        PodAck("c", "us", IN_FORCE),
        PodAck("d", "us", AWAY),
        PodAck("e", "ap", AWAY),
    ]
    found = [(region.name, region.ready) for region in readiness.regions_of(given)]
    assert found == [("eu", False), ("us", True)]


def test_an_agent_is_named_with_the_exit_nodes_that_it_is_on() -> None:
    found = readiness.judge_target({"us-1", "eu-1"}, token="laptop", settling=False)
    assert found is not None
    assert (found.reason, found.message) == ("AgentConnected", "An agent is connected through eu-1, us-1.")


def test_a_missing_agent_is_told_how_to_come() -> None:
    found = readiness.judge_target((), token="laptop", settling=False)
    assert found is not None
    assert (found.status, found.reason) == ("False", "NoAgent")
    assert "hawse login" in found.message
    assert readiness.judge_target((), token="laptop", settling=True) is None


def test_the_agent_of_a_tcp_tunnel_has_a_verb_of_its_own() -> None:
    found = readiness.judge_target((), token="laptop", settling=False, is_tcp=True)
    assert found is not None
    assert found.message.endswith("then hawse tcp <port>.")


def test_ready_lends_the_reason_of_the_first_condition_that_does_not_hold() -> None:
    judgements = [v1alpha1.judge("A", True, "Fine"), v1alpha1.judge("B", False, "Broken", "Mend it.")]
    found = readiness.judge_ready(judgements, ("A", "B", "C"))
    assert (found.status, found.reason, found.message) == ("False", "Broken", "Mend it.")
    assert readiness.judge_ready(judgements, ("A",)).status == "True"
    missing = readiness.judge_ready(judgements, ("C",))
    assert (missing.status, missing.message) == ("False", "C is not known yet.")


READY, UNREADY = (facts.read_pod(pod_body(name, ready=ready)) for name, ready in (("up", True), ("down", False)))


@pytest.mark.parametrize(
    ("pods", "connected", "wanted", "settling", "reason"),
    [
        pytest.param([READY], {"up"}, 1, False, "Available", id="ready and connected"),
        pytest.param([UNREADY], {"down"}, 1, False, "Unavailable", id="no ready pod"),
        pytest.param([], set(), 1, False, "Unavailable", id="no pod"),
        pytest.param([READY, UNREADY], {"up"}, 2, False, "PartlyAvailable", id="one of two"),
        pytest.param([READY], {"up"}, 0, False, "Unavailable", id="scaled to nothing"),
        pytest.param([READY], set(), 1, False, "Pending", id="not connected"),
        pytest.param([READY], set(), 1, True, None, id="not connected to a new leader yet"),
        pytest.param([READY, UNREADY], {"up"}, 1, False, "Available", id="an old pod that leaves does not count"),
    ],
)
def test_an_exit_node_is_programmed_when_its_pods_have_everything(
    pods: list[facts.Pod], connected: set[str], wanted: int, settling: bool, reason: str | None
) -> None:
    found = readiness.judge_exit_node(pods, connected, wanted=wanted, settling=settling)
    assert (found.reason if found else None) == reason


def test_a_pod_that_ends_is_not_ready() -> None:
    assert not facts.read_pod(pod_body("a", deletionTimestamp="2026-01-01T00:00:00Z")).is_ready
    assert facts.read_pod({"metadata": {"name": "bare"}}).ip == ""
    assert facts.read_namespace({"metadata": {"name": "n"}}) == facts.Namespace("n", "", {})


def test_a_new_leader_does_not_take_back_what_was_in_force_while_acks_are_on_their_way() -> None:
    def known(*, settling: bool, was_in_force: bool) -> bool:
        given = acks(eu=IN_FORCE, us=PENDING)
        found = readiness.judge_programmed(
            given, is_desired=True, fleet="default", settling=settling, was_in_force=was_in_force
        )
        return found is not None

    assert not known(settling=True, was_in_force=True)
    assert known(settling=True, was_in_force=False), "an edit during the settling time is shown as Pending"
    assert known(settling=False, was_in_force=True)


@pytest.mark.parametrize(("state", "is_waiting"), [(PENDING, True), (AWAY, True), (IN_FORCE, False), (REFUSED, False)])
def test_a_pod_that_has_said_nothing_is_waited_for(state: AckState, is_waiting: bool) -> None:
    assert readiness.is_waiting(acks(eu=IN_FORCE, us=state)) is is_waiting


def test_a_target_that_exit_nodes_dial_waits_for_nobody() -> None:
    url = tunnel(spec={"target": {"type": "URL", "url": "https://eu.example.com"}}).spec.target
    service = tunnel(spec={"target": {"type": "Service", "service": {"name": "web", "port": 80}}}).spec.target
    found = readiness.judge_dialled(url)
    assert (found.status, found.reason) == ("True", "Dialled")
    assert found.message == "Exit nodes dial https://eu.example.com for each visitor."
    assert readiness.judge_dialled(service).message == "Exit nodes dial Service web for each visitor."
