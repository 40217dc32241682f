"""Ten thousand visitors who connect and ask nothing: what each costs, and that others are served meanwhile."""

import contextlib
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hawse_exitnode import descriptors
from support import loopback
from support.loopback import Loopback, rss_bytes
from support.stubborn_app import StubbornApp

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

_, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
VISITORS = min(10_000, descriptors.visitor_cap(HARD) - 200, HARD - 1_000)
SOURCES = 12
"""Addresses that they come from: one may have 1,024 connections."""
VISITOR_BYTES = 48 << 10
"""Of an HTTP/2 connection after its preface; measured: 29 kB."""
SOFT = 1_024
"""What a shell or a container runtime often starts a process with."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Loopback]:
    """The exit node starts with a low soft limit; this process then raises its own."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with StubbornApp() as app, loopback.fleet(tmp_path) as made:
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
        try:
            made.add_exit_node()
            made.start_agent("http", app.target)
            resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD))
            yield made
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_ten_thousand_idle_visitors_are_held_and_others_are_served(served: Loopback) -> None:
    ask(served)
    before = rss_bytes(served.nodes[0].process)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # thousands of them: this side is not tested
    context.set_alpn_protocols(["h2"])
    place = served.nodes[0].place

    def visit(number: int) -> ssl.SSLSocket:
        source = (f"127.77.{number % SOURCES}.1", 0)
        tcp = socket.create_connection((place.address, place.https_port), timeout=20, source_address=source)
        visitor = context.wrap_socket(tcp, server_hostname=served.host)
        visitor.sendall(PREFACE)
        return visitor

    with contextlib.ExitStack() as idle, asking(served) as answers, ThreadPoolExecutor(3) as pool:
        for visitor in pool.map(visit, range(VISITORS)):
            idle.enter_context(visitor)
        assert served.metric("edge_connections_refused_total") == 0
        assert served.metric("edge_connections_open") >= VISITORS
        ask(served)
        assert (rss_bytes(served.nodes[0].process) - before) / VISITORS < VISITOR_BYTES
        assert answers.count("ok") == len(answers) > 3


def ask(made: Loopback) -> str:
    with made.visitor() as http:
        return http.get("/quick").text


@contextlib.contextmanager
def asking(made: Loopback) -> Iterator[list[str]]:
    """A well-behaved visitor beside it, one request after the other; what it got."""
    answers: list[str] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.2):
            try:
                answers.append(ask(made))
            except Exception as exc:
                answers.append(repr(exc))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
