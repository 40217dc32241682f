"""Releasing names: an absence counts only when the API server confirms it."""

from typing import Any, NoReturn

import pytest

from hawse_operator import errors
from hawse_operator.control import ca
from hawse_operator.control.hub import Hub
from hawse_operator.control.rotation import Rotation
from hawse_operator.k8s import resources
from hawse_operator.policies.balancers import Found
from hawse_operator.reconcile.cache import Cache, Key
from hawse_operator.reconcile.context import Context
from hawse_operator.reconcile.intake import Intake
from hawse_operator.reconcile.key_sets import KeySets
from hawse_operator.reconcile.lookups import LookUps
from hawse_operator.reconcile.queue import Queue
from hawse_operator.reconcile.reservations import ReservationReconciler
from hawse_operator.reconcile.secret_versions import SecretVersions
from hawse_operator.reconcile.world import INDEXES, World
from hawse_operator.settings import Settings
from support import objects
from support.objects import NOW

HOST = "shop.tunnels.example.com"
KEY = Key("subdomainreservations", "", HOST)


class FakeApi:
    """An API server that has what the cache may lack."""

    def __init__(self, *bodies: tuple[resources.Resource, dict[str, Any]]) -> None:
        self.bodies = {(resource.plural, body["metadata"]["name"]): body for resource, body in bodies}
        self.writes: list[tuple[str, Any]] = []

    async def get(self, resource: resources.Resource, _namespace: str, name: str) -> dict[str, Any]:
        try:
            return self.bodies[resource.plural, name]
        except KeyError:
            raise errors.NotFound(name) from None

    async def merge(self, _resource: object, _namespace: str, _name: str, patch: dict[str, Any]) -> dict[str, Any]:
        self.writes.append(("merge", patch))
        body = objects.reservation_body(HOST)
        return {**body, "metadata": {**body["metadata"], "resourceVersion": "2"}, "spec": patch["spec"]}

    async def delete(self, _resource: object, _namespace: str, name: str, **preconditions: str) -> None:
        self.writes.append(("delete", (name, preconditions)))

    async def apply_status(self, *_: Any, **__: Any) -> dict[str, Any]:
        self.writes.append(("status", None))
        return objects.reservation_body(HOST)


class NoEvents:
    def record(self, _note: object) -> None:
        raise AssertionError("reservations tell nothing that Tunnels do not")


async def no_server(_question: object) -> NoReturn:
    raise AssertionError("reservations ask no server")


class NoDns:
    async def addresses(self, hostname: str) -> Found:
        raise AssertionError("reservations ask no name server")


def context(api: FakeApi, *known: tuple[resources.Resource, dict[str, Any]], watched: str = "") -> Context:
    cache = Cache(resources.CACHED, INDEXES)
    intake, hub = Intake(cache), Hub(lambda: NOW)
    for resource, body in known:
        intake.observe(resource, None, body)
    settings = Settings(
        pod_name="p", pod_namespace="hawse-system", pod_ip="127.0.0.1", watch_namespaces=(watched,) if watched else ()
    )
    queue = Queue(lambda: 0.0)
    return Context(
        client=api,  # type: ignore[arg-type]  # a fake
        world=World(cache, hub, lambda: NOW),
        intake=intake,
        hub=hub,
        queue=queue,
        recorder=NoEvents(),  # type: ignore[arg-type]  # a fake
        settings=settings,
        look_ups=LookUps(no_server, lambda _key: None, lambda: NOW),
        providers=LookUps(no_server, lambda _key: None, lambda: NOW),
        session_root=bytes(32),
        resolver=NoDns(),
        rotation=Rotation(ca.new_ca(NOW)),
        secret_versions=SecretVersions(api, queue),  # type: ignore[arg-type]  # a fake
        key_sets=KeySets(queue.add, lambda: NOW),
        settles_at=NOW,
    )


FLEET = (resources.FLEETS, objects.fleet_body())
NAMESPACE = (resources.NAMESPACES, objects.namespace_body("team-a"))
TUNNEL = (resources.TUNNELS, objects.tunnel_body())
RESERVATION = (resources.RESERVATIONS, objects.reservation_body(HOST))


async def reconcile(found: Context) -> float | None:
    return await ReservationReconciler(found).reconcile(KEY)


async def test_a_held_name_gets_its_status_only() -> None:
    api = FakeApi()
    await reconcile(context(api, FLEET, NAMESPACE, TUNNEL, RESERVATION))
    assert [kind for kind, _ in api.writes] == ["status"]


async def test_a_tunnel_that_the_cache_does_not_know_yet_is_looked_up_before_its_name_is_released() -> None:
    api = FakeApi(NAMESPACE, TUNNEL)
    await reconcile(context(api, FLEET, RESERVATION))
    assert [kind for kind, _ in api.writes] == ["status"]


async def test_a_name_without_its_tunnel_is_released_for_the_time_of_the_fleet() -> None:
    api = FakeApi(NAMESPACE)
    assert await reconcile(context(api, FLEET, NAMESPACE, RESERVATION)) == 0.0
    ((kind, patch),) = api.writes
    assert kind == "merge"
    assert patch["metadata"]["resourceVersion"] == "1"
    assert patch["spec"]["releasedAt"] == "2026-03-01T12:00:00Z"
    assert patch["spec"]["expiresAt"] == "2026-05-30T12:00:00Z"


async def test_a_name_of_a_deleted_fleet_is_kept_while_its_tunnel_is_there() -> None:
    api = FakeApi()
    await reconcile(context(api, NAMESPACE, TUNNEL, RESERVATION))
    assert [kind for kind, _ in api.writes] == ["status"]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"reclaimPolicy": "Delete"}, id="policy Delete"),
        pytest.param(
            {"releasedAt": "2026-01-01T00:00:00Z", "expiresAt": "2026-02-01T00:00:00Z"}, id="an expired tombstone"
        ),
    ],
)
async def test_a_name_that_is_not_kept_is_deleted_as_it_was_read(spec: dict[str, str]) -> None:
    api = FakeApi(NAMESPACE)
    found = context(api, FLEET, NAMESPACE, (resources.RESERVATIONS, objects.reservation_body(HOST, **spec)))
    await reconcile(found)
    assert api.writes == [("delete", (HOST, {"uid": f"uid-{HOST}", "resource_version": "1"}))]
    assert found.world.reservation(HOST) is None


async def test_a_tombstone_is_looked_at_again_when_it_expires() -> None:
    api = FakeApi()
    spec = {"releasedAt": "2026-02-01T00:00:00Z", "expiresAt": "2026-03-01T13:00:00Z"}
    found = context(api, FLEET, NAMESPACE, (resources.RESERVATIONS, objects.reservation_body(HOST, **spec)))
    assert await reconcile(found) == 3600.0


async def test_a_name_of_a_namespace_that_is_not_watched_is_left_alone() -> None:
    api = FakeApi()
    assert await reconcile(context(api, FLEET, RESERVATION, watched="team-b")) is None
    assert api.writes == []


async def test_a_deleted_reservation_is_nothing_to_do() -> None:
    assert await reconcile(context(FakeApi(), FLEET)) is None


async def test_an_unreadable_reservation_is_never_released() -> None:
    api = FakeApi()
    bad = {**objects.reservation_body(HOST), "spec": {"nonsense": True}}
    await reconcile(context(api, FLEET, (resources.RESERVATIONS, bad)))
    assert [kind for kind, _ in api.writes] == ["status"]
