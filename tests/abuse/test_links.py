"""Agents that keep no rule, with a certificate of a valid token and without one, over QUIC and over TCP.

Whatever they say, the exit node says HAWSE-2009 or the like and closes, and the agent beside them goes on serving.
Tables are said at once, a link for each row, and compared as a whole. Who may serve what is in tests/unit/exitnode.
"""

import asyncio
import contextlib
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from hawse_api.ir import frames_pb2
from support import raw_links
from support.attack import (
    ACK,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    SETTINGS,
    Scene,
    frame,
    literal,
    prefixed,
    read_to_end,
)
from support.http3_raw import Raw
from support.raw_links import framed, hello

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

BAD_FRAME, NOT_ALLOWED, REFUSED_CERTIFICATE, STREAM_LIMIT = "closed 0x7d9", "closed 0x7da", "closed 0x7e0", "closed 0x4"
ENDED_S = 20.0
LINKS_PER_ADDRESS = 256
"""Of exitnode/core/tunnel/src/limits.rs."""

Frame = frames_pb2.Frame
HELLO = framed(hello())
SAYS: dict[str, tuple[bytes, str]] = {
    "no message": (framed(b"\xff" * 4), BAD_FRAME),
    "4 GiB": (framed(b"x", length=0xFFFFFFFF), BAD_FRAME),
    "64 KiB and a byte": (framed(b"x", length=65_537), BAD_FRAME),
    "nothing": (framed(b""), BAD_FRAME),
    "a frame of nobody": (framed(b"\xfa\x06\x00"), BAD_FRAME),
    "HTTP": (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", BAD_FRAME),
    "Register before Hello": (framed(Frame(register=frames_pb2.Register())), BAD_FRAME),
    "Hello twice": (HELLO + HELLO, BAD_FRAME),
    "Hello without a slot": (framed(hello(slot="")), BAD_FRAME),
    "Hello with a slot of 60 kB": (framed(hello(slot="s" * 60_000)), BAD_FRAME),
    "Hello with an epoch past all": (framed(hello(epoch=(1 << 64) - 1)), BAD_FRAME),
    "Welcome, which is a node's": (HELLO + framed(Frame(welcome=frames_pb2.Welcome(version=1))), BAD_FRAME),
    "Offer, which is a node's": (
        HELLO + framed(Frame(offer=frames_pb2.Offer(tunnels=[frames_pb2.OfferedTunnel(uid="u")]))),
        BAD_FRAME,
    ),
    "an enrolment": (HELLO + framed(Frame(enrol_hello=frames_pb2.EnrolHello(min_version=1))), BAD_FRAME),
    "a tunnel of others": (HELLO + framed(Frame(register=frames_pb2.Register(tunnel_uids=["other"]))), NOT_ALLOWED),
    "a thousand and one tunnels": (
        HELLO + framed(Frame(register=frames_pb2.Register(tunnel_uids=[f"u{n}" for n in range(1001)]))),
        BAD_FRAME,
    ),
    "a renewal of 60 kB": (HELLO + framed(Frame(renew=frames_pb2.RenewRequest(csr=bytes(60_000)))), BAD_FRAME),
    "more frames than anybody needs": (HELLO + framed(Frame(register=frames_pb2.Register())) * 500, BAD_FRAME),
}
STRANGER_SAYS: dict[str, tuple[bytes, str]] = {
    "no message": (framed(b"\xff" * 4), BAD_FRAME),
    "4 GiB": (framed(b"x", length=0xFFFFFFFF), BAD_FRAME),
    "Hello of a session": (HELLO, BAD_FRAME),
    "a login before its greeting": (framed(Frame(enrol=frames_pb2.EnrolRequest(token_id="t"))), BAD_FRAME),
    "a login of 60 kB": (
        framed(Frame(enrol_hello=frames_pb2.EnrolHello(min_version=1, max_version=1)))
        + framed(Frame(enrol=frames_pb2.EnrolRequest(csr=bytes(60_000)))),
        BAD_FRAME,
    ),
}


def endure(scene: Scene, *attacks: Callable[[], Awaitable[object]]) -> list[object]:
    """Beside visitors who mean well, whose agent shares the exit node with the attackers."""

    def threaded(attack: Callable[[], Awaitable[object]]) -> Callable[[threading.Event], object]:
        async def run() -> object:
            return await attack()

        return lambda _: asyncio.run(run())

    return scene.endure(*map(threaded, attacks), seconds=ENDED_S).attacks


async def say_all(
    scene: Scene, table: dict[str, tuple[bytes, str]], *, known: bool, say: Callable[[Raw, bytes], object]
) -> dict[str, str]:
    async def one(data: bytes) -> str:
        leaf = raw_links.certificate(scene) if known else None
        async with raw_links.quic(scene, leaf, source=source) as link:
            say(link, data)
            return await link.end()

    source = scene.attacker()
    async with asyncio.TaskGroup() as group:
        running = {name: group.create_task(one(data)) for name, (data, _) in table.items()}
    return {name: task.result() for name, task in running.items()}


def at_once(link: Raw, data: bytes) -> None:
    link.ask(data, end=False)


def in_pieces(link: Raw, data: bytes) -> None:
    """A byte, and then the rest: what a frame is must not depend on packets."""
    stream = link.ask(data[:1], end=False)
    link.more(stream, data[1:])


@pytest.mark.parametrize("say", [at_once, in_pieces])
def test_what_is_no_protocol_ends_a_link_over_quic(scene: Scene, say: Callable[[Raw, bytes], object]) -> None:
    agents, strangers = endure(
        scene,
        lambda: say_all(scene, SAYS, known=True, say=say),
        lambda: say_all(scene, STRANGER_SAYS, known=False, say=say),
    )
    assert agents == {name: code for name, (_, code) in SAYS.items()}
    assert strangers == {name: code for name, (_, code) in STRANGER_SAYS.items()}


def test_streams_in_the_wrong_direction_end_a_link(scene: Scene) -> None:
    """An agent opens its control stream and nothing else: one stream more, of either kind, breaks QUIC's own limit."""

    async def second(link: Raw) -> None:
        link.quic._remote_max_streams_bidi = 10
        link.ask(b"\0\0", end=False)

    async def unidirectional(link: Raw) -> None:
        link.quic._remote_max_streams_uni = 10
        link.quic._remote_max_stream_data_uni = 10
        link.uni(0)

    async def reset(link: Raw) -> None:
        await asyncio.sleep(0.1)
        link.cancel(0)
        link.transmit()

    async def half_a_frame(link: Raw) -> None:
        link.more(0, b"\0\0", end=True)

    async def each() -> list[str]:
        ends = []
        for act in (second, unidirectional, reset, half_a_frame):
            async with raw_links.quic(scene, raw_links.certificate(scene)) as link:
                link.ask(HELLO, end=False)
                await act(link)
                ends.append(await link.end())
        return ends

    assert endure(scene, each) == [[STREAM_LIMIT, STREAM_LIMIT, BAD_FRAME, BAD_FRAME]]


def test_a_certificate_is_asked_for_and_has_to_be_ours(scene: Scene) -> None:
    """A visitors' CA vouches for no agent, and a link without any certificate is none."""
    trial = scene.made.trial.fleet
    foreign = trial.visitors.issue("agent", now=trial.made, uri="spiffe://tunnels.localhost/ns/a/agenttoken/b/agent/c")
    nobody = trial.authority.issue("agent", now=trial.made, uri="spiffe://other.example/ns/a/agenttoken/b/agent/c")

    async def each() -> list[str]:
        ends = []
        for leaf in (foreign, nobody):
            with contextlib.suppress(ConnectionError):
                async with raw_links.quic(scene, leaf) as link:
                    link.ask(HELLO, end=False)
                    ends.append(await link.end())
        return ends

    ((of_foreign, of_nobody),) = endure(scene, each)  # type: ignore[misc]
    assert of_foreign.startswith("closed 0x1")  # an alert of TLS (RFC 9001, 4.8)
    assert of_nobody == REFUSED_CERTIFICATE


# --- over TCP ---------------------------------------------------------------------------------------------------------
OPEN = frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0)
ANSWER = frame(HEADERS, END_HEADERS, 1, b"\x88")
OVER_TCP: dict[str, bytes] = {
    "no HTTP/2": b"\xff" * 4096,
    "HTTP/1.1": b"HTTP/1.1 200 OK\r\n\r\n",
    "an answer before the request": OPEN + frame(HEADERS, END_HEADERS, 3, b"\x88"),
    "a push": OPEN + frame(5, END_HEADERS, 1, struct.pack(">I", 2) + b"\x82"),
    "a frame of 16 MiB": OPEN + frame(DATA, 0, 1, length=(1 << 24) - 1),
    "DATA of nobody": OPEN + frame(DATA, 0, 9, b"x"),
    "fields of a megabyte": OPEN
    + frame(HEADERS, 0, 1, b"\x88")
    + frame(9, 0, 1, literal("a", "b" * 16_000)) * 60
    + frame(9, END_HEADERS, 1),
    "an HPACK bomb": OPEN
    + frame(HEADERS, END_HEADERS, 1, b"\x88\x40\x01x" + prefixed(3900, 7) + b"v" * 3900 + b"\xbe" * 8000),
    "a window past 2^31": OPEN + frame(8, 0, 0, struct.pack(">I", 0x7FFFFFFF)),
    "goodbye": OPEN + frame(GOAWAY, 0, 0, bytes(8)),
    "no message": OPEN + ANSWER + frame(DATA, 0, 1, framed(b"\xff" * 4)),
    "a frame of 4 GiB": OPEN + ANSWER + frame(DATA, 0, 1, framed(b"x", length=0xFFFFFFFF)),
    "a tunnel of others": OPEN
    + ANSWER
    + frame(DATA, 0, 1, HELLO + framed(Frame(register=frames_pb2.Register(tunnel_uids=["other"])))),
    "Hello twice": OPEN + ANSWER + frame(DATA, 0, 1, HELLO + HELLO),
    "the end within a frame": OPEN + ANSWER + frame(DATA, 1, 1, b"\0\0"),
}


