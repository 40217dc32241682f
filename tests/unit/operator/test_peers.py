"""What exit nodes of a fleet are told of each other, through the real cache, world and hub."""

from types import SimpleNamespace
from typing import cast

import pytest

from hawse_operator.control.hub import Hub
from hawse_operator.k8s import resources
from hawse_operator.reconcile import peers
from hawse_operator.reconcile.cache import Cache, Key
from hawse_operator.reconcile.context import Context, FirstRound
from hawse_operator.reconcile.intake import Intake
from hawse_operator.reconcile.world import INDEXES, World
from support import objects
from support.objects import NOW

DEFAULT, OTHER = Key("peers", "", "default"), Key("peers", "", "other")


class Scene:
    """Two fleets: the first has pods in two regions."""

    def __init__(self) -> None:
        cache = Cache(resources.CACHED, INDEXES)
        self.intake = Intake(cache)
        self.hub = Hub(lambda: NOW)
        self.first_round = FirstRound({DEFAULT, OTHER})
        world = World(cache, self.hub, lambda: NOW)
        context = SimpleNamespace(world=world, hub=self.hub, first_round=self.first_round)
        self.reconciler = peers.PeersReconciler(cast("Context", context))
        self.see(resources.FLEETS, objects.fleet_body())
        self.see(resources.FLEETS, objects.fleet_body("other", "other.example.com"))
        self.see(resources.PODS, objects.pod_body("eu", "eu-1"))
        self.see(resources.PODS, objects.pod_body("us", "us-1", region="us-east", ready=False))
        self.see(resources.PODS, objects.pod_body("away", "elsewhere", fleet="other"))

    def see(self, resource: resources.Resource, body: objects.JsonObject, kind: str = "MODIFIED") -> None:
        self.intake.observe(resource, kind, body)

    async def listed(self, key: Key = DEFAULT) -> set[str]:
        """Keys that exit nodes of the fleet hold after a reconcile."""
        await self.reconciler.reconcile(key)
        uids = ("uid-eu", "uid-us", "uid-away", "uid-new")
        return {uid for uid in uids if self.hub.hash_of(key.name, f"peer/{uid}") is not None}


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_pods_of_all_regions_are_told_and_those_of_another_fleet_never(scene: Scene) -> None:
    assert await scene.listed() == {"uid-eu", "uid-us"}
    assert await scene.listed(OTHER) == {"uid-away"}


async def test_a_snapshot_is_not_whole_without_them(scene: Scene) -> None:
    await scene.listed()
    assert not scene.first_round.is_over
    await scene.listed(OTHER)
    assert scene.first_round.is_over


async def test_a_pod_that_came_is_told_and_one_that_went_is_taken_back(scene: Scene) -> None:
    await scene.listed()
    scene.see(resources.PODS, objects.pod_body("new", "eu-1", ip="127.0.1.7"))
    assert await scene.listed() == {"uid-eu", "uid-us", "uid-new"}
    scene.see(resources.PODS, objects.pod_body("eu", "eu-1", version=2), "DELETED")
    assert await scene.listed() == {"uid-us", "uid-new"}


async def test_a_pod_that_moved_is_told_anew_and_nothing_else_is(scene: Scene) -> None:
    await scene.listed()
    before = {uid: scene.hub.hash_of("default", f"peer/{uid}") for uid in ("uid-eu", "uid-us")}
    scene.see(resources.PODS, objects.pod_body("eu", "eu-1", ip="127.0.1.9", version=2))
    await scene.listed()
    assert scene.hub.hash_of("default", "peer/uid-eu") != before["uid-eu"]
    assert scene.hub.hash_of("default", "peer/uid-us") == before["uid-us"]


async def test_a_fleet_that_is_made_again_gets_them_again(scene: Scene) -> None:
    await scene.listed()
    scene.see(resources.FLEETS, objects.fleet_body(version=2), "DELETED")
    scene.hub.forget_fleet("default")
    assert await scene.listed() == set()
    scene.see(resources.FLEETS, objects.fleet_body(uid="uid-second", version=3), "ADDED")
    assert await scene.listed() == {"uid-eu", "uid-us"}
