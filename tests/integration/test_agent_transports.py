"""Agents in networks that block UDP, and behind HTTP proxies: links over TCP, on real processes."""

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hawse_agent import networks
from support import loopback
from support.loopback import Loopback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

OVER_TCP = "over HTTP/2"
CREDENTIALS = "Basic " + base64.b64encode(b"ann:hunter2@").decode()


@pytest.fixture
def blocked(tmp_path: Path, proxy: "Proxy") -> Iterator[tuple[Loopback, Path]]:
    """An exit node whose UDP port is silent for the agent, as behind a firewall that drops; and a login for it."""
    assert not proxy.asked  # asked for first, so that it ends last
    with loopback.fleet(tmp_path) as made, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        node = made.add_exit_node()
        silent.bind((node.place.address, 0))
        address = node.place.at(silent.getsockname()[1])
        made.start_app()
        yield made, made.trial.login(addresses=(address,), tcp_ports=(node.place.https_port,))


class Proxy:
    """An HTTP proxy that knows CONNECT only, and one user."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.opened = 0
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._door.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._spawn(self._run)

    def _spawn(self, target: Callable[..., None], *args: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        lines = head.decode("latin-1").split("\r\n")
        self.asked.append(lines[0])
        if not any(line.lower() == f"proxy-authorization: {CREDENTIALS}".lower() for line in lines):
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = lines[0].split(" ")[1].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as node:
            self.opened += 1
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_copy, args=(node, client), daemon=True)
            back.start()
            _copy(client, node)
            back.join(60)

    def close(self) -> None:
        """Only once the agent has ended, and with it all connections."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for thread in self._threads:
            thread.join(20)


def _copy(source: socket.socket, to: socket.socket) -> None:
    source.settimeout(60)
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            to.sendall(piece)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


def serve(made: Loopback, config: Path, **environment: str) -> str:
    """Run the agent until it serves and a page comes; what it said."""
    agent = made.trial.agent("http", made.app.target, config=config)
    agent.environment = {**agent.environment, "NO_PROXY": "", "no_proxy": "", **environment}
    made._agent = agent
    agent.start()
    made.wait_until_served()
    with made.visitor() as http:
        assert http.get("/headers").status_code == 200
    return agent.err


def test_an_agent_whose_udp_is_dropped_serves_over_tcp_and_remembers_it(blocked: tuple[Loopback, Path]) -> None:
    made, config = blocked
    assert OVER_TCP in serve(made, config)
    (record,) = (config / "run").glob("*.json")
    made.agent.wait_until(lambda: "HTTP/2" in record.read_text(), "hawse status names the transport")
    known = json.loads((config / networks.FILE).read_text())["tcp"]
    assert list(known) == [networks.network_towards(made.nodes[0].agents_address)]


def test_an_agent_whose_tcp_is_dropped_uses_quic_and_remembers_nothing(tmp_path: Path) -> None:
    with loopback.fleet(tmp_path) as made:
        node = made.add_exit_node()
        made.start_app()
        with socket.create_server((node.place.address, 0)) as silent:
            config = made.trial.login(tcp_ports=(silent.getsockname()[1],))
            assert "over QUIC" in serve(made, config)
        assert not (config / networks.FILE).exists()


def test_an_agent_behind_a_proxy_with_a_password_connects_through_it(
    blocked: tuple[Loopback, Path], proxy: Proxy
) -> None:
    made, config = blocked
    said = serve(made, config, HTTPS_PROXY=f"http://ann:hunter2%40@{proxy.address}")
    assert OVER_TCP in said
    place = made.nodes[0].place
    assert proxy.asked == [f"CONNECT {place.at(place.https_port)} HTTP/1.1"]
    assert proxy.opened == 1
    assert "hunter2" not in said


def test_a_proxy_that_is_exempted_is_not_asked(blocked: tuple[Loopback, Path], proxy: Proxy) -> None:
    made, config = blocked
    serve(made, config, HTTPS_PROXY=f"http://{proxy.address}", NO_PROXY="127.0.0.0/8")
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("socks5://ann:hunter2@{}", 2, "HTTPS_PROXY cannot be used"),
        ("http://ann:hunter2wrong@{}", 4, "407"),
    ],
    ids=["not HTTP", "wrong password"],
)
def test_a_proxy_that_does_not_let_it_through_is_told_without_the_password(
    blocked: tuple[Loopback, Path], proxy: Proxy, url: str, code: int, says: str
) -> None:
    made, config = blocked
    agent = made.trial.agent("http", "--connect-timeout", "6", made.app.target, config=config)
    agent.environment = {**agent.environment, "NO_PROXY": "", "no_proxy": "", "HTTPS_PROXY": url.format(proxy.address)}
    agent.start()
    assert agent.wait() == code, agent.tail()
    assert says in agent.err
    assert "hunter2" not in agent.err
