"""Many idle agents in one process: `python -m bench.swarm FILE`. Prints "all up", then keeps them. See memory.py."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from bench.memory import GROUP
from bench.relay import Relay
from hawse_api import names
from hawse_api.ir import core_pb2, frames_pb2
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import FrameReceived, LinkDown

_AT_ONCE = 8
_REPLY_S = 20.0


class Group:
    """Agents that share a core and an address."""

    def __init__(self, core: TunnelCore, address: str, told: dict[str, Any]) -> None:
        self.core = core
        self.address = address
        self.told = told
        self.heard: dict[int, asyncio.Queue[frames_pb2.Frame]] = {}

    async def run_events(self) -> None:
        """Until the core is closed; an idle agent that is lost ends the measurement."""
        async for event in self.core.events():
            if isinstance(event, FrameReceived):
                self.heard.setdefault(event.link, asyncio.Queue()).put_nowait(event.frame)
            elif isinstance(event, LinkDown):
                raise RuntimeError(f"an agent lost its link: {event}")  # noqa: TRY004 - an event, no wrong type

    async def connect(self, agent: dict[str, Any], epoch: int, gate: asyncio.Semaphore) -> None:
        """As hawse does it: Hello, Offer, Register; then nothing."""
        identity = core_pb2.Identity(
            chain=[bytes.fromhex(one) for one in agent["chain"]],
            key=bytes.fromhex(agent["key"]),
            roots=[bytes.fromhex(one) for one in self.told["roots"]],
        )
        request = core_pb2.DialRequest(
            address=self.address, server_name=self.told["server_name"], alpn=names.ALPN_LINK, identity=identity
        )
        async with gate:
            link = (await self.core.dial(request)).link
            hello = frames_pb2.Hello(
                min_version=1, max_version=1, agent_version="0.1.0", hostname="bench", slot="a", epoch=epoch
            )
            self.core.send(link, frames_pb2.Frame(hello=hello))
            offered = [tunnel.uid for tunnel in (await self._hear(link, "offer")).offer.tunnels]
            self.core.attach(link, dict.fromkeys(offered, ("127.0.0.1", 9)))
            self.core.send(link, frames_pb2.Frame(register=frames_pb2.Register(tunnel_uids=offered)))
            registered = await self._hear(link, "registered")
            if len(registered.registered.tunnel_uids) != 1:
                raise RuntimeError(f"an agent serves {registered}")

    async def _hear(self, link: int, kind: str) -> frames_pb2.Frame:
        queue = self.heard.setdefault(link, asyncio.Queue())
        async with asyncio.timeout(_REPLY_S):
            while True:
                frame = await queue.get()
                if frame.WhichOneof("frame") == kind:
                    return frame


async def run_swarm(told: dict[str, Any]) -> None:
    """Connect all, say so, and stay."""
    gate = asyncio.Semaphore(_AT_ONCE)
    agents: list[dict[str, Any]] = told["agents"]
    async with asyncio.TaskGroup() as forever:
        async with asyncio.TaskGroup() as dialling:
            for number, start in enumerate(range(0, len(agents), GROUP)):
                relay = await Relay.start(f"127.1.0.{number + 1}", tuple(told["node"]))
                core = await TunnelCore().__aenter__()  # lives as long as the process
                group = Group(core, relay.address, told)
                forever.create_task(group.run_events())
                for offset, agent in enumerate(agents[start : start + GROUP]):
                    dialling.create_task(group.connect(agent, start + offset + 1, gate))
        sys.stdout.write("all up\n")
        sys.stdout.flush()


def main() -> None:
    """Entry point."""
    asyncio.run(run_swarm(json.loads(Path(sys.argv[1]).read_text())))


if __name__ == "__main__":
    main()
