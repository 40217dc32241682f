"""Workers that claim at the same time: a namespace gets as many names as its quota allows, no more."""

import asyncio
from types import SimpleNamespace
from typing import Any

from hawse_api import v1alpha1
from hawse_operator.control.hub import Hub
from hawse_operator.k8s import resources
from hawse_operator.policies import claims
from hawse_operator.reconcile.cache import Cache
from hawse_operator.reconcile.claiming import claim_name
from hawse_operator.reconcile.context import Context
from hawse_operator.reconcile.intake import Intake
from hawse_operator.reconcile.world import INDEXES, World
from support import objects
from support.objects import NOW

QUOTAS = v1alpha1.Quotas(tunnels_per_namespace=3, reservations_per_namespace=4)


class SlowApi:
    """Answers a create after everybody has asked."""

    def __init__(self) -> None:
        self.versions = 100

    async def create(self, _resource: object, body: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        self.versions += 1
        metadata = objects.meta(body["metadata"]["name"], version=self.versions)
        return {**body, "metadata": metadata | body["metadata"]}


def context() -> Context:
    cache = Cache(resources.CACHED, INDEXES)
    intake = Intake(cache)
    # Only what claiming uses.
    parts: dict[str, Any] = dict.fromkeys(("queue", "recorder", "settings", "look_ups", "rotation", "secret_versions"))
    world = World(cache, Hub(lambda: NOW), lambda: NOW)
    return Context(client=SlowApi(), world=world, intake=intake, hub=world.hub, settles_at=NOW, **parts)  # type: ignore[arg-type]  # a fake


async def claim(found: Context, name: str) -> claims.Claim | None:
    claimant = claims.Claimant("team-a", "uid-team-a", name, f"uid-{name}", v1alpha1.ReclaimPolicy.RETAIN)
    return await claim_name(found, f"{name}.tunnels.example.com", claimant, QUOTAS, may_claim=True)


def held(found: list[claims.Claim | None]) -> int:
    return sum(isinstance(one, claims.Held) for one in found)


async def test_claims_at_the_same_moment_do_not_pass_the_quota() -> None:
    found = context()
    answers = await asyncio.gather(*(claim(found, f"t{number}") for number in range(8)))
    assert held(answers) == 3
    assert sum(claims.is_over_quota(answer) for answer in answers) == 5
    assert not found.claims_under_way, "nothing is left behind"


async def test_a_name_that_could_not_be_had_leaves_its_place_free() -> None:
    found = context()

    async def fail(*_: object) -> None:
        raise RuntimeError

    found.client = SimpleNamespace(create=fail)  # type: ignore[assignment]  # a fake
    results = await asyncio.gather(*(claim(found, f"t{number}") for number in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [RuntimeError] * 3
    found.client = SlowApi()  # type: ignore[assignment]  # a fake
    assert held([await claim(found, f"u{number}") for number in range(4)]) == 3
