"""An exit node that was broken into, towards an agent: it gets at the app behind the agent, and at nothing else.

The agent's process and its connections to the app stay bounded, it dials its configured target alone, and it goes on to
the next session. What an exit node may say in frames that are well formed is in tests/unit/agent.
"""

import contextlib
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hawse_agent.trial.processes import Process
from hawse_api.ir import frames_pb2
from support import loopback
from support.attack import DATA, HEADERS, RST_STREAM, frame
from support.hostile_node import CONTROL, REQUEST, HostileLink, HostileNode
from support.loopback import Loopback, rss_bytes
from support.raw_links import framed
from support.recording_app import RecordingApp

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

STREAMS_PER_LINK = 1024
"""Of exitnode/core/tunnel/src/limits.rs."""
NO_AGENT, BAD_FRAME, REFUSED_STREAM = 1002, 2009, 7
GROWTH_BYTES = 96 << 20
"""Of an agent with a thousand streams: 35 kB each and what two threads of Python make of the frames."""
WAIT_S = 15.0


@dataclass(slots=True)
class Captured:
    """An agent in the hands of a hostile exit node."""

    node: HostileNode
    agent: Process
    app: RecordingApp
    decoy: RecordingApp
    uid: str

    def offer(self) -> frames_pb2.OfferedTunnel:
        decoy = f"https://{self.decoy.target}/"
        return frames_pb2.OfferedTunnel(uid=self.uid, namespace="default", name="shop", hostname=decoy, url=decoy)

    def opening(self, **changes: str) -> frames_pb2.StreamOpen:
        usual = {"tunnel_uid": self.uid, "visitor": self.decoy.target, **changes}
        return frames_pb2.StreamOpen(kind=frames_pb2.StreamOpen.KIND_TCP, **usual)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    with loopback.fleet(tmp_path_factory.mktemp("hostile")) as made:
        yield made


@pytest.fixture
def captured(fleet: Loopback, tmp_path: Path) -> Iterator[Captured]:
    """Another port of the app's address stands for everything that the machine of the agent can reach."""
    with HostileNode(fleet.trial.fleet) as node, RecordingApp() as app, RecordingApp() as decoy:
        login = fleet.trial.login(tmp_path.name, addresses=(node.address,), tcp_ports=(node.port,))
        agent = fleet.start_agent("http", app.target, config=login, wait=False)
        yield Captured(node, agent, app, decoy, fleet.tunnel.uid)
        assert agent.popen is not None
        assert agent.popen.poll() is None, agent.tail()
        assert "Traceback" not in agent.err
        assert decoy.take() == []
        assert decoy.open == 0
        agent.stop()


def until_registered(captured: Captured, link: HostileLink) -> None:
    """The agent serves its tunnel: it has printed the URL."""
    link.greet(captured.offer())
    assert link.read(WAIT_S, until=lambda: "https://" in captured.agent.out), captured.agent.tail()


def asked(captured: Captured) -> list[str]:
    return [request for one in captured.app.take() for request, _ in one.requests()]


def is_served(captured: Captured, link: HostileLink) -> None:
    """A stream gets to the app, once the agent has taken the offer of this session."""
    link.greet(captured.offer())
    seen: list[str] = []
    deadline = time.monotonic() + WAIT_S
    for number in range(3, 999, 2):
        link.agent.sendall(link.stream(number, captured.opening(), get("/after")))
        assert link.read(0.3), "it hung up"
        seen += asked(captured)
        if "GET /after" in seen:
            return
        assert time.monotonic() < deadline
    raise AssertionError


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: h\r\n\r\n".encode()


def test_a_flood_of_streams_is_bounded_by_what_was_agreed(captured: Captured) -> None:
    """5,000 requests that are never answered and never end: 1,024 reach the app, the others are refused."""
    with captured.node.accept() as link:
        until_registered(captured, link)
        before = rss_bytes(captured.agent)
        for first in range(3, 10_003, 500):
            streams = range(first, first + 500, 2)
            link.agent.settimeout(WAIT_S)
            link.agent.sendall(b"".join(link.stream(one, captured.opening(), get("/silent")) for one in streams))
            link.read(0.02)
        deadline = time.monotonic() + WAIT_S
        while captured.app.open < STREAMS_PER_LINK and time.monotonic() < deadline:
            link.read(0.2)
        assert captured.app.open == STREAMS_PER_LINK
        assert link.read(WAIT_S, until=lambda: len(link.resets) >= 5000 - STREAMS_PER_LINK), "it hung up"
        assert Counter(link.resets.values()) == {REFUSED_STREAM: 5000 - STREAMS_PER_LINK}
        assert rss_bytes(captured.agent) - before < GROWTH_BYTES
    deadline = time.monotonic() + WAIT_S
    while captured.app.open and time.monotonic() < deadline:
        time.sleep(0.05)
    assert captured.app.open == 0, "they end with the link"


