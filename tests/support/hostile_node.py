"""An exit node that keeps no rule, over TCP: TLS with the fleet's own certificate, and HTTP/2 frames by hand.

    with HostileNode(trial.fleet) as node:
        login = trial.login(addresses=(node.address,), tcp_ports=(node.port,))
        ...                                        # an agent dials
        with node.accept() as link:
            link.greet(offered_tunnel)             # a session, as a proper exit node begins one
            link.open_stream(3, opening)

An agent trusts whoever has this certificate, so that this is what a broken-into exit node can do. Used by tests/abuse.
"""

import contextlib
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from hawse_agent.trial import fleet, processes
from hawse_api import names
from hawse_api.ir import frames_pb2
from support.attack import ACK, DATA, END_HEADERS, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literal
from support.raw_links import framed

CONTROL = 1
"""The first stream, which an exit node opens over TCP."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)
_WAIT_S = 20.0
_PING_S = 1.0
"""An agent leaves a silent link after 4.5 s."""
_FIELDS = ((":method", "POST"), (":scheme", "https"), (":authority", "hawse"), (":path", "/"))
REQUEST = b"".join(literal(name, value) for name, value in _FIELDS)


class HostileNode:
    """Listens on a loopback address of its own; nobody listens on its UDP port."""

    def __init__(self, made: fleet.TrialFleet) -> None:
        self.host, self.port = processes.free_address((8443,)), 8443
        self.address = f"{self.host}:7443"
        leaf = made.authority.issue(
            "n", now=made.made, uri=f"spiffe://{made.domain}/exitnode/n/p", dns=[made.connect_name]
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.set_alpn_protocols([names.ALPN_LINK])
        with tempfile.TemporaryDirectory() as directory:
            pem = Path(directory) / "node.pem"
            pem.write_text(leaf.chain_pem + leaf.key_pem)
            self._context.load_cert_chain(pem)
        self._listener = socket.create_server((self.host, self.port))
        self._listener.settimeout(_WAIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def accept(self) -> "HostileLink":
        """The next agent that dials."""
        accepted, _ = self._listener.accept()
        accepted.settimeout(_WAIT_S)
        return HostileLink(self._context.wrap_socket(accepted, server_side=True))


class HostileLink:
    """One agent's connection."""

    def __init__(self, agent: ssl.SSLSocket) -> None:
        self.agent = agent
        self._received = bytearray()
        self.resets: dict[int, int] = {}
        """Streams that the agent reset, and the code that it gave first."""
        self.heard = False
        """The agent has said something on its control stream."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.agent.close()

    def open_control(self) -> None:
        """The request that an agent takes for its session's control stream."""
        self.agent.sendall(PREFACE + frame(HEADERS, END_HEADERS, CONTROL, REQUEST))

    def say(self, *frames: frames_pb2.Frame) -> None:
        """On the control stream."""
        self.agent.sendall(b"".join(frame(DATA, 0, CONTROL, framed(one)) for one in frames))

    def greet(self, *tunnels: frames_pb2.OfferedTunnel) -> None:
        """A session in which these tunnels are offered."""
        welcome = frames_pb2.Welcome(version=1, node_version="0", exit_node="n", region="r", pod="p")
        self.open_control()
        assert self.read(_WAIT_S, until=lambda: self.heard), "the agent has hung up before its Hello"
        self.say(frames_pb2.Frame(welcome=welcome), frames_pb2.Frame(offer=frames_pb2.Offer(tunnels=tunnels)))
        uids = [tunnel.uid for tunnel in tunnels]
        self.say(frames_pb2.Frame(registered=frames_pb2.Registered(tunnel_uids=uids)))

    def stream(self, number: int, opening: frames_pb2.StreamOpen | bytes, data: bytes = b"") -> bytes:
        """A stream with its opening and what follows it; to be sent with others."""
        raw = opening if isinstance(opening, bytes) else opening.SerializeToString()
        head = raw if isinstance(opening, bytes) else len(raw).to_bytes(2, "big") + raw
        return frame(HEADERS, END_HEADERS, number, REQUEST) + frame(DATA, 0, number, head + data)

    def read(self, timeout_s: float, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Notes what comes, for so long, and pings like one who lives. False: the agent has hung up."""
        deadline, pinged = time.monotonic() + timeout_s, 0.0
        while (now := time.monotonic()) < deadline and not until():
            self.agent.settimeout(min(_PING_S, deadline - now))
            try:
                if now - pinged > _PING_S:
                    self.agent.sendall(frame(PING, 0, 0, bytes(8)))
                    pinged = now
                piece = self.agent.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return False
            if not piece:
                return False
            self._received += piece
            self._note()
        return True

    def _note(self) -> None:
        while len(self._received) >= 9 and len(self._received) >= 9 + int.from_bytes(self._received[:3], "big"):
            size, kind = int.from_bytes(self._received[:3], "big"), self._received[3]
            stream = int.from_bytes(self._received[5:9], "big")
            if kind == RST_STREAM:
                self.resets.setdefault(stream, int.from_bytes(self._received[9:13], "big"))
            if kind == SETTINGS and not self._received[4] & ACK:
                with contextlib.suppress(OSError):
                    self.agent.sendall(frame(SETTINGS, ACK, 0))
            self.heard |= kind == DATA and stream == CONTROL
            if kind == DATA and size:
                with contextlib.suppress(OSError):
                    self.agent.sendall(frame(WINDOW_UPDATE, 0, 0, size.to_bytes(4, "big")))
            del self._received[: 9 + size]
