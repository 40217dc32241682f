"""The hub and its outboxes as event scripts: what is published, what a node is told, what reconcile hears."""

from datetime import UTC, datetime, timedelta

import pytest

from hawse_api.ir import control_pb2, ir_pb2
from hawse_operator.control.hub import (
    AcksChanged,
    AckView,
    Change,
    Hub,
    NodeIdentity,
    NodesChanged,
    SessionsChanged,
    TargetsChanged,
    TargetView,
    hash_material,
    hash_object,
)
from hawse_operator.control.outbox import MAX_REPLIES, Outbox

NODE = NodeIdentity("eu-west-1", "pod-a", "eu-west", "default", "example.com")


def tunnel(uid: str = "1", hostname: str = "shop.example.com") -> ir_pb2.Object:
    return ir_pb2.Object(key=f"tunnel/{uid}", tunnel=ir_pb2.Tunnel(uid=uid, hostname=hostname))


def fleet() -> ir_pb2.Object:
    return ir_pb2.Object(key="fleet", fleet=ir_pb2.Fleet(name="default"))


class World:
    """A hub with a clock and everything it announced."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, tzinfo=UTC)
        self.hub = Hub(lambda: self.now)
        self.changes: list[Change] = []
        self.woken = 0
        self.hub.on_change = self.changes.append

    def connect(self, have: dict[str, str] | None = None, node: NodeIdentity = NODE) -> Outbox:
        return self.hub.connect(node, control_pb2.NodeHello(version="0.1.0", have=have or {}), self.wake)

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def world() -> World:
    return World()


def drain(outbox: Outbox) -> list[str]:
    """Everything it has to say, shortly."""
    said = []
    while (message := outbox.take()) is not None:
        match message.WhichOneof("message"):
            case "upsert":
                assert message.hash == hash_object(message.upsert)
                said.append(f"+{message.upsert.key}")
            case "remove":
                said.append(f"-{message.remove}")
            case "material":
                said.append(f"+{message.material.id}")
            case "end_of_snapshot":
                said.append(f"end {','.join(message.end_of_snapshot.keys)}")
            case other:
                said.append(str(other))
    return said


def test_a_new_node_gets_material_fleet_and_tokens_before_tunnels_and_then_the_end(world: World) -> None:
    world.hub.publish("default", tunnel())
    world.hub.publish("default", ir_pb2.Object(key="token/t", token=ir_pb2.AgentToken(uid="t")))
    world.hub.publish("default", fleet())
    world.hub.put_certificate("default", "certificate/a", b"chain", b"key")
    world.hub.complete("default")
    assert drain(world.connect()) == [
        "+certificate/a",
        "+fleet",
        "+token/t",
        "+tunnel/1",
        "end material/certificate/a,fleet,token/t,tunnel/1",
    ]


def test_a_node_that_has_it_all_is_only_told_the_end(world: World) -> None:
    world.hub.publish("default", tunnel())
    world.hub.put_certificate("default", "certificate/a", b"chain", b"key")
    world.hub.complete("default")
    have = {"tunnel/1": hash_object(tunnel()), "material/certificate/a": hash_material(b"chain", b"key")}
    assert drain(world.connect(have)) == ["end material/certificate/a,tunnel/1"]
    assert world.hub.acks("default", "tunnel/1") == {"pod-a": AckView(hash_object(tunnel()), "")}


def test_the_end_waits_until_the_fleet_is_complete_and_what_comes_meanwhile_is_not_sent_twice(world: World) -> None:
    outbox = world.connect({"tunnel/1": hash_object(tunnel())})
    assert drain(outbox) == []
    world.hub.publish("default", tunnel())
    assert drain(outbox) == [], "it has that one from before"
    world.hub.publish("default", tunnel("2"))
    assert drain(outbox) == ["+tunnel/2"]
    world.hub.complete("default")
    world.hub.complete("default")
    assert drain(outbox) == ["end tunnel/1,tunnel/2"]


def test_changes_come_one_by_one_after_the_end(world: World) -> None:
    world.hub.complete("default")
    outbox = world.connect()
    assert drain(outbox) == ["end "]
    world.hub.publish("default", tunnel())
    assert drain(outbox) == ["+tunnel/1"]
    world.hub.publish("default", tunnel())
    assert drain(outbox) == []
    world.hub.retract("default", "tunnel/1")
    world.hub.retract("default", "tunnel/1")
    assert drain(outbox) == ["-tunnel/1"]


def test_a_slow_node_is_told_the_newest_form_once_however_often_it_changed(world: World) -> None:
    world.hub.complete("default")
    outbox = world.connect()
    drain(outbox)
    for number in range(1000):
        world.hub.publish("default", tunnel(hostname=f"h{number}.example.com"))
    message = outbox.take()
    assert message is not None
    assert message.upsert.tunnel.hostname == "h999.example.com"
    assert drain(outbox) == []


def test_what_comes_and_goes_unsent_is_never_mentioned(world: World) -> None:
    world.hub.complete("default")
    outbox = world.connect()
    drain(outbox)
    world.hub.publish("default", tunnel())
    world.hub.retract("default", "tunnel/1")
    assert drain(outbox) == []


def test_before_the_end_removals_are_said_by_its_list_only(world: World) -> None:
    world.hub.publish("default", tunnel())
    outbox = world.connect()
    assert drain(outbox) == ["+tunnel/1"]
    world.hub.retract("default", "tunnel/1")
    world.hub.complete("default")
    assert drain(outbox) == ["end "]


def test_a_published_object_is_a_copy(world: World) -> None:
    obj = tunnel()
    world.hub.publish("default", obj)
    digest = world.hub.hash_of("default", "tunnel/1")
    obj.tunnel.hostname = "changed.example.com"
    assert hash_object(obj) != digest
    outbox = world.connect()
    message = outbox.take()
    assert message is not None
    assert message.upsert.tunnel.hostname == "shop.example.com"


@pytest.mark.parametrize("key", ["", "material/certificate/a"])
def test_an_object_needs_a_key_of_its_own(world: World, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        world.hub.publish("default", ir_pb2.Object(key=key))


def test_acks_are_kept_per_pod_and_announced(world: World) -> None:
    world.hub.publish("default", tunnel())
    outbox = world.connect()
    drain(outbox)
    world.changes.clear()
    digest = world.hub.hash_of("default", "tunnel/1") or ""
    world.hub.acknowledge(NODE, outbox, control_pb2.Ack(key="tunnel/1", hash=digest, error="no"))
    assert world.hub.acks("default", "tunnel/1") == {"pod-a": AckView(digest, "no")}
    assert world.changes == [AcksChanged("default", frozenset({"tunnel/1"}))]
    world.hub.retract("default", "tunnel/1")
    drain(outbox)
    world.hub.acknowledge(NODE, outbox, control_pb2.Ack(key="tunnel/1"))
    assert world.hub.acks("default", "tunnel/1") == {}


def test_acks_that_nobody_asked_for_are_not_kept(world: World) -> None:
    outbox = world.connect()
    world.hub.acknowledge(NODE, outbox, control_pb2.Ack(key="tunnel/invented", hash="h"))
    assert world.hub.acks("default", "tunnel/invented") == {}


def test_the_ack_of_the_snapshot_makes_the_node_done(world: World) -> None:
    outbox = world.connect()
    assert not world.hub.nodes("default")["pod-a"].snapshot_done
    world.hub.acknowledge(NODE, outbox, control_pb2.Ack(key="snapshot"))
    view = world.hub.nodes("default")["pod-a"]
    assert (view.snapshot_done, view.connected, view.exit_node, view.version) == (True, True, "eu-west-1", "0.1.0")


def test_a_newer_stream_ends_the_older_whose_words_no_longer_count(world: World) -> None:
    old = world.connect()
    new = world.connect()
    assert old.end_reason is not None
    assert new.end_reason is None
    world.hub.acknowledge(NODE, old, control_pb2.Ack(key="snapshot"))
    world.hub.disconnect(NODE, old)
    view = world.hub.nodes("default")["pod-a"]
    assert (view.connected, view.snapshot_done) == (True, False)


def session(owner: str = "t1", rtt: int = 1) -> control_pb2.Session:
    return control_pb2.Session(token_uid=owner, agent_id="a", rtt_ms=rtt, connected_at=1_700_000_000)


def test_a_report_replaces_what_was_known_and_names_the_tokens_concerned(world: World) -> None:
    outbox = world.connect()
    world.changes.clear()
    world.hub.report(NODE, outbox, control_pb2.SessionReport(sessions=[session("t1"), session("t2")]))
    world.hub.report(NODE, outbox, control_pb2.SessionReport(sessions=[session("t1"), session("t2")]))
    world.hub.report(NODE, outbox, control_pb2.SessionReport(sessions=[session("t1")]))
    assert world.changes == [
        SessionsChanged("default", frozenset({"t1", "t2"})),
        SessionsChanged("default", frozenset({"t2"})),
    ]
    (view,) = world.hub.sessions("default")
    assert (view.pod, view.region, view.connected_at) == (
        "pod-a",
        "eu-west",
        datetime.fromtimestamp(1_700_000_000, UTC),
    )


def test_targets_are_replaced_by_each_report_and_go_with_the_pod(world: World) -> None:
    def report(*standbys: str) -> control_pb2.TargetReport:
        states = [control_pb2.TargetState(tunnel_uid=uid, standby=True, reason="No agent.") for uid in standbys]
        return control_pb2.TargetReport(targets=[*states, control_pb2.TargetState(tunnel_uid="u9")])

    outbox = world.connect()
    world.changes.clear()
    world.hub.report_targets(NODE, outbox, report("u1", "u2"))
    world.hub.report_targets(NODE, outbox, report("u1"))
    world.hub.report_targets(NODE, outbox, report("u1"))
    assert world.changes == [
        TargetsChanged("default", frozenset({"u1", "u2"})),
        TargetsChanged("default", frozenset({"u2"})),
    ]
    assert world.hub.standbys("default", "u1") == [TargetView("u1", "No agent.", "eu-west-1")]
    assert world.hub.standbys("default", "u2") == []
    world.changes.clear()
    world.hub.forget_node("default", "pod-a")
    assert TargetsChanged("default", frozenset({"u1"})) in world.changes
    assert world.hub.standbys("default", "u1") == []


def test_a_time_out_of_range_in_a_report_is_no_crash(world: World) -> None:
    outbox = world.connect()
    report = control_pb2.SessionReport(
        sessions=[control_pb2.Session(connected_at=-5), control_pb2.Session(connected_at=2**62)]
    )
    world.hub.report(NODE, outbox, report)
    assert len(world.hub.sessions("default")) == 2


def test_sessions_of_a_silent_pod_count_for_thirty_seconds_and_the_pod_for_ten_minutes(world: World) -> None:
    world.hub.publish("default", tunnel())
    outbox = world.connect({"tunnel/1": "h"})
    world.hub.report(NODE, outbox, control_pb2.SessionReport(sessions=[session()]))
    world.hub.disconnect(NODE, outbox)
    world.changes.clear()
    world.now += timedelta(seconds=29)
    world.hub.sweep()
    assert world.changes == []
    world.now += timedelta(seconds=1)
    world.hub.sweep()
    assert world.changes == [SessionsChanged("default", frozenset({"t1"}))]
    world.now += timedelta(minutes=10)
    world.hub.sweep()
    assert world.hub.nodes("default") == {}
    assert world.changes[1:] == [AcksChanged("default", frozenset({"tunnel/1"})), NodesChanged("default")]


def test_a_pod_and_a_fleet_can_be_forgotten_at_once(world: World) -> None:
    outbox = world.connect()
    world.hub.forget_node("default", "pod-a")
    world.hub.forget_node("default", "pod-a")
    assert (outbox.end_reason, world.hub.nodes("default")) == ("the pod was deleted", {})
    outbox = world.connect()
    world.hub.publish("default", tunnel())
    world.hub.forget_fleet("default")
    world.hub.forget_fleet("default")
    assert outbox.end_reason == "the Fleet was deleted"
    assert world.hub.hash_of("default", "tunnel/1") is None


def test_fleets_do_not_see_each_other(world: World) -> None:
    world.hub.publish("other", tunnel())
    world.hub.complete("other")
    assert drain(world.connect()) == []
    assert world.hub.sessions("other") == []


def test_every_stream_is_ended_when_the_operator_stops(world: World) -> None:
    outbox = world.connect()
    world.hub.end_all("bye")
    world.hub.end_all("again")
    assert outbox.end_reason == "bye"


def test_replies_go_first_and_are_bounded(world: World) -> None:
    world.hub.publish("default", tunnel())
    outbox = world.connect()
    for number in range(MAX_REPLIES + 3):
        outbox.reply(control_pb2.FromOperator(relay=control_pb2.RelayReply(id=number)))
    first = outbox.take()
    assert first is not None
    assert first.relay.id == 3
    assert len(drain(outbox)) == MAX_REPLIES


def test_a_node_is_woken_for_what_concerns_it_only(world: World) -> None:
    world.hub.publish("default", tunnel())
    world.connect({"tunnel/1": hash_object(tunnel())})
    before = world.woken
    world.hub.publish("other", tunnel("2"))
    world.hub.publish("default", tunnel())
    assert world.woken == before
    world.hub.put_certificate("default", "certificate/a", b"c", b"k")
    world.hub.put_certificate("default", "certificate/a", b"c", b"k")
    assert world.woken == before + 1


def test_a_last_word_is_seen_in_last_seen(world: World) -> None:
    outbox = world.connect()
    world.now += timedelta(seconds=7)
    world.hub.seen(NODE, outbox)
    assert world.hub.nodes("default")["pod-a"].last_seen == world.now


def test_sign_ins_that_ended_at_one_node_are_published_to_all_once(world: World) -> None:
    outbox = world.connect()
    now = int(world.hub._clock().timestamp())
    said = control_pb2.RevokeSessions(ended={"mark": now})
    world.hub.end_sign_ins(NODE, outbox, said)
    first = world.hub.hash_of("default", "revoked")
    assert first is not None
    world.hub.end_sign_ins(NODE, outbox, said)
    assert world.hub.hash_of("default", "revoked") == first
    stale = world.connect()
    world.hub.end_sign_ins(NODE, outbox, control_pb2.RevokeSessions(ended={"late": now}))  # of a replaced stream
    assert world.hub.hash_of("default", "revoked") == first
    world.hub.end_sign_ins(NODE, stale, control_pb2.RevokeSessions(ended={"other": now}))
    assert world.hub.hash_of("default", "revoked") != first
