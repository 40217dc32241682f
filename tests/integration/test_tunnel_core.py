"""Two cores in one process, joined by real QUIC on loopback: the face of the tunnel as exit node and agent use it."""

import asyncio
import inspect
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from hawse_api import names
from hawse_api.ir import core_pb2, frames_pb2
from hawse_tunnel import core as tunnel_core
from hawse_tunnel import errors
from hawse_tunnel._core import Core
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import EndedBy, Event, FrameReceived, LinkDown, LinkUp
from support.cores import Ca, Peer, ask, enrol_request, free_port, hello, link_request, linked, serve_shop


@pytest.fixture
async def address(node: Peer, ca: Ca) -> str:
    """Where the node listens for agents."""
    bind = f"127.0.0.1:{free_port()}"
    await node.core.serve_links(bind, ca.issue())
    return bind


async def test_frames_pass_in_order_both_ways(node: Peer, agent: Peer, address: str, ca: Ca) -> None:
    identity = ca.issue("agent")
    theirs = await agent.core.dial(link_request(address, identity))
    for number in range(50):
        agent.core.send(theirs.link, hello(f"slot {number}"))
        await asyncio.sleep(0)
    ours = await node.wait(LinkUp)
    assert (ours.alpn, ours.peer_certificate, ours.dialed) == (names.ALPN_LINK, identity.chain[0], False)
    assert (theirs.remote, theirs.dialed) == (address, True)
    await node.wait(FrameReceived, lambda event: event.frame.hello.slot == "slot 49")
    slots = [event.frame.hello.slot for event in node.seen if isinstance(event, FrameReceived)]
    assert slots == [f"slot {number}" for number in range(50)]
    node.core.send(ours.link, frames_pb2.Frame(welcome=frames_pb2.Welcome(version=1, region="eu-west")))
    answer = await agent.wait(FrameReceived)
    assert answer.frame.welcome.region == "eu-west"


async def test_the_reason_arrives_before_the_end(node: Peer, agent: Peer, address: str, ca: Ca) -> None:
    ours, _ = await linked(node, agent, address, ca)
    refused = frames_pb2.Refused(code="HAWSE-2003", message="the token was deleted", final=True)
    node.core.send(ours.link, frames_pb2.Frame(refused=refused))
    node.core.close_link(ours.link, 2003, "revoked")
    down = await agent.wait(LinkDown)
    assert (down.code, down.reason, down.by) == (2003, "revoked", EndedBy.PEER)
    assert [event.frame.refused for event in agent.seen if isinstance(event, FrameReceived)] == [refused]
    assert (await node.wait(LinkDown)).by is EndedBy.US


async def test_an_agent_enrols_by_the_hash_of_the_ca(node: Peer, agent: Peer, address: str, ca: Ca) -> None:
    up = await agent.core.dial(enrol_request(address, bytes(32), ca.sha256()))
    assert up.ca == ca.der
    agent.core.send(up.link, frames_pb2.Frame(enrol_hello=frames_pb2.EnrolHello(min_version=1, max_version=1)))
    ours = await node.wait(LinkUp)
    assert (ours.alpn, ours.peer_certificate) == (names.ALPN_ENROL, b"")


async def test_a_node_under_another_ca_or_name_is_untrusted(agent: Peer, node: Peer, address: str, ca: Ca) -> None:
    with pytest.raises(errors.UntrustedError, match=r"could not prove that it is .*HAWSE-2011"):
        await agent.core.dial(link_request(address, Ca().issue("agent")))
    with pytest.raises(errors.UntrustedError, match="elsewhere"):
        await agent.core.dial(link_request(address, ca.issue("agent"), name="connect.elsewhere.test"))
    with pytest.raises(errors.UntrustedError, match="not the one that the token names"):
        await agent.core.dial(enrol_request(address, bytes(32)))
    assert not node.seen


async def test_a_certificate_that_is_not_accepted_is_named(agent: Peer, address: str, ca: Ca) -> None:
    stranger = Ca().issue("agent")
    stranger.roots[:] = [ca.der]
    with pytest.raises(errors.CertificateError, match="HAWSE-2016"):
        await agent.core.dial(link_request(address, stranger))
    expired = ca.issue("agent", valid=timedelta(seconds=-1))
    with pytest.raises(errors.CertificateError, match="HAWSE-2014"):
        await agent.core.dial(link_request(address, expired))


async def test_nobody_there_is_unreachable(agent: Peer, ca: Ca) -> None:
    request = link_request(f"127.0.0.1:{free_port()}", ca.issue("agent"))
    request.timeout_ms = 300
    with pytest.raises(errors.UnreachableError, match=r"no answer from the exit node .* within 0.3 s"):
        await agent.core.dial(request)


async def test_a_port_in_use_is_named(agent: Peer, address: str, ca: Ca) -> None:
    with pytest.raises(errors.ListenError, match="HAWSE-2013"):
        await agent.core.serve_links(address, ca.issue())


async def test_new_handshakes_see_a_rotated_identity_and_links_stay(
    node: Peer, agent: Peer, address: str, ca: Ca
) -> None:
    ours, theirs = await linked(node, agent, address, ca)
    successor = Ca()
    rotated = successor.issue()
    node.core.rotate_identity(rotated)
    with pytest.raises(errors.UntrustedError):
        await agent.core.dial(link_request(address, ca.issue("agent")))
    again = await agent.core.dial(link_request(address, successor.issue("agent")))
    assert again.peer_certificate == rotated.chain[0]
    agent.core.send(theirs.link, hello("still here"))
    frame = await node.wait(FrameReceived, lambda event: event.frame.hello.slot == "still here")
    assert frame.link == ours.link


