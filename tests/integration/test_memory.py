"""Memory while 1 GiB waits on each of several stopped readers, what others get, and the bound on the whole process."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h2.config
import h2.connection
import h2.settings
import httpx
import pytest

from hawse_exitnode import memory
from support import loopback
from support.loopback import Loopback, rss_bytes
from support.stubborn_app import GIB, StubbornApp

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

STALLED = 12
NODE_GROWTH_BYTES = STALLED * (3 << 20)
"""For each: 1 MiB of QUIC window, the buffers of TLS and HTTP; what the allocator rounds up to comes on top."""
AGENT_GROWTH_BYTES = STALLED * (3 << 20)
STALLED_READERS = 96
"""Of exitnode/core/edge/src/limits.rs."""
PEAK_BYTES = 512 << 20
"""While 400 come at once: some are cut off before the last is there, how many is a matter of the machine."""
PATIENCE_S = 20.0
LIMIT_BYTES = 224 << 20
"""Of the process that is short of memory: less than 400 unread answers take, and half of it is free at the start."""


@pytest.fixture
def app() -> Iterator[StubbornApp]:
    with StubbornApp() as made:
        yield made


@pytest.fixture
def served(tmp_path: Path, app: StubbornApp) -> Iterator[Loopback]:
    """Processes of their own for each test: memory that another has used would hide growth."""
    with loopback.fleet(tmp_path) as made:
        made.add_exit_node()
        made.start_agent("http", app.target)
        ask(made)  # what is made once is made
        yield made


@pytest.fixture
def served_over_tcp(tmp_path: Path, app: StubbornApp) -> Iterator[Loopback]:
    """The same behind a firewall that drops UDP."""
    with loopback.fleet(tmp_path) as made, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        place = made.add_exit_node().place
        silent.bind((place.address, 0))
        address = place.at(silent.getsockname()[1])
        login = made.trial.login(addresses=(address,), tcp_ports=(place.https_port,))
        made.start_agent("http", app.target, config=login)
        assert "over HTTP/2" in made.agent.err
        ask(made)
        yield made


def ask(made: Loopback, *, http2: bool = False) -> None:
    with made.visitor(http2=http2) as http:
        for _ in range(5):
            assert http.get("/quick").text == "ok"


def connect(made: Loopback, alpn: str) -> ssl.SSLSocket:
    place, context = made.nodes[0].place, ssl.create_default_context(cafile=str(made.ca_file))
    context.set_alpn_protocols([alpn])
    tcp = socket.create_connection((place.address, place.https_port), timeout=PATIENCE_S)
    return context.wrap_socket(tcp, server_hostname=made.host)


def http1(made: Loopback, method: str, path: str) -> ssl.SSLSocket:
    """A request over HTTP/1.1 of which the answer is never read; POST sends a body until nobody takes any."""
    visitor = connect(made, "http/1.1")
    length = f"content-length: {GIB}\r\n" if method == "POST" else ""
    visitor.sendall(f"{method} {path} HTTP/1.1\r\nhost: {made.host}\r\n{length}\r\n".encode())
    if method == "POST":
        send_all_it_takes(visitor, lambda: bytes(64 << 10))
    return visitor


def http2(made: Loopback, method: str, path: str, *, streams: int = 1, window: int = (1 << 31) - 1) -> ssl.SSLSocket:
    """The same over HTTP/2; usually with windows so wide that only the socket holds the answers back."""
    visitor = connect(made, "h2")
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.local_settings = h2.settings.Settings(
        initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
    )
    connection.initiate_connection()
    connection.increment_flow_control_window((1 << 30) - 65_535)
    names = [(":method", method), (":scheme", "https"), (":authority", made.host), (":path", path)]
    for number in range(streams):
        connection.send_headers(2 * number + 1, names, end_stream=method == "GET")
    visitor.sendall(connection.data_to_send())
    if method == "POST":
        visitor.settimeout(1.0)
        with contextlib.suppress(TimeoutError):  # the end: no window comes any more
            while True:
                while (window := connection.local_flow_control_window(1)) > 0:
                    connection.send_data(1, bytes(min(window, connection.max_outbound_frame_size)))
                    visitor.sendall(connection.data_to_send())
                connection.receive_data(visitor.recv(65_536))
    return visitor


def send_all_it_takes(visitor: ssl.SSLSocket, piece: Callable[[], bytes]) -> None:
    visitor.settimeout(1.0)
    with contextlib.suppress(TimeoutError):
        for _ in range(GIB >> 16):
            visitor.sendall(piece())


def until_still(read: Callable[[], int]) -> int:
    """The value, once it has not changed for half a second."""
    deadline, last, since = time.monotonic() + PATIENCE_S, -1, 0.0
    while time.monotonic() < deadline:
        if (now := read()) != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 0.5:
            return now
        time.sleep(0.05)
    raise AssertionError(f"it still grows after {PATIENCE_S} s: {last}")


@pytest.mark.parametrize("link", ["served", "served_over_tcp"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/big"), ("POST", "/swallow")], ids=["download", "upload"])
def test_gigabytes_wait_behind_stopped_readers_and_others_are_served(
    request: pytest.FixtureRequest, app: StubbornApp, link: str, method: str, path: str
) -> None:
    served: Loopback = request.getfixturevalue(link)
    node, agent = served.nodes[0].process, served.agent
    before = rss_bytes(node), rss_bytes(agent)
    with contextlib.ExitStack() as stalled, ThreadPoolExecutor(STALLED) as pool:
        for visitor in pool.map(lambda visit: visit(served, method, path), [http1, http2] * (STALLED // 2)):
            stalled.enter_context(visitor)
        if method == "GET":
            taken = until_still(lambda: app.sent_bytes)
            assert STALLED << 20 < taken < STALLED * (32 << 20), taken  # the kernel's buffers are most of it
        else:
            assert app.swallowing == STALLED
        growth = rss_bytes(node) - before[0], rss_bytes(agent) - before[1]
        ask(served)
        ask(served, http2=True)
        assert growth[0] < NODE_GROWTH_BYTES
        assert growth[1] < AGENT_GROWTH_BYTES


@pytest.mark.parametrize("window", [(1 << 31) - 1, 0], ids=["a socket that is not read", "no window"])
def test_many_stopped_readers_make_room_for_each_other(served: Loopback, app: StubbornApp, window: int) -> None:
    """One visitor with ten connections could else take all of a pod's memory, 1.5 MB a stream."""
    node, most = served.nodes[0].process, 0
    with contextlib.ExitStack() as stalled:
        for _ in range(5):
            stalled.enter_context(http2(served, "GET", "/big", streams=80, window=window))
        deadline = time.monotonic() + PATIENCE_S
        while (
            served.metric('tunnel_requests_total{class="2xx"') < 400
            or served.metric("tunnel_requests_in_flight") > STALLED_READERS
        ):
            assert time.monotonic() < deadline
            most = max(most, rss_bytes(node))
            time.sleep(0.05)
        ask(served)
        assert served.metric("tunnel_requests_in_flight") == STALLED_READERS
    assert most < PEAK_BYTES