def test_what_is_no_protocol_ends_a_link_over_tcp(scene: Scene) -> None:
    """Each is hung up by the exit node; with a certificate and as a stranger."""

    def attack(known: bool) -> Callable[[threading.Event], list[str]]:
        source = scene.attacker()
        leaf = raw_links.certificate(scene) if known else None

        def stays(data: bytes) -> bool:
            with raw_links.tcp(scene, leaf, source=source) as link:
                link.settimeout(ENDED_S)
                try:
                    link.sendall(data)
                    read_to_end(link)
                except TimeoutError:
                    return True
                except OSError:
                    pass  # hung up while it was still being told
            return False

        def run(_: threading.Event) -> list[str]:
            with ThreadPoolExecutor(len(OVER_TCP)) as pool:
                return [name for name, left in zip(OVER_TCP, pool.map(stays, OVER_TCP.values()), strict=True) if left]

        return run

    assert scene.endure(attack(True), attack(False), seconds=ENDED_S).attacks == [[], []]


def test_a_flood_over_tcp_takes_nothing_from_other_agents(scene: Scene) -> None:
    """PINGs and SETTINGS to be answered, by one who never reads: the exit node stops reading too."""

    def attack(stop: threading.Event) -> int:
        sent, many = 0, (frame(PING, 0, 0, bytes(8)) + frame(SETTINGS, 0, 0)) * 1000
        with raw_links.tcp(scene, None, source=scene.attacker()) as link:
            link.settimeout(0.2)
            link.sendall(OPEN + ANSWER)
            while not stop.is_set():
                try:
                    sent += link.send(many)
                except TimeoutError:
                    continue
                except OSError:
                    break
        return sent

    assert all(sent > 0 for sent in scene.endure(attack, attack, seconds=2).attacks)  # type: ignore[operator]


# --- places -----------------------------------------------------------------------------------------------------------
def test_one_address_cannot_take_all_places_of_agents(scene: Scene) -> None:
    """Links that say nothing, over TCP: an address has so many places; others have theirs, and so has the agent."""
    source, leaf = scene.attacker(), raw_links.certificate(scene)
    with contextlib.ExitStack() as held:
        for _ in range(LINKS_PER_ADDRESS):
            held.enter_context(raw_links.tcp(scene, leaf, source=source))
        with scene.good_visitors() as one_round:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                held.enter_context(raw_links.tcp(scene, leaf, source=source))
            held.enter_context(raw_links.tcp(scene, leaf, source=scene.attacker()))
            one_round()
