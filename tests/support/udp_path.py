"""The network between an agent and an exit node's UDP port: it can be blocked, and can give the agent another address.

with UdpPath((host, port)) as path:      # a thread; agents dial path.address
    path.blocked = True                  # as a firewall that drops
    path.rebind()                        # as a NAT that forgot: the same agent from another port
"""

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

_DATAGRAM_BYTES = 65536
_POLL_S = 0.05


class UdpPath:
    """Carries datagrams between any number of agents and one exit node."""

    def __init__(self, target: tuple[str, int], *, blocked: bool = False) -> None:
        self.blocked = blocked
        self._target = target
        self._door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._door.bind((target[0], 0))
        self._ways: dict[tuple[str, int], socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._door, selectors.EVENT_READ)
        self._rebind = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> str:
        """What agents dial: the exit node's own host, where it also listens for TCP."""
        host, port = self._door.getsockname()
        return f"{host}:{port}"

    def rebind(self) -> None:
        """From now on the exit node sees every agent at an address that it does not know."""
        self._rebind.set()
        while self._rebind.is_set() and self._thread.is_alive():
            self._ended.wait(_POLL_S / 10)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._forget()
        self._selector.close()
        self._door.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._rebind.is_set():
                self._forget()
                self._rebind.clear()
            for key, _ in self._selector.select(_POLL_S):
                with contextlib.suppress(OSError):  # nobody listens there now: as lost as any datagram
                    self._carry(key.fileobj, key.data)  # type: ignore[arg-type]  # only sockets are registered

    def _carry(self, source: socket.socket, agent: tuple[str, int] | None) -> None:
        data, sender = source.recvfrom(_DATAGRAM_BYTES)
        if self.blocked:
            return
        if agent is not None:
            self._door.sendto(data, agent)
        else:
            self._way(sender).send(data)

    def _way(self, agent: tuple[str, int]) -> socket.socket:
        if agent not in self._ways:
            way = self._ways[agent] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            way.connect(self._target)
            self._selector.register(way, selectors.EVENT_READ, agent)
        return self._ways[agent]

    def _forget(self) -> None:
        for way in self._ways.values():
            self._selector.unregister(way)
            way.close()
        self._ways.clear()
