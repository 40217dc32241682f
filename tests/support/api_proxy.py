"""A proxy between one operator and a real API server, which does to its requests what a test says.

It forwards byte for byte, watches as they flow, and counts every request. The operator speaks HTTP to it on loopback;
towards the API server it is the cluster's administrator. A test sets `fault`, which looks at each request and returns
what shall happen to it. Called by tests/cluster/test_operator_{takeover,faults,edits}.py.
"""

import asyncio
import base64
import contextlib
import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

import devcluster

MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "content-encoding", "authorization"}
)
START_S = 10.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the operator."""

    method: str
    path: str
    is_watch: bool

    @property
    def is_election(self) -> bool:
        """Of the Lease: it is written all the time."""
        return "/leases" in self.path

    @property
    def is_write(self) -> bool:
        """Changes an object: no TokenReview, no Lease."""
        return self.method in MUTATING and not self.is_election and "/tokenreviews" not in self.path

    @property
    def is_event(self) -> bool:
        """Creates or counts up an Event."""
        return "/events" in self.path


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request; the default is nothing."""

    before: Callable[[], None] = lambda: None
    """Called when the request has arrived and the API server has not seen it."""
    after: Callable[[], None] = lambda: None
    """Called when the API server has answered and the operator does not know it."""
    delay_s: float = 0.0
    status: int = 0
    """Answer this instead of asking the API server."""
    retry_after: str = ""
    reset: bool = False
    """Close the connection without an answer."""
    lose_answer: bool = False
    """The API server does it, the connection closes without an answer."""
    expire_watch: bool = False
    """A watch ends with ERROR 410 Gone, as after a compaction."""
    truncate: bool = False
    """The answer ends in the middle."""


NOTHING = Fault()
GONE = {
    "type": "ERROR",
    "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410},
}


class ApiProxy:
    """One operator's way to the API server. Its own thread and event loop, so that tests stay plain."""

    def __init__(self, cluster: devcluster.Cluster, name: str) -> None:
        self.kubeconfig = cluster.directory / f"{name}.kubeconfig"
        self.fault: Callable[[Call], Fault] = lambda _: NOTHING
        self.calls: list[Call] = []
        self._upstream, self._tls = administrator(cluster.kubeconfig)
        self._open: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()), name=f"proxy-{name}")

    def start(self) -> None:
        """Returns when it listens and its kubeconfig is written."""
        self._thread.start()
        assert self._started.wait(START_S), "the proxy does not listen"

    def stop(self) -> None:
        """Close everything."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)
        self._loop.close()

    def cut(self) -> None:
        """Close every connection that is open now: watches and requests."""

        def close() -> None:
            for transport in list(self._open):
                transport.abort()

        self._loop.call_soon_threadsafe(close)

    def writes(self, *, events: bool = False) -> list[Call]:
        """What was to be changed so far, without the Lease."""
        return [call for call in list(self.calls) if call.is_write and (events or not call.is_event)]

    def counted(self) -> Counter[str]:
        """Requests by method and path: for the message of a failing assertion."""
        return Counter(f"{call.method} {call.path}" for call in list(self.calls))

    async def _run(self) -> None:
        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.kubeconfig.write_text(json.dumps(_plain_kubeconfig(runner.addresses[0][1])))
        self._started.set()
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            await self._stop.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = Call(request.method, request.path, request.query.get("watch", "") in {"true", "1"})
        self.calls.append(call)
        fault = self.fault(call)
        transport = request.transport
        if transport is None:
            return web.Response(status=502)
        self._open.add(transport)
        try:
            return await self._answer(request, fault)
        except (aiohttp.ClientError, OSError):
            return self._abort(request)
        finally:
            self._open.discard(transport)

    async def _answer(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        body = await request.read()
        fault.before()
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.reset:
            return self._abort(request)
        if fault.expire_watch:
            return web.Response(text=json.dumps(GONE) + "\n", content_type="application/json")
        if fault.status:
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return web.json_response({"kind": "Status", "code": fault.status}, status=fault.status, headers=headers)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        url = f"{self._upstream}{request.raw_path}"
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer:
            if fault.lose_answer:
                await answer.read()
                return self._abort(request)
            return await self._forward(request, answer, fault)

    async def _forward(self, request: web.Request, answer: aiohttp.ClientResponse, fault: Fault) -> web.StreamResponse:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        if "Content-Encoding" in answer.headers:
            kept["Content-Encoding"] = answer.headers["Content-Encoding"]
        if request.query.get("watch"):
            fault.after()
            return await self._stream(request, web.StreamResponse(status=answer.status, headers=kept), answer, fault)
        whole = await answer.read()
        fault.after()
        if fault.truncate:
            response = web.StreamResponse(status=answer.status, headers=kept | {"Content-Length": str(len(whole))})
            await response.prepare(request)
            await response.write(whole[: len(whole) // 2])
            return self._abort(request)
        return web.Response(status=answer.status, headers=kept, body=whole)

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, answer: aiohttp.ClientResponse, fault: Fault
    ) -> web.StreamResponse:
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            if fault.truncate:
                await response.write(chunk[: len(chunk) // 2])
                return self._abort(request)
            await response.write(chunk)
        return response

    @staticmethod
    def _abort(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)


def administrator(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """Address of the API server, and TLS with the administrator's certificate."""
    known = yaml.safe_load(kubeconfig.read_text())
    cluster, user = known["clusters"][0]["cluster"], known["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    pair = kubeconfig.with_name("administrator.pem")
    pair.touch(mode=0o600)
    pair.write_bytes(b"".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
    context.load_cert_chain(pair)
    return cluster["server"], context


def _plain_kubeconfig(port: int) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "proxy", "user": {"token": "unused"}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "current-context": "proxy",
    }


@contextlib.contextmanager
def proxied(cluster: devcluster.Cluster, name: str) -> Iterator[ApiProxy]:
    """A proxy while inside."""
    proxy = ApiProxy(cluster, name)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
