"""The network between a process and a TCP port: it can be cut, as by a firewall that resets, and mended.

with TcpPath((host, port)) as path:      # threads; whoever shall go this way connects to path.host, path.port
    path.cut()
    path.mend()
"""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65536


class TcpPath:
    """Carries connections to one place."""

    def __init__(self, target: tuple[str, int], *, at: tuple[str, int] = ("127.0.99.1", 0)) -> None:
        self._target = target
        self._door = socket.create_server(at)
        self.host, self.port = self._door.getsockname()
        self._is_cut = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def cut(self) -> None:
        """End what runs, and refuse what comes."""
        self._is_cut.set()
        self._end_all()

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut.clear()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="tcp path", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._end_all()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the door was closed
            while True:
                near, _ = self._door.accept()
                if self._is_cut.is_set():
                    near.close()
                    continue
                try:
                    far = socket.create_connection(self._target, timeout=5.0)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                with self._lock:
                    self._open |= {near, far}
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := one.recv(_CHUNK_BYTES):
                other.sendall(chunk)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)  # ends the other direction, which closes its own end
        with self._lock:
            self._open.discard(one)
        one.close()

    def _end_all(self) -> None:
        with self._lock:
            found, self._open = self._open, set()
        for one in found:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