async def test_a_dial_that_is_cancelled_leaves_no_link(node: Peer, agent: Peer, address: str, ca: Ca) -> None:
    dial = asyncio.ensure_future(agent.core.dial(link_request(address, ca.issue("agent"))))
    await asyncio.sleep(0)
    dial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dial
    kept = await agent.core.dial(link_request(address, ca.issue("agent")))
    agent.core.send(kept.link, hello())
    async with asyncio.timeout(10):
        while [link.link for link in agent.core.snapshot().links] != [kept.link]:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)
    assert [event for event in agent.seen if isinstance(event, LinkUp)] == [kept]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda core: core.attach(1, {"uid": ("127.0.0.1", 0)}), "not an address of an app"),
        (lambda core: core.rotate_identity(core_pb2.Identity()), "no certificate"),
        (lambda core: core.send(1, frames_pb2.Frame(enrolled=frames_pb2.EnrolResponse(chain=[bytes(70_000)]))), None),
    ],
    ids=["attach", "rotate", "unknown link"],
)
async def test_bad_arguments_are_rejected_at_the_call(
    agent: Peer, call: Callable[[TunnelCore], None], words: str | None
) -> None:
    if words is None:
        call(agent.core)  # a link that is gone is no error: its end is on its way
        return
    with pytest.raises(errors.RejectedError, match=words):
        call(agent.core)


async def test_a_frame_over_the_limit_is_rejected_by_its_sender(node: Peer, agent: Peer, address: str, ca: Ca) -> None:
    ours, _ = await linked(node, agent, address, ca)
    with pytest.raises(errors.RejectedError, match="longer than 65536"):
        node.core.send(ours.link, frames_pb2.Frame(enrolled=frames_pb2.EnrolResponse(chain=[bytes(70_000)])))


async def test_a_visitor_reaches_the_app_and_learns_which_hop_failed(
    node: Peer, agent: Peer, address: str, ca: Ca
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        body = request.split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    app = await asyncio.start_server(answer, "127.0.0.1", 0)
    edge = await serve_shop(node, agent, address, ca, app.sockets[0].getsockname())
    assert (await ask(edge, ca, "/cart?x=1"))[::2] == (200, b"/cart?x=1")
    app.close()
    status, fields, _ = await ask(edge, ca)
    assert (status, fields["x-hawse-error"]) == (502, "hawse-1003")
    agent.core.close_link(next(event.link for event in agent.seen if isinstance(event, LinkUp)), 0, "bye")
    await node.wait(LinkDown)
    status, fields, _ = await ask(edge, ca)
    assert (status, fields["x-hawse-error"]) == (503, "hawse-1002")
    snapshot = node.core.snapshot()
    assert [(tunnel.tunnel_uid, tunnel.requests) for tunnel in snapshot.tunnels] == [("uid-1", 3)]


async def test_a_drained_edge_lets_requests_end_and_keeps_its_links(
    node: Peer, agent: Peer, address: str, ca: Ca
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as app, asyncio.TaskGroup() as group:
        edge = await serve_shop(node, agent, address, ca, app.sockets[0].getsockname())
        visit = group.create_task(ask(edge, ca, keep_alive=True))
        async with asyncio.timeout(10):
            await asked.wait()
        drain = group.create_task(node.core.drain_edge(60))
        while await accepts(edge):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
        assert not drain.done()
        go.set()
        async with asyncio.timeout(10):
            status, fields, body = await visit
            await drain
    assert (status, fields["connection"], body) == (200, "close", b"late")
    agent.core.send(next(event.link for event in agent.seen if isinstance(event, LinkUp)), hello("still here"))
    await node.wait(FrameReceived, lambda event: event.frame.hello.slot == "still here")
    with pytest.raises(errors.ListenError, match="drains"):
        await node.core.serve_edge(edge)


async def accepts(edge: str) -> bool:
    """Whether a visitor still gets a TCP connection."""
    host, port = edge.split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionError:
        return False
    writer.close()
    return True


async def test_a_closed_core_says_so_and_ends_its_events(ca: Ca) -> None:
    core = TunnelCore()
    request = link_request(f"127.0.0.1:{free_port()}", ca.issue("agent"))
    async with asyncio.TaskGroup() as group:
        dial = group.create_task(_outcome(core, request))
        events = group.create_task(_drained(core))
        await asyncio.sleep(0.05)
        await core.close()
        await core.close()
    assert isinstance(dial.result(), errors.CoreClosedError)
    assert events.result() == []
    with pytest.raises(errors.CoreClosedError):
        core.snapshot()


async def _outcome(core: TunnelCore, request: core_pb2.DialRequest) -> Exception | None:
    try:
        await core.dial(request)
    except errors.TunnelError as exc:
        return exc
    return None


async def _drained(core: TunnelCore) -> list[Event]:
    return [event async for event in core.events()]


def test_a_fork_cannot_use_the_core() -> None:
    core = Core()
    child = os.fork()
    if child == 0:
        try:
            core.drain()
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    core.close()


def test_the_stub_has_exactly_what_the_module_has() -> None:
    stub = (Path(tunnel_core.__file__).parent / "_core.pyi").read_text()
    declared = {line.split("def ")[1].split("(")[0] for line in stub.splitlines() if line.startswith("    def ")}
    assert declared - {"__new__"} == {name for name in dir(Core) if not name.startswith("__")}
    for name in declared - {"__new__"}:
        line = next(line for line in stub.splitlines() if f"def {name}(" in line)
        assert list(inspect.signature(getattr(Core, name)).parameters) == [
            word.split(":")[0].strip() for word in line.split("(")[1].split(")")[0].split(",")
        ]
