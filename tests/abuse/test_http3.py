"""HTTP/3 attacks over real QUIC, by a client that writes its own frames, beside visitors who have to be served.

The well-behaved ask over HTTP/1.1, 2 and 3 at the same time. Bounds: docs/edge-limits.md. What is malformed is in
test_http3_malformed.py; the edge's rules one by one, with small limits, in Rust (edge/tests/http3_abuse.rs).
"""

import asyncio
import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from aioquic.h3.connection import FrameType
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from support import http3, http3_raw
from support.attack import GROWTH_BYTES, LINK_BYTES, Attack, Scene
from support.http3_raw import CONTROL, DECODER, ENCODER, SETTINGS, Raw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

CONNECTIONS = 2
FIRST_S = 20.0
"""By then the edge has to have ended an attacker's first connection; it takes a fraction of a second."""
EXCESSIVE_LOAD, STREAM_LIMIT_ERROR = "closed 0x107", "closed 0x4"
STALLED_READERS = 96
"""Of exitnode/core/edge/src/limits.rs."""
GOOD = 8
"""Requests of well-behaved visitors at the same time."""
ANSWERED = 'tunnel_requests_total{class="2xx"'
GOODBYE = "closed 0x100"
"""In order: after GOAWAY, of either side."""


def head(scene: Scene, method: str = "GET", path: str = "/h3", *more: tuple[str, str]) -> bytes:
    """A HEADERS frame."""
    usual = [(":method", method), (":scheme", "https"), (":authority", scene.host), (":path", path)]
    return http3_raw.head([*usual, *more])


# --- attackers and the well-behaved -----------------------------------------------------------------------------------
async def ask_on_and_on(scene: Scene, is_over: Callable[[], bool]) -> int:
    """A visitor who means well, on a connection that is kept and on new ones; how often it was served."""
    async with http3.visitor(scene.made) as kept:
        for number in itertools.count():
            async with contextlib.AsyncExitStack() as closing:
                clients = [kept] if number % 4 else [kept, await closing.enter_async_context(http3.visitor(scene.made))]
                for client in clients:
                    answer = await client.request("GET", path := f"/good/h3/{number}")
                    assert (answer.status, answer.text) == (200, f"GET {path}")
            if is_over():
                return number + 1
            await asyncio.sleep(0.05)
    raise AssertionError("it never ends by itself")


def endure(
    scene: Scene,
    *attacks: Callable[[threading.Event], Awaitable[object]],
    seconds: float = 0.5,
    growth_bytes: int = GROWTH_BYTES,
) -> list[object]:
    """Run the attacks beside visitors of all three protocols, for so long or until all are over; what they returned."""
    running, over = itertools.count(1), threading.Event()

    def threaded(attack: Callable[[threading.Event], Awaitable[object]]) -> Attack:
        async def run(stop: threading.Event) -> object:
            try:
                return await attack(stop)
            finally:
                if next(running) == len(attacks):
                    over.set()

        return lambda stop: asyncio.run(run(stop))

    def well_behaved(stop: threading.Event) -> int:
        return asyncio.run(ask_on_and_on(scene, lambda: stop.is_set() or over.is_set()))

    report = scene.endure(
        *map(threaded, attacks), well_behaved, seconds=seconds, growth_bytes=growth_bytes, kept_bytes=growth_bytes
    )
    *outcomes, served = report.attacks
    assert isinstance(served, int)
    assert served > 0
    return outcomes


def flood(
    scene: Scene, one_round: Callable[[Raw], object], *, before: Callable[[Raw], object] = lambda _: None
) -> list[str]:
    """Connections that start anew when they are ended; how each one ended, but those that ran when time was up."""

    async def attack(stop: threading.Event) -> list[str]:
        source, ends, patience = scene.attacker(), [], time.monotonic() + FIRST_S
        # The first runs until it is ended, however busy the machine is; the others until time is up.
        while not stop.is_set() or (not ends and time.monotonic() < patience):
            async with http3_raw.connect(scene.made, source=source) as client:
                client.uni(CONTROL, SETTINGS)
                before(client)
                while await client.turn() and (not stop.is_set() or not ends) and time.monotonic() < patience:
                    one_round(client)
                if client.ended.done():
                    ends.append(await client.end())
        return ends

    outcomes = endure(scene, *[attack] * CONNECTIONS)
    assert all(outcomes), "each attacker's connection was ended by the edge"
    return [end for ends in outcomes for end in ends]  # type: ignore[attr-defined]


