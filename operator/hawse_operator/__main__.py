"""`hawse-operator`: settings, telemetry, watches, election. The one place where tasks of the process are made.

Shutdown, within ten seconds: not ready → the term ends (streams get GoAway, nothing is written any more) → the Lease
is released → watches stop → connections close. A second signal ends the process at once.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import time

from hawse_api import names
from hawse_operator import errors, telemetry
from hawse_operator.control.server import ListenError
from hawse_operator.handlers import watching
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s import resources
from hawse_operator.manifests import services
from hawse_operator.reconcile import listing, runtime, world
from hawse_operator.reconcile.cache import Cache
from hawse_operator.reconcile.intake import Intake
from hawse_operator.reconcile.leader import Leader
from hawse_operator.settings import Settings, read_settings

logger = logging.getLogger(__name__)

CRD_PAUSE_S = 2.0
COLLECT_AFTER = (20_000, 20, 50)
"""Python's garbage collector, by default (700, 10, 10), looks through all that is cached again and again and finds
next to nothing: a tenth of the CPU while 500 Tunnels are made (measured), for 2 MB."""


class Readiness:
    """What /readyz says."""

    def __init__(self) -> None:
        self.problem: str | None = "starting"

    def __call__(self) -> str | None:
        """None: ready."""
        return self.problem


async def run(settings: Settings) -> None:
    """The process until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop)
    readiness = Readiness()
    client = await k8s_client.Client.connect()
    try:
        async with telemetry.admin_server(
            host=settings.pod_ip, port=settings.admin_port, is_live=lambda: None, is_ready=readiness
        ) as port:
            logger.info("started", extra={"pod": settings.pod_name, "admin_port": port})
            await _supervise(client, settings, stop, readiness)
    finally:
        await client.close()
    logger.info("stopped")


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(1)
    stop.set()


async def _supervise(client: k8s_client.Client, settings: Settings, stop: asyncio.Event, readiness: Readiness) -> None:
    cache = Cache(resources.CACHED, world.INDEXES)
    process = runtime.Process(client, settings, cache, Intake(cache))
    async with asyncio.TaskGroup() as group:
        work = group.create_task(_work(process, group, readiness), name="work")
        await stop.wait()
        readiness.problem = "stopping"
        work.cancel()


async def _work(process: runtime.Process, group: asyncio.TaskGroup, readiness: Readiness) -> None:
    client, settings = process.client, process.settings
    await _wait_for_crds(client, readiness)
    watches = [
        group.create_task(watching.run_watch(watch, client, process.intake.observe), name=f"watch-{watch.name}")
        for watch in _watches(settings)
    ]
    try:
        await _fill_cache(process)
        readiness.problem = None
        terms = runtime.Terms(process, group)
        leader = Leader(
            client,
            namespace=settings.pod_namespace,
            identity=settings.pod_name,
            duration_s=settings.lease_duration_s,
            clock=time.monotonic,
            wall_clock=runtime.utc_now,
            on_lead=terms.begin,
            on_step_down=terms.end,
        )
        await leader.run()
    finally:
        for watch in watches:
            watch.cancel()


def _watches(settings: Settings) -> tuple[watching.Watch, ...]:
    return (
        watching.Watch("kinds", (*resources.HAWSE, resources.NAMESPACES), namespaces=settings.watch_namespaces),
        watching.Watch(
            "children", resources.CHILDREN, namespaces=(settings.pod_namespace,), label_selector=services.OWNED_LABELS
        ),
    )


async def _wait_for_crds(client: k8s_client.Client, readiness: Readiness) -> None:
    """Kopf does not notice kinds that appear later, and a chart installs them together with the operator."""
    wanted = {resource.plural for resource in resources.HAWSE}
    while True:
        try:
            missing = wanted - await client.discover(names.GROUP, names.VERSION)
            listed = ", ".join(sorted(missing))
            problem = f"CRDs are missing: {listed}. Install the chart with crds.enabled=true, or apply crds/."
        except errors.KubernetesError as exc:
            missing, problem = wanted, f"the API server does not answer: {exc}"
        if not missing:
            return
        if readiness.problem != problem:
            logger.warning("waiting", extra={"for": problem})
            readiness.problem = problem
        await asyncio.sleep(CRD_PAUSE_S)


async def _fill_cache(process: runtime.Process) -> None:
    while True:
        try:
            await listing.list_all(process.client, process.intake, process.cache, process.settings)
        except errors.KubernetesError as exc:
            logger.warning("cache not filled yet", extra={"error": str(exc)})
            await asyncio.sleep(CRD_PAUSE_S)
        else:
            return


def main() -> None:
    """Entry point: exit code 0 after a signal, 2 for wrong settings, 1 for anything else."""
    try:
        settings = read_settings(os.environ)
    except errors.SettingsError as exc:
        sys.exit(_complain(exc, 2))
    telemetry.configure_logging(settings.log_level)
    gc.freeze()  # modules stay
    gc.set_threshold(*COLLECT_AFTER)
    try:
        asyncio.run(run(settings))
    except errors.SettingsError as exc:
        sys.exit(_complain(exc, 2))
    except BaseExceptionGroup as group:
        known = group.subgroup((errors.OperatorError, ListenError))
        if known is None:
            raise
        sys.exit(_complain(_first(known), 1))


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _complain(error: BaseException, code: int) -> int:
    sys.stderr.write(f"hawse-operator: {error}\n")
    return code


if __name__ == "__main__":
    main()
