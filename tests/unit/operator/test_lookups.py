"""Look-ups beside the reconcilers: one at a time for each Tunnel, so many at once, never in a reconcile's way."""

import asyncio
from datetime import datetime

from hawse_operator.policies import hosts
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.lookups import AT_ONCE, Answer, LookUps
from support.objects import NOW

SHOP = Key("tunnels", "team-a", "shop")
QUESTION = hosts.Question("shop.example.org", "_hawse.shop.example.org")


class Tarpit:
    """A name server that answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = asyncio.Event()

    async def look_up(self, question: hosts.Question) -> hosts.Seen:
        self.asked.append(question.hostname)
        await self.open.wait()
        return hosts.Seen((question.record,))


class Scene:
    def __init__(self) -> None:
        self.tarpit, self.woken = Tarpit(), asyncio.Queue[Key]()
        self.look_ups = LookUps(self.tarpit.look_up, self.woken.put_nowait, self.clock)

    def clock(self) -> datetime:
        return NOW


async def test_an_answer_wakes_the_tunnel_and_is_remembered_for_this_question() -> None:
    scene = Scene()
    scene.tarpit.open.set()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(scene.look_ups.run())
        await scene.look_ups.ask(SHOP, QUESTION)
        assert await scene.woken.get() == SHOP
        assert scene.look_ups.answer(SHOP, QUESTION) == Answer(QUESTION, hosts.Seen((QUESTION.record,)), NOW)
        assert scene.look_ups.answer(SHOP, hosts.Question("shop.example.net", "x")) is None
        scene.look_ups.forget(SHOP)
        assert scene.look_ups.answer(SHOP, QUESTION) is None
        running.cancel()


async def test_silent_name_servers_hold_up_nobody_who_asks_and_are_asked_so_many_at_once() -> None:
    scene = Scene()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(scene.look_ups.run())
        for number in range(3 * AT_ONCE):
            await scene.look_ups.ask(Key("tunnels", "team-a", f"t{number}"), hosts.Question(f"{number}.example", "r"))
            await scene.look_ups.ask(Key("tunnels", "team-a", "t0"), hosts.Question("0.example", "r"))  # the same again
        for _ in range(20):  # turns of the loop: enough for everybody who could begin
            await asyncio.sleep(0)
        assert len(scene.tarpit.asked) == AT_ONCE
        scene.tarpit.open.set()
        woken = {await scene.woken.get() for _ in range(3 * AT_ONCE)}
        assert len(woken) == 3 * AT_ONCE
        running.cancel()
