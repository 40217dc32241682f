"""The whole product where the agent reaches one region only: visitors of the other region, and of each of several pods.

The other region's exit node has an address for agents at which nobody answers; visitors come to its pods all the same.
"""

import asyncio
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from websockets.asyncio.client import connect as websocket

from hawse_api import names
from support import loopback
from support.control import free_ports
from support.operator import SYSTEM, Api, exit_node, wait_for
from support.whole import HOST, Laptop, installed, laptop, links, pods_of, text_of_token, without_operator

pytestmark = pytest.mark.timeout(600)  # a cold machine builds Helm first
REGIONS = {"eu-1": "eu-west", "us-1": "us-east"}
NOWHERE = {"type": "Static", "static": {"ips": ["127.250.250.250"]}}
BACK_S = 90.0
BODY_BYTES = 30_000_000


@pytest.fixture(scope="module")
def app_port() -> Iterator[int]:
    """The sample app, which also has uploads and WebSockets."""
    (port,) = free_ports("127.0.0.1", 1)
    argv = [sys.executable, str(loopback.APP), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as app:
        yield port
        app.terminate()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with installed(tmp_path_factory.mktemp("backhaul"), regions=REGIONS) as api:
        before = text_of_token(api)
        api.apply(exit_node("us-1", "us-east", address=NOWHERE))
        wait_for("the token's text follows", lambda: text_of_token(api) not in ("", before), timeout_s=BACK_S)
        yield api


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory, api: Api, app_port: int) -> Iterator[Laptop]:
    with laptop(tmp_path_factory.mktemp("laptop"), api, app_port) as one:
        wait_for("the agent's session", lambda: links(api), timeout_s=30.0)
        yield one


def addresses(api: Api, name: str) -> list[str]:
    """Of its pods that are ready."""
    return [
        pod["status"]["podIP"]
        for pod in pods_of(api, name)
        if "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    ]


def visitor(address: str) -> httpx.Client:
    return httpx.Client(base_url=f"https://{address}:{names.PORT_HTTPS}", verify=False, timeout=30.0, trust_env=False)  # noqa: S501 - self-signed


def is_served(address: str) -> bool:
    """A request over a new connection reaches the app."""
    with visitor(address) as http:
        answer = http.get("/headers", headers={"Host": HOST}, extensions={"sni_hostname": HOST})
    return answer.status_code == 200 and "headers" in json.loads(answer.text)


def is_without_agent(api: Api, name: str) -> bool:
    """Nobody has a session at its pods."""
    return not {pod["metadata"]["name"] for pod in pods_of(api, name)} & set(links(api))


def carried(address: str) -> float:
    """Streams that this exit node had others open."""
    text = httpx.get(f"http://{address}:{names.PORT_ADMIN}/metrics", timeout=10.0, trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("hawse_peer_streams_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@pytest.mark.usefixtures("at_home")
async def test_visitors_of_the_region_without_the_agent_are_served(api: Api) -> None:
    (address,) = addresses(api, "us-1")
    wait_for("it is served", lambda: is_served(address))
    assert is_without_agent(api, "us-1")
    assert carried(address) > 0

    body = os.urandom(BODY_BYTES)
    with visitor(address) as http:
        answer = http.post("/upload", headers={"Host": HOST}, content=body, extensions={"sni_hostname": HOST})
    assert answer.json() == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection((address, names.PORT_HTTPS), timeout=10)
    raw.setblocking(False)
    async with (
        asyncio.timeout(30),
        websocket(f"wss://{HOST}/ws", sock=raw, ssl=context, server_hostname=HOST) as echo,
    ):
        for message in ("hello", "x" * 100_000, b"\x00" * 70_000):
            await echo.send(message)
            assert await echo.recv() == message


def test_the_agent_that_comes_back_is_found_though_the_operator_is_dead(api: Api, at_home: Laptop) -> None:
    (address,) = addresses(api, "us-1")
    with without_operator(api, killed=True):
        at_home.stop()
        wait_for("nobody is there", lambda: not is_served_now(address))
        at_home.serve()
        wait_for("it is served", lambda: is_served_now(address))


def is_served_now(address: str) -> bool:
    """As `is_served`; an error page is no."""
    try:
        return is_served(address)
    except (httpx.HTTPError, json.JSONDecodeError):
        return False


@pytest.mark.usefixtures("at_home")
def test_each_of_several_pods_serves_whom_it_meets(api: Api) -> None:
    for name in REGIONS:
        api.cluster.kubectl("scale", "exitnode", name, "--replicas=2")
    wait_for("two pods each", lambda: all(len(addresses(api, name)) == 2 for name in REGIONS), timeout_s=BACK_S)
    for name in REGIONS:
        for address in addresses(api, name):
            wait_for(f"{name} is served at {address}", lambda address=address: is_served_now(address), timeout_s=30.0)
    assert is_without_agent(api, "us-1")
    assert all(carried(address) > 0 for address in addresses(api, "us-1"))
    api.wait_reason("exitnode", "us-1", "Ready", "Ready")

    lost = addresses(api, "us-1")
    api.cluster.kubectl("-n", SYSTEM, "delete", "pod", pods_of(api, "us-1")[0]["metadata"]["name"], "--wait=false")
    wait_for(
        "a new pod", lambda: len(found := addresses(api, "us-1")) == 2 and set(found) != set(lost), timeout_s=BACK_S
    )
    for address in addresses(api, "us-1"):
        wait_for(f"the new pod is served at {address}", lambda address=address: is_served_now(address), timeout_s=30.0)
