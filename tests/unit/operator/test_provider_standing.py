"""How a policy stands with its provider: asked beside the reconcilers; what was said last counts while it is away."""

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator.policies import providers as decisions
from hawse_operator.reconcile import providers
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.lookups import LookUps
from support import objects
from support.objects import NOW

ISSUER = "https://id.example.com"
KEY = Key("accesspolicies", "team-a", "people")
GOOD = decisions.Fetched(
    json.dumps(
        {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
        }
    ).encode(),
    b'{"keys": [{}]}',
)
AWAY = decisions.Fetched(problem="GET https://id.example.com: no answer in time")


def policy(**status: Any) -> v1alpha1.AccessPolicy:
    return v1alpha1.AccessPolicy.from_object(
        {
            "apiVersion": names.API_VERSION,
            "kind": "AccessPolicy",
            "metadata": objects.meta("people", "team-a"),
            "spec": {"oidc": {"issuer": ISSUER, "clientID": "hawse"}},
            "status": status,
        }
    )


class Scene:
    """A provider that says what the test wants, and a clock."""

    def __init__(self, *answers: decisions.Fetched) -> None:
        self.answers, self.asked, self.now = list(answers), 0, NOW
        self.woken: asyncio.Queue[Key] = asyncio.Queue()
        self.providers = LookUps(self.fetch, self.woken.put_nowait, lambda: self.now)
        self.context: Any = self
        self.world = SimpleNamespace(fleets=dict, fleets_of_policy=lambda _policy: set())

    async def fetch(self, question: decisions.Question) -> decisions.Fetched:
        assert question == decisions.Question(ISSUER, ())
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]

    async def stand(self, found: v1alpha1.AccessPolicy) -> providers.Standing:
        assert found.spec.oidc is not None
        return await providers.stand(self.context, KEY, found, found.spec.oidc)

    async def stand_answered(self, found: v1alpha1.AccessPolicy) -> providers.Standing:
        """After the answer to what this asks."""
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self.providers.run())
            await self.stand(found)
            await self.woken.get()
            running.cancel()
        return await self.stand(found)


async def test_a_new_policy_waits_for_its_provider() -> None:
    standing = await Scene(GOOD).stand(policy())
    assert standing.provider is None
    assert standing.judgement.status is v1alpha1.ConditionStatus.UNKNOWN


async def test_a_provider_that_answers_is_discovered_and_asked_again_later() -> None:
    scene = Scene(GOOD)
    standing = await scene.stand_answered(policy())
    assert standing.provider is not None
    assert (standing.provider.token_endpoint, standing.keys) == (f"{ISSUER}/token", GOOD.keys)
    assert standing.judgement.reason == names.Reason.DISCOVERED
    assert standing.again == providers.REFRESH
    await scene.stand(policy())
    assert scene.asked == 1
    scene.now += timedelta(minutes=11)
    await scene.stand_answered(policy())
    assert scene.asked == 2


async def test_one_that_was_never_reached_is_none_and_asked_again_soon() -> None:
    standing = await Scene(AWAY).stand_answered(policy())
    assert standing.provider is None
    assert standing.judgement.reason == names.Reason.PROVIDER_UNREACHABLE
    assert "no answer in time Until it does, nobody is let in." in standing.judgement.message
    assert standing.again == providers.RETRY


async def test_what_it_said_last_counts_while_it_is_away_also_for_the_next_leader() -> None:
    said = (await Scene(GOOD).stand_answered(policy())).provider
    assert said is not None
    known = policy(provider=said.dump())
    for standing in (await Scene(AWAY).stand(known), await Scene(AWAY).stand_answered(known)):
        assert standing.provider == said
    assert standing.judgement.status is v1alpha1.ConditionStatus.FALSE
    assert "What it said before counts on." in standing.judgement.message


async def test_what_another_issuer_said_does_not_count() -> None:
    said = (await Scene(GOOD).stand_answered(policy())).provider
    assert said is not None
    known = policy(provider=said.dump() | {"issuer": "https://other.example.com"})
    assert (await Scene(AWAY).stand(known)).provider is None
