"""What happens when the operator has been silent for too long, on a node without a core and a clock of the test's."""

import logging
from pathlib import Path
from typing import cast

import pytest

from hawse_api.ir import ir_pb2
from hawse_exitnode.holdings import Held, Holdings, Plane
from hawse_exitnode.node import Node
from hawse_exitnode.session_state import Moment
from hawse_exitnode.staleness_guard import KEEP_EVERY_S, StalenessGuard, read_clocks
from hawse_exitnode.store import Store

BOUND_S = 60.0
NOON = 1_795_521_600.0  # 2026-11-24 12:00 UTC


class FakeNode:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.holdings = Holdings(cast("Plane", None), "0")
        self.told: list[str] = []
        self.set_bound(BOUND_S)

    def set_bound(self, seconds: float) -> None:
        fleet = ir_pb2.Fleet(max_staleness_ms=round(seconds * 1000))
        self.holdings.objects["fleet"] = Held(ir_pb2.Object(key="fleet", fleet=fleet), "h")

    def set_stale(self, says: str) -> None:
        self.told.append(says)


class Scene:
    """A guard, and hours in no time."""

    def __init__(self, directory: Path) -> None:
        self.now = Moment(1000.0, NOON)
        self.node, self.store = FakeNode(), Store(directory)
        self.guard = self.new_process()

    def new_process(self) -> StalenessGuard:
        self.guard = StalenessGuard(cast("Node", self.node), self.store, lambda: self.now)
        return self.guard

    def wait(self, seconds: float, clock_jump_s: float = 0.0) -> None:
        self.now = Moment(self.now.at + seconds, self.now.unix + seconds + clock_jump_s)
        self.guard.check()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "state")


def test_agents_go_when_the_bound_is_over_and_come_back_with_the_operators_configuration(scene: Scene) -> None:
    scene.guard.on_synced(True)
    scene.wait(10 * BOUND_S)
    assert scene.node.told == []
    scene.guard.on_synced(False)
    scene.wait(BOUND_S)
    assert (scene.node.told, scene.guard.is_too_old, scene.guard.age_s) == ([], False, BOUND_S)
    scene.wait(1)
    assert scene.node.told == ["It last heard from its operator on 2026-11-24 at 12:10 UTC."]
    scene.wait(BOUND_S)
    assert (len(scene.node.told), scene.guard.is_too_old) == (1, True)
    scene.guard.on_synced(True)
    assert (scene.node.told[1:], scene.guard.is_too_old, scene.guard.age_s) == ([""], False, 0.0)


def test_each_turn_is_logged_once_and_half_of_the_bound_is_a_warning(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scene.guard.on_synced(False)
    for _ in range(8):
        scene.wait(BOUND_S / 4)
    scene.guard.on_synced(True)
    assert [(record.levelname, record.getMessage().split(":")[0]) for record in caplog.records] == [
        ("WARNING", "the operator has been silent for half of the time that agents may be served"),
        ("WARNING", "the configuration is too old"),
        ("INFO", "the configuration is fresh enough again"),
    ]


def test_a_bound_that_is_changed_counts_at_once(scene: Scene) -> None:
    scene.guard.on_synced(False)
    scene.wait(2 * BOUND_S)
    scene.node.set_bound(3 * BOUND_S)
    scene.wait(0)
    scene.node.set_bound(0)
    scene.wait(1e6)
    assert [bool(says) for says in scene.node.told] == [True, False]


@pytest.mark.parametrize("jump_s", [-1e6, 1e6])
def test_a_clock_that_jumps_changes_nothing_for_a_living_process(scene: Scene, jump_s: float) -> None:
    scene.guard.on_synced(False)
    scene.wait(BOUND_S / 2, jump_s)
    assert (scene.guard.age_s, scene.node.told) == (BOUND_S / 2, [])


async def test_a_restart_does_not_make_the_configuration_young_again(scene: Scene) -> None:
    scene.guard.on_synced(True)
    await scene.guard._keep()
    scene.guard.on_synced(False)
    scene.wait(40)
    scene.new_process().restore()
    assert (scene.guard.age_s, scene.node.told) == (40, [])
    scene.wait(21)
    assert len(scene.node.told) == 1
    scene.new_process().restore()
    assert len(scene.node.told) == 2, "too old from its first moment on"


async def test_a_clock_that_was_set_back_over_a_restart_means_waiting_for_the_operator(scene: Scene) -> None:
    scene.guard.on_synced(True)
    await scene.guard._keep()
    scene.wait(1, clock_jump_s=-1000)
    scene.new_process().restore()
    assert scene.node.told == ["It does not know when it last heard from its operator."]
    scene.guard.on_synced(True)
    assert scene.node.told[1:] == [""]


async def test_the_time_is_kept_now_and_then_and_only_while_the_operator_is_heard(scene: Scene) -> None:
    await scene.guard._keep()
    assert scene.store.load_heard() is None
    scene.guard.on_synced(True)
    for wait_s, kept in ((0.0, 0.0), (KEEP_EVERY_S - 1, 0.0), (1.0, KEEP_EVERY_S)):
        scene.wait(wait_s)
        await scene.guard._keep()
        assert scene.store.load_heard() == NOON + kept
    scene.guard.on_synced(False)
    scene.wait(KEEP_EVERY_S)
    await scene.guard._keep()
    assert scene.store.load_heard() == NOON + KEEP_EVERY_S


async def test_a_disk_that_is_full_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    scene = Scene(tmp_path / "file" / "state")
    scene.guard.on_synced(True)
    for _ in range(3):
        scene.wait(KEEP_EVERY_S)
        await scene.guard._keep()
    assert [record.getMessage() for record in caplog.records] == ["cannot keep when the operator was heard last"]


def test_the_clocks_are_the_machines() -> None:
    first, second = read_clocks(), read_clocks()
    assert first.at <= second.at
    assert second.unix > NOON - 365 * 86400