def reached(scene: Scene, target: str) -> int:
    """How often the app was asked for this."""
    return sum(request == target for one in scene.app.take() for request, _ in one.requests())


# --- floods -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch", [1, 100], ids=["one by one", "as many as are permitted, again and again"])
def test_rapid_reset_is_ended_and_hardly_reaches_the_app(scene: Scene, batch: int) -> None:
    """Each cancel makes the edge permit another stream (MAX_STREAMS), so that no limit of streams ever bites."""
    ask = head(scene)

    def one_round(client: Raw) -> None:
        streams = []
        while client.may_ask() and len(streams) < batch:
            stream = client.quic.get_next_available_stream_id()
            client.quic.send_stream_data(stream, ask, end_stream=True)
            streams.append(stream)
        for stream in streams:
            client.cancel(stream)

    ends = flood(scene, one_round)
    assert set(ends) <= {EXCESSIVE_LOAD, GOODBYE}, (
        "H3_WASTE_BURST, or H3_VAIN_STREAMS: cancelled before they were taken up"
    )
    assert reached(scene, "GET /h3") <= 1300 * (len(ends) + CONNECTIONS), "1000 at once, and 50 a second"


def test_resets_that_answers_pay_for_stay_within_their_price(scene: Scene) -> None:
    """An answer taken whole earns two resets back: thirty for each answer still end the connection."""
    ask = head(scene)

    async def attack(_: threading.Event) -> str:
        async with http3_raw.connect(scene.made, source=scene.attacker()) as client:
            client.uni(CONTROL, SETTINGS)
            deadline = time.monotonic() + FIRST_S
            while not client.ended.done() and time.monotonic() < deadline:
                for _ in range(30):
                    if client.may_ask():
                        client.cancel(client.ask(ask))
                await client.outcome(client.ask(ask))
            return await client.end()

    # H3_WASTE_BURST, or H3_VAIN_STREAMS: cancelled before it was taken up
    assert endure(scene, attack) in ([EXCESSIVE_LOAD], [GOODBYE])


@pytest.mark.parametrize(("kind", "payload"), [(0x21, b""), (0x77, b"unknown"), (FrameType.DATA, b"")])
def test_a_flood_of_frames_that_carry_nothing_is_ended(scene: Scene, kind: int, payload: bytes) -> None:
    many = http3.frame(kind, payload) * 100
    streams: dict[Raw, int] = {}
    ends = flood(
        scene,
        lambda client: client.more(streams[client], many),
        before=lambda client: streams.update({client: client.ask(head(scene, "POST"), end=False)}),
    )
    assert set(ends) == {EXCESSIVE_LOAD}


@pytest.mark.parametrize("kind", [0x21, FrameType.GOAWAY, FrameType.MAX_PUSH_ID])
def test_a_flood_on_the_control_stream_is_ended(scene: Scene, kind: int) -> None:
    many = http3.frame(kind, b"\0") * 100
    ends = flood(scene, lambda client: client.more(2, many))
    assert set(ends) <= ({EXCESSIVE_LOAD, GOODBYE} if kind == FrameType.GOAWAY else {EXCESSIVE_LOAD})


def test_a_flood_of_unknown_streams_is_ended(scene: Scene) -> None:
    ends = flood(scene, lambda client: client.uni(0x21, b"grease", end=True))
    assert set(ends) == {EXCESSIVE_LOAD}


def test_more_streams_than_permitted_end_the_connection(scene: Scene) -> None:
    """aioquic keeps to MAX_STREAMS unless its view of it is forged."""

    async def attack(_: threading.Event) -> str:
        async with http3_raw.connect(scene.made, source=scene.attacker()) as client:
            client.quic._remote_max_streams_bidi = 1 << 20
            for _ in range(200):
                client.ask(head(scene, path="/silent"))
            return await client.end()

    assert endure(scene, attack) == [STREAM_LIMIT_ERROR]
    scene.app_is_left()


def test_a_flood_of_pings_costs_nobody_else(scene: Scene) -> None:
    """QUIC answers each with a packet; there is nothing to keep."""

    async def attack(stop: threading.Event) -> int:
        async with http3_raw.connect(scene.made, source=scene.attacker()) as client:
            for number in itertools.count():
                client.quic.send_ping(number)
                if not await client.turn() or stop.is_set():
                    return number
        raise AssertionError

    assert all(isinstance(sent, int) and sent > 200 for sent in endure(scene, attack, attack, seconds=1.5))


