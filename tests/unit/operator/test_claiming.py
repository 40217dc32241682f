"""Workers that claim at the same time: a namespace gets as many names as its quota allows, no more."""

import asyncio
from types import SimpleNamespace

from hawse_api import v1alpha1
from hawse_operator.policies import claims
from hawse_operator.reconcile.claiming import claim_name
from hawse_operator.reconcile.context import Context
from support.claiming import SlowApi, context

QUOTAS = v1alpha1.Quotas(tunnels_per_namespace=3, reservations_per_namespace=4)


async def claim(found: Context, name: str) -> claims.Claim | None:
    claimant = claims.Claimant("team-a", "uid-team-a", name, f"uid-{name}", v1alpha1.ReclaimPolicy.RETAIN)
    return await claim_name(found, f"{name}.tunnels.example.com", claimant, QUOTAS, may_claim=True)


def held(found: list[claims.Claim | None]) -> int:
    return sum(isinstance(one, claims.Held) for one in found)


async def test_claims_at_the_same_moment_do_not_pass_the_quota() -> None:
    found = context()
    answers = await asyncio.gather(*(claim(found, f"t{number}") for number in range(8)))
    assert held(answers) == 3
    assert sum(claims.is_for_want_of_room(answer) for answer in answers) == 5
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
