"""What the demo cannot do it says before it starts anything: a sentence, the way out, no traceback."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.typed import Typed, summary_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1900)]


@pytest.fixture(params=[3000, 8443])
def taken_port(request: pytest.FixtureRequest) -> Iterator[int]:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", request.param))
        holder.listen()
        yield request.param


def test_a_port_in_use_is_named_with_the_way_out(typed: Callable[..., Typed], taken_port: int) -> None:
    demo = typed("make", "demo", "CHECK=1")
    assert demo.wait() != 0
    assert f"127.0.0.1:{taken_port}" in demo.text
    assert f"={taken_port + 1} make demo" in demo.text
    assert summary_of(demo.last_line)[1] == 1
    assert "Traceback" not in demo.text
    assert demo.left == []


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        pytest.param({"KUBECONFIG": "/nowhere/kubeconfig"}, "which is no file", id="kubeconfig-missing"),
        pytest.param({"HAWSE_DEMO_APP_PORT": "web"}, "HAWSE_DEMO_APP_PORT=web is no port", id="port-is-a-word"),
    ],
)
def test_a_bad_setting_is_named(typed: Callable[..., Typed], environment: dict[str, str], said: str) -> None:
    demo = typed("make", "demo", "CHECK=1", **environment)
    assert demo.wait() != 0
    assert said in demo.text
    assert "Traceback" not in demo.text


def test_an_existing_cluster_needs_images_that_it_can_pull(typed: Callable[..., Typed], tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{}")
    demo = typed("make", "demo", "CHECK=1", KUBECONFIG=str(kubeconfig))
    assert demo.wait() != 0
    assert "HAWSE_OPERATOR_IMAGE" in demo.text
    assert "Traceback" not in demo.text
