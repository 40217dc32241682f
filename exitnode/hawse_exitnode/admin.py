"""Admin listener on the pod's address: /livez, /readyz (with reasons), /metrics. Never public, never with traffic.

Used by `supervisor` and `static`, which say what is wrong through `reasons`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from hawse_api import names
from hawse_exitnode import metrics
from hawse_exitnode.errors import StartError

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 5.0
_PORT_IN_USE = names.BY_NAME["PORT_IN_USE"].code


@asynccontextmanager
async def serve_admin(
    host: str, port: int, *, reasons: Callable[[], Sequence[str]], registry: CollectorRegistry
) -> AsyncIterator[None]:
    """Listen while the context is entered.

    Raises:
        StartError: the port is taken or the address is not ours.
    """

    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        why = reasons()
        if not why:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="".join(f"not ready: {reason}\n" for reason in why))

    async def scrape(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": metrics.CONTENT_TYPE})

    app = web.Application(client_max_size=1024)
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await web.TCPSite(runner, host, port).start()
        logger.info("admin listener is up", extra={"address": f"{host}:{port}"})
        yield
    except OSError as exc:
        raise StartError(
            f"cannot listen on {host}:{port} for probes and metrics: {exc.strerror} ({_PORT_IN_USE})"
        ) from exc
    finally:
        await runner.cleanup()