def test_uploads_that_the_app_does_not_read_stop_nobody_else(served: Loopback, app: StubbornApp) -> None:
    """More of them than a link's window could hold if it were that of the exit node's side (192 MiB)."""
    with contextlib.ExitStack() as stalled, ThreadPoolExecutor(40) as pool:
        for visitor in pool.map(lambda _: http1(served, "POST", "/swallow"), range(200)):
            stalled.enter_context(visitor)
        assert app.swallowing == 200
        ask(served)


def test_memory_of_unread_answers_is_given_back(served: Loopback) -> None:
    """glibc's allocator kept it for ever, measured; a process that can't give back can't shed either."""
    node = served.nodes[0].process
    before = rss_bytes(node)
    with contextlib.ExitStack() as stalled:
        for _ in range(5):
            stalled.enter_context(http2(served, "GET", "/big", streams=80))
        wait_until(lambda: rss_bytes(node) > before + (96 << 20))
    wait_until(lambda: rss_bytes(node) < before + (32 << 20))


def test_a_process_short_of_memory_refuses_requests_and_serves_again(
    tmp_path: Path, app: StubbornApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(memory.VARIABLE, str(LIMIT_BYTES))
    with loopback.fleet(tmp_path) as made, contextlib.ExitStack() as stalled:
        node = made.add_exit_node().process
        made.start_agent("http", app.target)
        ask(made)

        def is_refused() -> bool:
            with contextlib.suppress(OSError):  # from 95 % on connections are closed
                stalled.enter_context(http2(made, "GET", "/big", streams=40))
            return quick(made) == (503, "HAWSE-1010", "5")

        wait_until(is_refused)
        wait_until(lambda: quick(made)[0] == 200)  # though all are still connected, and read nothing
        assert rss_bytes(node) < LIMIT_BYTES


def quick(made: Loopback) -> tuple[int, str | None, str | None]:
    """Status, code and Retry-After of a short request; 0: the connection was closed."""
    try:
        with made.visitor() as http:
            answer = http.get("/quick")
    except httpx.TransportError:
        return 0, None, None
    return answer.status_code, answer.headers.get("x-hawse-error"), answer.headers.get("retry-after")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
