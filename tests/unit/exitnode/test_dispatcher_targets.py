"""What the dispatcher tells the operator of turned targets, and what it logs."""

import logging
from typing import cast

import pytest

from hawse_api.ir import core_pb2
from hawse_exitnode.backhaul import Backhaul
from hawse_exitnode.dispatcher import Dispatcher
from hawse_exitnode.session_state import NodeFacts, State
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import TargetsTurned


class Core:
    """A core that has these events and ends."""

    def __init__(self, *events: TargetsTurned) -> None:
        self._events = events

    async def events(self):  # type: ignore[no-untyped-def]
        for event in self._events:
            yield event


def turned(**standbys: bool) -> TargetsTurned:
    targets = [core_pb2.TargetTurned(tunnel_uid=uid, standby=on, reason="No agent.") for uid, on in standbys.items()]
    return TargetsTurned(core_pb2.Targets(targets=targets))


async def test_the_newest_event_is_reported_and_each_turn_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    core = Core(turned(u1=True, u2=False), turned(u1=True, u2=True), turned(u1=False, u2=True))
    facts, data_plane = NodeFacts("0", "eu-1", "eu", "pod", "example.com"), cast("TunnelCore", core)
    backhaul = Backhaul(data_plane, facts)
    dispatcher = Dispatcher(data_plane, State(facts, static=True), lambda _: False, backhaul)
    assert not dispatcher.target_report().targets
    await dispatcher.run()
    (found,) = dispatcher.target_report().targets
    assert (found.tunnel_uid, found.standby, found.reason) == ("u2", True, "No agent.")
    told = [(record.__dict__["tunnel"], record.__dict__["to"]) for record in caplog.records]
    assert told == [("u1", "standby"), ("u2", "standby"), ("u1", "primary")]
