"""A context that can claim names and nothing else, at an API server that takes its time."""

import asyncio
from typing import Any

from hawse_operator import errors
from hawse_operator.control.hub import Hub
from hawse_operator.k8s import resources
from hawse_operator.reconcile.cache import Cache
from hawse_operator.reconcile.context import Context
from hawse_operator.reconcile.intake import Intake
from hawse_operator.reconcile.world import INDEXES, World
from support import objects
from support.objects import NOW


class SlowApi:
    """Answers a create after everybody has asked; the second one of a name is a conflict."""

    def __init__(self) -> None:
        self.versions = 100
        self.made: dict[str, dict[str, Any]] = {}

    async def create(self, _resource: object, body: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        name = body["metadata"]["name"]
        if name in self.made:
            raise errors.AlreadyExists(name)
        self.versions += 1
        self.made[name] = {**body, "metadata": objects.meta(name, version=self.versions) | body["metadata"]}
        return self.made[name]

    async def get(self, _resource: object, _namespace: str, name: str) -> dict[str, Any]:
        return self.made[name]


def context() -> Context:
    """Empty."""
    cache = Cache(resources.CACHED, INDEXES)
    intake = Intake(cache)
    # Only what claiming uses.
    parts: dict[str, Any] = dict.fromkeys(
        (
            "queue",
            "recorder",
            "settings",
            "look_ups",
            "providers",
            "resolver",
            "rotation",
            "session_root",
            "secret_versions",
            "key_sets",
        )
    )
    world = World(cache, Hub(lambda: NOW), lambda: NOW)
    return Context(client=SlowApi(), world=world, intake=intake, hub=world.hub, settles_at=NOW, **parts)  # type: ignore[arg-type]  # a fake
