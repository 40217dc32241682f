"""The cap on all connections, as it really comes about: a process that may open few files, and visitors who fill it."""

import contextlib
import resource
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import http3, http3_raw, loopback, raw_links
from support.attack import Scene
from support.recording_app import RecordingApp

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

HARD, SOFT = 300, 80
CAP = HARD // 2
"""hawse_exitnode.descriptors.visitor_cap: a small limit is shared in halves."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Scene]:
    """An exit node that was started under low limits of open files."""
    with RecordingApp() as app, loopback.fleet(tmp_path) as made:
        node = made.add_exit_node(start=False)
        node.process.argv = [
            "sh",
            "-c",
            f'ulimit -Sn {SOFT} && ulimit -Hn {HARD} && exec "$@"',
            "sh",
            *node.process.argv,
        ]
        node.start()
        made.start_agent("http", app.target)
        yield Scene(made, app)


async def test_past_the_cap_new_visitors_are_refused_and_those_who_came_are_served(small: Scene) -> None:
    """Over TCP by a close, over QUIC in its words; agents come in all the same, and places come back."""
    made = small.made
    assert resource.prlimit(made.nodes[0].process.pid, resource.RLIMIT_NOFILE) == (HARD, HARD), "raised by itself"
    assert f"visitors={CAP}" in made.nodes[0].process.err, "and said that it is little"
    with made.visitor() as kept1, made.visitor(http2=True) as kept2, contextlib.ExitStack() as held:
        async with http3.visitor(made) as kept3:

            async def the_old_are_served() -> None:
                small.check(kept1)
                small.check(kept2)
                assert (await kept3.request("GET", "/old")).text == "GET /old"

            await the_old_are_served()
            for _ in range(CAP - 3):
                held.enter_context(small.tls(source=small.attacker()))
            assert made.metric("edge_connections_open") == CAP
            refused = made.metric("edge_connections_refused_total")
            for alpn in ("http/1.1", "h2"):
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    small.tls(alpn)
            with pytest.raises(ConnectionError):
                async with http3_raw.connect(made):
                    pass
            assert made.metric("edge_connections_refused_total") == refused + 3
            with raw_links.tcp(small, raw_links.certificate(small)) as agent:
                assert agent.selected_alpn_protocol() == raw_links.LINK
            await the_old_are_served()
            held.close()
            with small.good_visitors() as one_round:
                one_round()
            await the_old_are_served()