# --- bombs ------------------------------------------------------------------------------------------------------------
HEADERS_OF = {
    "the longest fields of the static table": b"\xfa" * 60_000,
    "crumbs of cookies": b"\xc5" * 60_000,
    "a name of 60 kB": b"\x27\x80\xd4\x03" + b"x" * 60_000 + b"\x00",
    "Huffman codes": b"\x50\xff\x80\xd3\x03" + b"\x00" * 60_000,
}


@pytest.mark.parametrize("fields", HEADERS_OF.values(), ids=HEADERS_OF.keys())
def test_a_qpack_bomb_is_refused(scene: Scene, fields: bytes) -> None:
    """A byte on the wire that is a hundred in memory; on many streams at once."""
    usual = http3_raw.head([(":method", "GET"), (":scheme", "https"), (":authority", scene.host), (":path", "/h3")])
    block = usual[usual.index(b"\0\0") :] + fields

    async def attack(stop: threading.Event) -> int:
        source, sent = scene.attacker(), 0
        while not stop.is_set() or not sent:
            async with http3_raw.connect(scene.made, source=source) as client:
                client.uni(CONTROL, SETTINGS)
                streams = [client.ask(http3.frame(FrameType.HEADERS, block)) for _ in range(20)]
                for stream in streams:
                    assert (await client.outcome(stream)).split()[0] in ("431", "400", "reset", "closed")
                sent += len(streams)
        return sent

    assert all(endure(scene, *[attack] * CONNECTIONS))
    assert reached(scene, "GET /h3") == 0


def test_heads_that_are_declared_and_never_whole_are_bounded(scene: Scene) -> None:
    """A gibibyte is refused by its length; 60 kB each on a hundred streams, of which the last byte never comes."""
    begun = http3.frame(FrameType.HEADERS, bytes(60_000), declared=60_001)

    async def declared(_: threading.Event) -> str:
        async with http3_raw.connect(scene.made, source=scene.attacker()) as client:
            client.ask(http3.frame(FrameType.HEADERS, b"", declared=1 << 30), end=False)
            return await client.end()

    async def never_whole(_: threading.Event) -> str:
        async with http3_raw.connect(scene.made, source=scene.attacker()) as client:
            for _ in range(100):
                client.ask(begun, end=False)
            return await client.end()

    assert endure(scene, declared, never_whole) == [EXCESSIVE_LOAD] * 2


QPACK = {
    "a table of 4 KiB": (ENCODER, b"\x3f\xe1\x1f", 0x201),
    "insertions": (ENCODER, b"\x41a\x01b" * 10_000, 0x201),
    "duplicates": (ENCODER, b"\x00" * 10_000, 0x201),
    "increments": (DECODER, b"\x01" * 10_000, 0x202),
    "acknowledgements": (DECODER, b"\x84" * 10_000, 0x202),
}


@pytest.mark.parametrize(("kind", "said", "code"), QPACK.values(), ids=QPACK.keys())
async def test_there_is_no_dynamic_table_to_fill(scene: Scene, kind: int, said: bytes, code: int) -> None:
    async with http3_raw.connect(scene.made) as client:
        client.uni(CONTROL, SETTINGS)
        client.uni(kind, said)
        assert await client.end() == f"closed {code:#x}"


def test_streams_that_wait_for_a_dynamic_table_end_the_connection(scene: Scene) -> None:
    """Blocked streams: field sections that refer to insertions which never come."""
    blocked = http3.frame(FrameType.HEADERS, b"\x02\x00\x80")
    ends = flood(scene, lambda client: client.ask(blocked))
    assert set(ends) == {"closed 0x200"}