def test_only_the_configured_target_is_ever_dialled(captured: Captured) -> None:
    """Whatever an opening names: an address is not among what it can say."""
    target = captured.decoy.target.encode()
    refused: dict[str, tuple[frames_pb2.StreamOpen | bytes, int]] = {
        "a tunnel of nobody": (captured.opening(tunnel_uid="other"), NO_AGENT),
        "an address for a tunnel": (captured.opening(tunnel_uid=captured.decoy.target), NO_AGENT),
        "no tunnel": (captured.opening(tunnel_uid=""), BAD_FRAME),
        "an unknown kind": (b"\x00\x05\x0a\x01u\x10\x09", BAD_FRAME),
        "a proxy's request": (b"CONNECT " + target + b" HTTP/1.1\r\n\r\n", BAD_FRAME),
        "an opening of 64 KiB": (b"\xff\xff", BAD_FRAME),
        "no message": (b"\x00\x02\xff\xff", BAD_FRAME),
    }
    with captured.node.accept() as link:
        until_registered(captured, link)
        numbers = dict(zip(refused, range(3, 99, 2), strict=False))
        for name, (opening, _) in refused.items():
            link.agent.sendall(link.stream(numbers[name], opening, get(f"http://{captured.decoy.target}/")))
        link.agent.sendall(link.stream(101, captured.opening(), get("/mine")))
        link.read(1)
        assert {name: link.resets.get(numbers[name]) for name in refused} == {
            name: code for name, (_, code) in refused.items()
        }
    assert asked(captured) == ["GET /mine"]


def test_what_is_no_protocol_ends_the_session_and_the_next_one_serves(captured: Captured) -> None:
    """In order, each in a session of its own; the agent hangs up, says so, and dials again."""
    says = (
        frame(DATA, 0, CONTROL, framed(b"x", length=0xFFFFFFFF)),
        frame(DATA, 0, 0, length=(1 << 24) - 1),
        frame(HEADERS, 0, 3, REQUEST) + frame(9, 0, 3, b"\x10\x01a\x7f\x81\x7d" + b"b" * 16_000) * 60,
    )
    for said in says:
        with captured.node.accept() as link:
            until_registered(captured, link)
            with contextlib.suppress(OSError):  # hung up while it was still being told
                link.agent.sendall(said)
            assert not link.read(WAIT_S), f"{said[:20]!r}: the agent stays"
    with captured.node.accept() as link:
        is_served(captured, link)


def test_endless_offers_and_rapid_resets_leave_the_agent_as_it_was(captured: Captured) -> None:
    """A thousand offers by turns, and ten thousand streams that are reset at once: it may hang up, and serves again."""
    with captured.node.accept() as link:
        until_registered(captured, link)
        before = rss_bytes(captured.agent)
        offers = [frames_pb2.Offer(tunnels=[captured.offer()] * count) for count in (1, 0)]
        sent = [frame(DATA, 0, CONTROL, framed(frames_pb2.Frame(offer=offers[turn % 2]))) for turn in range(1000)]
        for first in range(3, 20_003, 1000):
            sent += [
                link.stream(one, captured.opening(), get("/reset")) + frame(RST_STREAM, 0, one, struct.pack(">I", 8))
                for one in range(first, first + 1000, 2)
            ]
        link.agent.settimeout(WAIT_S)
        try:
            for at in range(0, len(sent), 100):
                link.agent.sendall(b"".join(sent[at : at + 100]))
                link.read(0.01)
        except OSError:
            pass  # hung up, which is fair
        assert captured.app.open <= STREAMS_PER_LINK
        assert rss_bytes(captured.agent) - before < GROWTH_BYTES
    with captured.node.accept() as link:
        is_served(captured, link)
