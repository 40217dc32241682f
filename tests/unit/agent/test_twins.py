"""Two agents with one login against two exit nodes, table against table: in any order, one serves in the end."""

import random
from collections import defaultdict, deque
from collections.abc import Callable

import pytest

from hawse_agent import incoming, moves, session
from hawse_agent.choice import Wanted
from hawse_agent.endings import Failure
from hawse_agent.target import Target
from hawse_api import names
from hawse_api.ir import frames_pb2
from hawse_exitnode.session_state import Bind, Close, FrameCame, LinkClosed, LinkOpened, Send, Tick
from support.session_script import NONCE, WHO, Script

ADDRESSES = ("203.0.113.1:7443", "203.0.113.2:7443")


class World:
    """What is under way is delivered in any order, but in order on each link and each way."""

    def __init__(self, seed: int) -> None:
        self.luck = random.Random(seed)  # noqa: S311 - a test's order
        self.at, self.links = 100.0, 0
        self.under_way: dict[object, deque[Callable[[], None]]] = defaultdict(deque)
        self.nodes = {address: Script() for address in ADDRESSES}
        self.serving: dict[str, set[int]] = {address: set() for address in ADDRESSES}
        self.owners: dict[int, tuple[int, str]] = {}
        self.ended: dict[int, str] = {}
        app = Target("127.0.0.1", 3000)
        self.agents = [
            session.begin(Wanted((("", app),)), ADDRESSES, self.moment(), slot="", token="t", epoch=0, patience_s=1e9)
            for _ in range(2)
        ]
        for agent in range(2):
            self.tell_agent(agent, moves.Tick())

    def moment(self) -> moves.Moment:
        return moves.Moment(self.at, 1_000_000 + int(self.at * 1000), self.luck.random())

    # --- agents ------------------------------------------------------------------------------------------------------
    def tell_agent(self, agent: int, event: moves.Event) -> None:
        if agent in self.ended:
            return
        self.agents[agent], commands = session.step(self.agents[agent], event, self.moment())
        for command in commands:
            match command:
                case moves.Dial(address):
                    self.under_way["dial", agent, address].append(lambda to=address: self.dial(agent, to))  # type: ignore[misc]
                case moves.Greet(link, slot, epoch):
                    self.say(link, incoming.hello(version="0.1.0", hostname="laptop", slot=slot, epoch=epoch))
                case moves.Serve(link, routes):
                    self.say(link, incoming.register(routes))
                case moves.Close(link):
                    self.under_way[link, "up"].append(lambda link=link: self.close(link))  # type: ignore[misc]
                case moves.Finish(ending):
                    self.ended[agent] = ending.code
                    for link, (owner, _) in self.owners.items():
                        if owner == agent:
                            self.under_way[link, "up"].append(lambda link=link: self.close(link))  # type: ignore[misc]

    def dial(self, agent: int, address: str) -> None:
        if agent in self.ended:
            return
        self.links += 1
        self.owners[self.links] = agent, address
        self.tell_node(address, LinkOpened(self.links, names.ALPN_LINK, "192.0.2.1:4000", WHO, b"cert", NONCE))
        self.tell_agent(agent, moves.Dialled(address, self.links))

    def say(self, link: int, frame: frames_pb2.Frame) -> None:
        self.under_way[link, "up"].append(lambda: self.tell_node(self.owners[link][1], FrameCame(link, frame)))

    def close(self, link: int) -> None:
        self.tell_node(self.owners[link][1], LinkClosed(link))

    # --- exit nodes --------------------------------------------------------------------------------------------------
    def tell_node(self, address: str, event: object) -> None:
        node = self.nodes[address]
        node.at = self.at
        for command in node.feed(event):  # type: ignore[arg-type]  # any event
            match command:
                case Send(link, frame):
                    self.under_way[link, "down"].append(lambda link=link, frame=frame: self.hear(link, frame))  # type: ignore[misc]
                case Close(link):
                    lost = moves.LinkLost(link, Failure("closed"))
                    self.under_way[link, "down"].append(
                        lambda lost=lost: self.tell_agent(self.owners[lost.link][0], lost)
                    )  # type: ignore[misc]
                    self.under_way[link, "up"].append(lambda link=link: self.close(link))  # type: ignore[misc]
                case Bind(link, uids):
                    serving = self.serving[address]
                    serving.add(link) if uids else serving.discard(link)
        if isinstance(event, LinkClosed):
            self.serving[address].discard(event.link)

    def hear(self, link: int, frame: frames_pb2.Frame) -> None:
        if (event := incoming.of_frame(link, frame)) is not None:
            self.tell_agent(self.owners[link][0], event)

    # --- time --------------------------------------------------------------------------------------------------------
    def go_on(self) -> None:
        ready = [way for way, waiting in self.under_way.items() if waiting]
        if ready and self.luck.random() < 0.9:
            self.under_way[self.luck.choice(ready)].popleft()()
            return
        self.at += self.luck.choice([0.0005, 0.01, 0.3])
        for agent in range(2):
            self.tell_agent(agent, moves.Tick())
        for address in ADDRESSES:
            self.tell_node(address, Tick())


@pytest.mark.parametrize("seed", range(0, 80, 10))
def test_of_two_agents_that_start_at_the_same_moment_one_ends_and_the_other_serves_everywhere(seed: int) -> None:
    for one in range(seed, seed + 10):
        world = World(one)
        for _ in range(3000):
            world.go_on()
            if len(world.ended) == 1 and not any(world.under_way.values()) and world.at > 130:
                break
        assert list(world.ended.values()) == ["HAWSE-2007"], f"seed {one}: {world.ended}"
        (survivor,) = {0, 1} - set(world.ended)
        owners = [[world.owners[link][0] for link in serving] for serving in world.serving.values()]
        assert owners == [[survivor], [survivor]], f"seed {one}"