# --- windows ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("of", ["streams", "the connection"])
def test_windows_that_never_open_hold_little_and_block_nobody(scene: Scene, of: str) -> None:
    """A hundred answers without end on each connection, of which a few kilobytes at most may be sent."""

    def narrow(quic: QuicConnection) -> None:
        if of == "streams":
            quic._local_max_stream_data_bidi_local = 0  # aioquic never raises this one
        else:
            quic._local_max_data.value = 4096
            quic._write_connection_limits = lambda builder, space: None  # type: ignore[method-assign]

    enough = threading.Event()

    async def attack(stop: threading.Event) -> None:
        async with http3_raw.connect(scene.made, source=scene.attacker(), before=narrow) as client:
            client.uni(CONTROL, SETTINGS)
            streams = [client.ask(head(scene, path="/big")) for _ in range(100)]
            while not (stop.is_set() or enough.is_set()) and await client.turn():  # noqa: ASYNC110 - of a thread
                await asyncio.sleep(0.05)
            for stream in streams:
                client.cancel(stream)
            await client.turn()

    async def watch(stop: threading.Event) -> int:
        """Until all have come, and then until those that are too many have made room."""
        before, waiting = scene.made.metric(ANSWERED), -1
        while not stop.is_set() and (  # noqa: ASYNC110 - of another process
            scene.made.metric(ANSWERED) < before + 200
            or (waiting := scene.made.metric("tunnel_requests_in_flight")) > STALLED_READERS + GOOD
        ):
            await asyncio.sleep(0.1)
        enough.set()
        return waiting

    *_, waiting = endure(scene, attack, attack, watch, seconds=FIRST_S, growth_bytes=LINK_BYTES)
    assert isinstance(waiting, int)
    assert 0 <= waiting <= STALLED_READERS + GOOD
    scene.app_is_left()


# --- connections ------------------------------------------------------------------------------------------------------
def begin(address: tuple[str, int], *, alpn: str, name: str) -> list[bytes]:
    """The first datagrams of a handshake."""
    quic = QuicConnection(configuration=QuicConfiguration(is_client=True, alpn_protocols=[alpn], server_name=name))
    quic.connect(address, now=time.monotonic())
    return [data for data, _ in quic.datagrams_to_send(now=time.monotonic())]


@pytest.mark.parametrize("port", ["visitors", "agents"])
def test_half_open_handshakes_cost_a_round_trip_and_are_not_amplified(scene: Scene, port: str) -> None:
    """200 Initials from as many ports, never answered: 64 get a handshake, the others are asked for a proof (Retry)."""
    place = scene.made.nodes[0].place
    to_agents = port == "agents"
    at = (place.address, place.agents_port if to_agents else place.https_port)
    alpn, name = ("hawse/1", f"connect.{scene.made.trial.fleet.domain}") if to_agents else ("h3", scene.host)

    async def attack(_: threading.Event) -> list[tuple[int, list[bytes]]]:
        source, sockets = scene.attacker(), []
        with contextlib.ExitStack() as closing:
            for _ in range(200):
                one = closing.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                one.bind((source, 0))
                one.setblocking(False)
                sent = begin(at, alpn=alpn, name=name)
                for datagram in sent:
                    one.sendto(datagram, at)
                sockets.append((one, sum(map(len, sent))))
                await asyncio.sleep(0)
            await asyncio.sleep(1)
            return [(sent, received(one)) for one, sent in sockets]

    (answers,) = endure(scene, attack, seconds=30)
    assert isinstance(answers, list)
    for sent, datagrams in answers:
        # RFC 9000, 8.1 says three times what came; quinn lets the last datagram go beyond it (quinn-rs/quinn#1082).
        assert sum(map(len, datagrams)) <= 3 * sent + 1200
    retries = sum(any(is_retry(one) for one in datagrams) for _, datagrams in answers)
    begun = sum(any(not is_retry(one) for one in datagrams) for _, datagrams in answers)
    assert retries >= 100
    assert 0 < begun <= 64


def received(one: socket.socket) -> list[bytes]:
    datagrams = []
    with contextlib.suppress(BlockingIOError):
        while True:
            datagrams.append(one.recv(65536))
    return datagrams


def is_retry(datagram: bytes) -> bool:
    return datagram[0] & 0xF0 == 0xF0


async def test_the_cap_of_an_address_counts_both_transports(scene: Scene) -> None:
    """1024 over TCP from one address: QUIC from there is refused in words of the transport, and others are served."""
    source = scene.attacker()
    with contextlib.ExitStack() as held:
        for _ in range(1024):
            held.enter_context(scene.tcp(source))
        with scene.good_visitors() as one_round:
            with pytest.raises(ConnectionError):
                async with http3_raw.connect(scene.made, source=source):
                    pass
            one_round()
        async with http3.visitor(scene.made) as other:
            assert (await other.request("GET", "/h3")).status == 200
    for _ in range(50):
        with contextlib.suppress(ConnectionError):
            async with http3_raw.connect(scene.made, source=source) as again:
                assert await again.outcome(again.ask(head(scene))) == "200"
                return
        await asyncio.sleep(0.1)
    raise AssertionError("its places did not come back")
