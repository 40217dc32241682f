"""An agent that keeps no rule: links over QUIC (aioquic) and over TCP (TLS, HTTP/2 frames by hand), to say anything on.

    async with raw_links.quic(scene, certificate) as link:
        link.ask(raw_links.framed(frame), end=False)      # the control stream
        assert await link.end() == "closed 0x7d9"         # HAWSE-2009

Used by tests/abuse. `certificate` None: a stranger, who may enrol (ALPN hawse-enroll/1) and nothing else.
"""

import ssl
import tempfile
import uuid
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from aioquic.quic.configuration import QuicConfiguration

from hawse_agent.trial import fleet, pki
from hawse_api import names
from hawse_api.ir import frames_pb2
from support import http3_raw
from support.attack import Scene

ENROL = names.ALPN_ENROL
LINK = names.ALPN_LINK


def certificate(scene: Scene) -> pki.Leaf:
    """That of an agent with the trial's token: another machine than the one that serves."""
    trial = scene.made.trial.fleet
    who = f"spiffe://{trial.domain}/ns/{fleet.NAMESPACE}/agenttoken/{trial.token_uid}/agent/{uuid.uuid4()}"
    return trial.authority.issue("hostile agent", now=trial.made, uri=who)


def framed(frame: frames_pb2.Frame | bytes, *, length: int | None = None) -> bytes:
    """A frame on a control stream; `length` is what it claims, if not the truth."""
    data = frame if isinstance(frame, bytes) else frame.SerializeToString()
    return (len(data) if length is None else length).to_bytes(4, "big") + data


def hello(slot: str = "hostile", epoch: int = 1) -> frames_pb2.Frame:
    """A proper greeting."""
    return frames_pb2.Frame(hello=frames_pb2.Hello(min_version=1, max_version=1, slot=slot, epoch=epoch))


def quic(
    scene: Scene, leaf: pki.Leaf | None, *, source: str = "127.0.0.1"
) -> AbstractAsyncContextManager[http3_raw.Raw]:
    """A connection to the agents' UDP port."""
    made, place = scene.made, scene.made.nodes[0].place
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[LINK if leaf else ENROL],
        server_name=made.trial.fleet.connect_name,
        verify_mode=ssl.CERT_NONE,
        idle_timeout=60,
    )
    if leaf is not None:
        configuration.certificate, *configuration.certificate_chain = leaf.chain
        configuration.private_key = leaf.key
    return http3_raw.dial((place.address, place.agents_port), configuration, source=source)


def tcp(scene: Scene, leaf: pki.Leaf | None, *, source: str = "127.0.0.1") -> ssl.SSLSocket:
    """A connection to the visitors' TCP port, which the edge hands over to the tunnel server."""
    made = scene.made
    context = ssl.create_default_context(cadata=made.trial.fleet.authority.pem)
    context.set_alpn_protocols([LINK if leaf else ENROL])
    if leaf is not None:
        with tempfile.TemporaryDirectory() as directory:
            pem = Path(directory) / "agent.pem"
            pem.write_text(leaf.chain_pem + leaf.key_pem)
            context.load_cert_chain(pem)
    raw = scene.tcp(source)
    try:
        return context.wrap_socket(raw, server_hostname=made.trial.fleet.connect_name, suppress_ragged_eofs=True)
    except BaseException:
        raw.close()
        raise
