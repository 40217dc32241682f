"""kopf as the event source: what is watched, with which settings, in a thread of its own.

A thread, because kopf cancels every task of its event loop when it stops, and installs signal handlers when it runs
in the main one. Two of them: our kinds in the whole cluster, and the operator's children in its own namespace, so
that no right to see other namespaces' pods is needed. Every replica watches, the standby too. Called by __main__.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf

from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.resources import Resource

logger = logging.getLogger(__name__)

Sink = Callable[[Resource, str | None, dict[str, Any]], None]
"""Takes resource, type of the event (None: initial list), object. Called on the event loop of the process."""
LIST_CHUNK = 500
REQUEST_TIMEOUT_S = 30.0
RECONNECT_S = 1.0
"""Pause before a watch that ended is opened again. With kopf's 0.1 s an API server that expires every watch at once
(410) got 90 requests a second from one operator (measured), each other one a list."""
STOP_TIMEOUT_S = 4.0


@dataclass(frozen=True, slots=True)
class Watch:
    """What one kopf operator watches."""

    name: str
    resources: Sequence[Resource]
    namespaces: Sequence[str] = ()
    """Empty: the whole cluster. Kinds without a namespace are always watched whole."""
    label_selector: str = ""


async def run_watch(watch: Watch, client: k8s_client.Client, sink: Sink) -> None:
    """Watch until cancelled; raises what kopf died of."""
    loop = asyncio.get_running_loop()
    stop, ended = threading.Event(), loop.create_future()

    def observe(resource: Resource, kind: str | None, body: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(sink, resource, kind, body)

    async def log_in() -> k8s_client.Credentials:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(client.credentials(), loop))

    def run() -> None:
        error: BaseException | None = None
        try:
            asyncio.run(_operator(watch, observe, log_in, stop))
        except BaseException as exc:
            error = exc
        loop.call_soon_threadsafe(_finish, ended, error)

    thread = threading.Thread(target=run, name=f"watch-{watch.name}", daemon=True)
    thread.start()
    try:
        await asyncio.shield(ended)
        raise RuntimeError(f"the watch {watch.name} ended by itself")
    finally:
        stop.set()
        await asyncio.wait([ended], timeout=STOP_TIMEOUT_S)


def _finish(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(RuntimeError(f"kopf stopped: {error!r}"))


async def _operator(
    watch: Watch, observe: Sink, log_in: Callable[[], Awaitable[k8s_client.Credentials]], stop: threading.Event
) -> None:
    scope: dict[str, Any] = {"namespaces": list(watch.namespaces)} if watch.namespaces else {"clusterwide": True}
    await kopf.operator(
        registry=build_registry(watch, observe, log_in),
        settings=build_settings(watch),
        standalone=True,
        stop_flag=stop,
        **scope,
    )


def build_registry(
    watch: Watch, observe: Sink, log_in: Callable[[], Awaitable[k8s_client.Credentials]]
) -> kopf.OperatorRegistry:
    """A handler per resource. No finalizers, no annotations: `on.event` writes nothing."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return to_session(to_connection(await log_in()))

    for resource in watch.resources:
        _register(registry, resource, observe)
    return registry


def _register(registry: kopf.OperatorRegistry, resource: Resource, observe: Sink) -> None:
    @kopf.on.event(
        resource.group, resource.version, resource.plural, registry=registry, id=f"observe-{resource.plural}"
    )
    async def handle(event: kopf.RawEvent, **_: Any) -> None:
        observe(resource, event["type"], dict(event["object"]))


def to_connection(credentials: k8s_client.Credentials) -> kopf.ConnectionInfo:
    """The same API server and account as the operator's own client."""
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_path=credentials.ca_path,
        insecure=not credentials.verify,
        token=credentials.token,
        certificate_path=credentials.certificate_path,
        private_key_path=credentials.key_path,
    )


def to_session(connection: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """A session like kopf's own, with a pause before a watch that has only just been opened is opened again.

    kopf pauses (`reconnect_backoff`) only after a watch that it has to begin anew with a list. One that is cut within
    an event it resumes at once: 200 requests a second through a load balancer that cuts every one (measured).
    """
    opened: dict[str, float] = {}

    async def wait(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
        if "watch" not in params.url.query:
            return
        now = time.monotonic()
        at = max(now, opened.get(params.url.path, 0.0) + RECONNECT_S)
        opened[params.url.path] = at  # as many as there are resources
        await asyncio.sleep(at - now)

    calm = aiohttp.TraceConfig()
    calm.on_request_start.append(wait)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=connection.as_ssl_context()),
        headers=connection.as_http_headers(),
        trace_configs=[calm],
    )
    return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)


def build_settings(watch: Watch) -> kopf.OperatorSettings:
    """Facts of kopf: scanning and posting off, lists in chunks, no limit of workers (our own queue bounds the work)."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = LIST_CHUNK
    settings.watching.reconnect_backoff = RECONNECT_S
    settings.networking.request_timeout = REQUEST_TIMEOUT_S
    settings.queueing.exit_timeout = 0.5
    settings.process.ultimate_exiting_timeout = None  # would SIGKILL the process; the kubelet does that
    if watch.label_selector:
        for resource in watch.resources:
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = watch.label_selector
    return settings
