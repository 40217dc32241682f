"""What is too large, and what is no protocol at all: on the visitors' port and on the agents' port, TCP and UDP."""

import contextlib
import os
import re
import secrets
import socket
import ssl
import threading

import pytest

from support.attack import Scene, converse

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.mark.parametrize(
    ("request_line", "fields"),
    [
        (f"GET /{'a' * 70_000} HTTP/1.1", ""),
        ("GET / HTTP/1.1", f"x: {'a' * 70_000}\r\n"),
        ("GET / HTTP/1.1", f"{'a' * 70_000}: x\r\n"),
        ("GET / HTTP/1.1", f"cookie: {'a' * 70_000}\r\n"),
        ("GET / HTTP/1.1", "".join(f"x{number}: y\r\n" for number in range(101))),
        ("GET / HTTP/1.1", "x: y\r\n" * 10_000),
        (f"{'A' * 70_000} / HTTP/1.1", ""),
    ],
    ids=["target", "value", "name", "cookie", "101 fields", "10,000 fields", "method"],
)
def test_a_head_that_is_too_large_is_refused(scene: Scene, request_line: str, fields: str) -> None:
    sent = f"{request_line}\r\nhost: {scene.host}\r\nconnection: close\r\n{fields}\r\n"
    answer = converse(scene.tls(), sent.encode())
    assert re.match(rb"HTTP/1\.1 (400|414|431) ", answer) or answer == b"", answer[:80]
    assert scene.app.take() == []
    with scene.good_visitors():
        pass


def test_what_no_parser_can_read_is_told_apart_from_an_answer_of_the_app(scene: Scene) -> None:
    """docs/errors/README.md: no code and no exit node's name, no content, and the connection ends."""
    answer = converse(scene.tls(), b"nonsense\r\n\r\n").lower()
    assert answer.startswith(b"http/1.1 400 ")
    assert b"x-hawse" not in answer
    assert b"content-length: 0" in answer
    with scene.made.visitor() as http:
        assert "x-hawse-served-by" in http.get("/").headers


def test_noise_instead_of_tls_disturbs_nobody(scene: Scene) -> None:
    """Plain HTTP, random bytes, records of the greatest length, broken ClientHellos: ended, and nothing is kept."""
    hello = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"
    noises = (
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\xff\xff",
        hello + bytes(0x4000),
        b"\x80\x2e\x01\x03\x01",
        b"SSH-2.0-x\r\n",
    )

    def attack(stop: threading.Event) -> int:
        source, count = scene.attacker(), 0
        while not stop.is_set():
            noise = secrets.choice((*noises, os.urandom(4096), hello + os.urandom(16_384)))
            with scene.tcp(source) as visitor, contextlib.suppress(ConnectionError):
                visitor.settimeout(5)
                visitor.sendall(noise)
                visitor.shutdown(socket.SHUT_WR)
                while visitor.recv(65536):
                    pass
            count += 1
        return count

    report = scene.endure(attack, attack)
    assert all(isinstance(count, int) and count > 10 for count in report.attacks)


def test_renegotiation_and_a_second_hello_end_the_connection(scene: Scene) -> None:
    """Bytes that are no TLS record after a good handshake."""
    context = ssl.create_default_context(cafile=str(scene.made.ca_file))
    tcp = scene.tcp()
    with context.wrap_socket(tcp, server_hostname=scene.host) as visitor:
        raw = socket.socket(fileno=os.dup(visitor.fileno()))
        with raw, contextlib.suppress(ConnectionError, ssl.SSLError):
            raw.sendall(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00")
            visitor.settimeout(5)
            assert visitor.recv(1) == b""
    with scene.good_visitors():
        pass


def initial(destination: bytes, *, version: int = 1, size: int = 1200) -> bytes:
    """Looks like a QUIC Initial with a random destination id; the payload is noise."""
    head = b"\xc3" + version.to_bytes(4, "big") + bytes([len(destination)]) + destination + b"\x08" + os.urandom(8)
    rest = size - len(head) - 3
    return head + b"\0" + (0x4000 | rest).to_bytes(2, "big") + os.urandom(rest)


@pytest.mark.parametrize("port", ["agents", "visitors"])
def test_noise_on_a_quic_port_disturbs_nobody(scene: Scene, port: str) -> None:
    """Random datagrams, Initials with random ids, unknown versions, short headers, one byte."""
    place = scene.made.nodes[0].place
    at = (place.address, place.agents_port if port == "agents" else place.https_port)

    def attack(stop: threading.Event) -> int:
        count = 0
        while not stop.is_set():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                udp.bind((scene.attacker(), 0))
                for _ in range(50):
                    for datagram in (
                        os.urandom(secrets.randbelow(1400) + 1),
                        initial(os.urandom(8)),
                        initial(os.urandom(20)),
                        initial(os.urandom(8), version=0x1A2A3A4A),
                        initial(b"", size=1200),
                        b"\x40" + os.urandom(40),
                        b"\xff",
                    ):
                        udp.sendto(datagram, at)
                        count += 1
        return count

    report = scene.endure(attack, seconds=2)
    assert report.attacks[0] > 1000  # type: ignore[operator]
    assert scene.is_alive()
