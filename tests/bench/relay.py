"""A UDP relay that gives clients on loopback another address towards the exit node. Called by swarm."""

import asyncio
from typing import Self


class _Towards(asyncio.DatagramProtocol):
    """The half that talks to the exit node."""

    def __init__(self, client: asyncio.DatagramTransport, peer: tuple[str, int]) -> None:
        self.client = client
        self.peer = peer

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.client.sendto(data, self.peer)


class Relay(asyncio.DatagramProtocol):
    """Passes packets on, each client's (a link has a UDP socket of its own) from a port of its own."""

    def __init__(self, source: str, node: tuple[str, int]) -> None:
        self.source = source
        self.node = node
        self.address = ""
        self._listening: asyncio.DatagramTransport | None = None
        self._onwards: dict[tuple[str, int], asyncio.DatagramTransport] = {}
        self._waiting: dict[tuple[str, int], list[bytes]] = {}
        self._opening: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(cls, source: str, node: tuple[str, int]) -> Self:
        """Listen on a free port."""
        relay = cls(source, node)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: relay, local_addr=("127.0.0.1", 0)
        )
        host, port = transport.get_extra_info("sockname")
        relay._listening, relay.address = transport, f"{host}:{port}"
        return relay

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Pass it on; the first of a client opens its way, and those that come meanwhile wait for it."""
        onwards = self._onwards.get(addr)
        if onwards is not None:
            onwards.sendto(data)
        elif addr in self._waiting:
            self._waiting[addr].append(data)
        else:
            self._waiting[addr] = [data]
            task = asyncio.get_running_loop().create_task(self._open(addr))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, peer: tuple[str, int]) -> None:
        assert self._listening is not None
        listening = self._listening
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Towards(listening, peer), local_addr=(self.source, 0), remote_addr=self.node
        )
        self._onwards[peer] = transport
        for data in self._waiting.pop(peer):
            transport.sendto(data)
