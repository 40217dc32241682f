"""Metrics, log lines and the admin port (/livez, /readyz, /metrics).

Holds every metric of the operator, so that names stay consistent. Decides nothing: what is live or ready is asked
from the two callables it is given. Called by __main__ (serve), reconcile and control (metrics).
"""

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable

import prometheus_client
from aiohttp import web

from hawse_operator import errors

RECONCILES = prometheus_client.Counter(
    "hawse_operator_reconciles", "Reconciles by kind and result.", ["kind", "result"]
)
RECONCILE_SECONDS = prometheus_client.Histogram(
    "hawse_operator_reconcile_duration_seconds",
    "Time of one reconcile.",
    ["kind"],
    buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
QUEUE_DEPTH = prometheus_client.Gauge("hawse_operator_queue_depth", "Keys that wait for a reconcile now.")
QUEUE_LATENCY = prometheus_client.Histogram(
    "hawse_operator_queue_wait_seconds", "Time from due to started.", buckets=(0.001, 0.01, 0.1, 0.5, 1, 5, 20, 60)
)
WRITES = prometheus_client.Counter(
    "hawse_operator_writes", "Writes to the API server by resource and verb.", ["resource", "verb"]
)
API_ERRORS = prometheus_client.Counter(
    "hawse_operator_api_errors", "Failed requests to the API server by class.", ["error"]
)
EVENTS_DROPPED = prometheus_client.Counter("hawse_operator_events_dropped", "Kubernetes events that were not posted.")
LEADER = prometheus_client.Gauge("hawse_operator_leader", "1 while this replica is the leader.")
DNS_READY = prometheus_client.Gauge(
    "hawse_operator_dns_ready", "1 while a fleet's name servers have its records, 0 while they do not.", ["fleet"]
)
DNS_WRITES = prometheus_client.Counter(
    "hawse_operator_dns_writes", "Record sets written or removed at name servers.", ["fleet"]
)
WEIGHT = prometheus_client.Gauge(
    "hawse_operator_exit_node_weight",
    "Weight of an ExitNode: asked for, and effective after readiness and drain.",
    ["exit_node", "kind"],
)
CACHE_OBJECTS = prometheus_client.Gauge(
    "hawse_operator_cache_objects", "Objects in the cache by resource.", ["resource"]
)


def forget(metric: prometheus_client.Gauge, *labels: str) -> None:
    """Say no more of something that is gone."""
    with contextlib.suppress(KeyError):
        metric.remove(*labels)


STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line: constant event text and its variables apart."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record; the variables are what `extra` brought."""
        line: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in STANDARD_FIELDS})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _without_signal_remark(record: logging.LogRecord) -> bool:
    """Kopf warns that it handles no signals in a thread; this process handles them itself."""
    return "OS signals are ignored" not in record.getMessage()


def configure_logging(level: str) -> None:
    """Send log lines to standard error as JSON; quiet libraries that repeat what we log."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("kopf._core.reactor.running").addFilter(_without_signal_remark)
    for noisy in ("aiohttp.access", "kopf.objects", "kopf.activities"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextlib.asynccontextmanager
async def admin_server(
    *, host: str, port: int, is_live: Callable[[], str | None], is_ready: Callable[[], str | None]
) -> AsyncIterator[int]:
    """Serve the admin port while inside; yields the bound port. The callables return None or what is wrong."""

    def _answer(problem: str | None) -> web.Response:
        return web.Response(text="ok\n") if problem is None else web.Response(status=503, text=f"{problem}\n")

    async def livez(_: web.Request) -> web.Response:
        return _answer(is_live())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(is_ready())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=prometheus_client.generate_latest(), headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await _listen(web.TCPSite(runner, host, port), host, port)
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _listen(site: web.TCPSite, host: str, port: int) -> None:
    try:
        await site.start()
    except OSError as exc:
        raise errors.SettingsError(
            f"cannot listen on {host}:{port} for probes and metrics: {exc.strerror}. POD_IP must be an address of this "
            "machine, and the port (HAWSE_ADMIN_PORT) free."
        ) from exc
