"""One term of leadership: a fresh hub, the control server, workers that reconcile, the resync loop.

When the term ends (the Lease is lost, the process stops) its tasks are cancelled and nothing is written or served any
more; the cache stays warm for the next term. Called by __main__ through `Terms`.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from hawse_api import names
from hawse_operator import discovery, errors, telemetry
from hawse_operator.control import server as control_server
from hawse_operator.control.hub import Hub
from hawse_operator.control.rotation import Rotation
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s import events, resources
from hawse_operator.reconcile import (
    access_policies,
    agent_sessions,
    agent_tokens,
    authority,
    books,
    dependents,
    dns,
    exitnodes,
    fleets,
    listing,
    nodes,
    peers,
    reservations,
    session_root,
    tunnels,
)
from hawse_operator.reconcile.cache import Cache, Key
from hawse_operator.reconcile.context import SETTLES_AFTER, Context
from hawse_operator.reconcile.intake import Intake
from hawse_operator.reconcile.key_sets import KeySets
from hawse_operator.reconcile.lookups import LookUps
from hawse_operator.reconcile.queue import Queue
from hawse_operator.reconcile.secret_versions import SecretVersions
from hawse_operator.reconcile.world import World
from hawse_operator.resolver import Resolver
from hawse_operator.settings import Settings
from hawse_operator.translate.fleets import FLEET_KEY

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
RECONCILE_TIMEOUT_S = 60.0
"""One run, all its requests and their retries together."""
RESYNC_SPREAD_S = 20.0
"""A resync goes through everything over this time instead of at once."""
PUBLISHED = (resources.FLEETS, resources.AGENT_TOKENS, resources.ACCESS_POLICIES, resources.TUNNELS)
"""Kinds that exit nodes hold: all of them must have been gone through before a snapshot is whole."""


class Reconciler(Protocol):
    """One kind's part."""

    async def reconcile(self, key: Key) -> float | None:
        """Bring one object to what it should be; returns seconds until it wants to be looked at again."""


@dataclass(frozen=True, slots=True)
class Process:
    """What lives as long as the process."""

    client: k8s_client.Client
    settings: Settings
    cache: Cache
    intake: Intake


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def reconcilers(context: Context) -> dict[str, Reconciler]:
    """A reconciler for each of our kinds."""
    return {
        resources.FLEETS.plural: fleets.FleetReconciler(context),
        resources.EXIT_NODES.plural: exitnodes.ExitNodeReconciler(context),
        resources.RESERVATIONS.plural: reservations.ReservationReconciler(context),
        resources.AGENT_TOKENS.plural: agent_tokens.AgentTokenReconciler(context),
        resources.ACCESS_POLICIES.plural: access_policies.AccessPolicyReconciler(context),
        resources.TUNNELS.plural: tunnels.TunnelReconciler(context),
        resources.AGENT_SESSIONS.plural: agent_sessions.AgentSessionReconciler(context),
        dependents.NODES: nodes.NodesReconciler(context),
        dependents.AUTHORITY.plural: authority.AuthorityReconciler(context),
        dependents.DNS: dns.DnsReconciler(context),
        dependents.PEERS: peers.PeersReconciler(context),
    }


class Term:
    """One term; made, run once, thrown away."""

    def __init__(self, process: Process, number: int) -> None:
        self._process = process
        self._number = number
        self._queue = Queue(time.monotonic)
        self._hub = Hub()
        self._world = World(process.cache, self._hub, utc_now)
        self._recorder = events.Recorder(process.client, instance=process.settings.pod_name, clock=utc_now)
        self._completed: set[str] = set()

    async def run(self) -> None:
        """Lead until cancelled."""
        process, resolver = self._process, Resolver(self._process.settings.resolvers)
        context = Context(
            client=process.client,
            world=self._world,
            intake=process.intake,
            hub=self._hub,
            queue=self._queue,
            recorder=self._recorder,
            settings=process.settings,
            look_ups=LookUps(resolver.look_up, self._queue.add, utc_now),
            resolver=resolver,
            providers=LookUps(discovery.discover, self._queue.add, utc_now),
            rotation=await self._patiently(self._authority),
            session_root=await self._patiently(self._session_root),
            secret_versions=SecretVersions(process.client, self._queue),
            key_sets=KeySets(self._queue.add, utc_now),
            settles_at=utc_now() + SETTLES_AFTER,
        )
        await self._patiently(self._list)
        context.first_round.waiting = {key for kind in PUBLISHED for key in process.cache[kind].names()}
        context.first_round.waiting |= self._keys_of_fleets(dependents.PEERS)
        process.intake.lead(self._world, self._queue)
        self._add_all(spread_s=0.0)
        logger.info("term begins", extra={"term": self._number, "to_publish": len(context.first_round.waiting)})
        telemetry.QUEUE_DEPTH.set_function(self._queue.depth)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._serve(context), name="control")
                group.create_task(self._recorder.run(), name="events")
                group.create_task(self._resync(), name="resync")
                group.create_task(context.look_ups.run(), name="look-ups")
                group.create_task(context.providers.run(), name="providers")
                group.create_task(context.secret_versions.run(), name="secret-versions")
                group.create_task(context.key_sets.run(), name="key-sets")
                kinds = reconcilers(context)
                for number in range(process.settings.workers):
                    group.create_task(self._work(context, kinds), name=f"worker-{number}")
        finally:
            process.intake.stand_by()
            telemetry.QUEUE_DEPTH.set_function(lambda: 0.0)

    async def _authority(self) -> Rotation:
        return await authority.ensure_authority(self._process.client, self._process.settings, now=utc_now())

    async def _session_root(self) -> bytes:
        return await session_root.ensure_session_root(self._process.client, self._process.settings)

    async def _list(self) -> None:
        process = self._process
        await listing.list_all(process.client, process.intake, process.cache, process.settings)

    async def _patiently(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """A step that a term cannot begin without: repeated while the API server is away."""
        while True:
            try:
                return await step()
            except errors.KubernetesError as exc:
                logger.warning("the term cannot begin yet", extra={"error": str(exc)})
                await asyncio.sleep(2.0)

    async def _serve(self, context: Context) -> None:
        settings = self._process.settings
        await control_server.run_control(
            control_server.ControlSettings(
                host=settings.pod_ip,
                operator_name=f"{names.OPERATOR_SERVICE}.{settings.pod_namespace}.svc",
                term=self._number,
                enrol_port=settings.enrol_port,
                control_port=settings.control_port,
            ),
            hub=self._hub,
            authority=lambda: context.authority,
            tokens=books.Tokens(context),
            nodes=books.Nodes(context),
        )

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._process.settings.resync_s * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load
            try:
                await self._list()
            except errors.KubernetesError as exc:
                logger.warning("resync skipped", extra={"error": str(exc)})
                continue
            self._add_all(spread_s=min(RESYNC_SPREAD_S, self._process.settings.resync_s / 4))

    def _add_all(self, *, spread_s: float) -> None:
        kinds = self._process.cache
        keys = [dependents.AUTHORITY, *(key for kind in resources.HAWSE for key in kinds[kind].names())]
        keys += [*self._keys_of_fleets(dependents.PEERS), *self._keys_of_fleets(dependents.DNS)]
        for number, key in enumerate(keys):
            self._queue.add(key, delay_s=spread_s * number / len(keys))

    def _keys_of_fleets(self, kind: str) -> set[Key]:
        return {Key(kind, "", key.name) for key in self._process.cache[resources.FLEETS].names()}

    async def _work(self, context: Context, kinds: dict[str, Reconciler]) -> None:
        while True:
            key = await self._queue.take()
            began = time.monotonic()
            again_in_s, failed = None, True
            try:
                async with asyncio.timeout(RECONCILE_TIMEOUT_S):
                    again_in_s = await kinds[key.plural].reconcile(key)
                failed = False
            except errors.KubernetesError as exc:
                _log_failure(key, exc)
                if isinstance(exc, errors.Invalid | errors.Forbidden):
                    context.first_round.done(key)  # a person has to mend it: others must not wait for that
            except TimeoutError:
                logger.warning("reconcile took too long", extra={"key": "/".join(key)})
            except Exception:
                # The root of this piece of work: one object's bug must not stop all others.
                logger.exception("reconcile failed", extra={"key": "/".join(key)})
                context.first_round.done(key)
            finally:
                self._queue.finish(key, failed=failed, jitter=random.random(), again_in_s=again_in_s)  # noqa: S311 - jitter
            telemetry.RECONCILES.labels(key.plural, "failed" if failed else "done").inc()
            telemetry.RECONCILE_SECONDS.labels(key.plural).observe(time.monotonic() - began)
            self._complete(context)

    def _complete(self, context: Context) -> None:
        """Once everything was published: exit nodes may drop what was not named."""
        if not context.first_round.is_over:
            return
        fleets_now = {name for name in self._world.fleets() if self._hub.hash_of(name, FLEET_KEY) is not None}
        for name in fleets_now - self._completed:
            self._hub.complete(name)
            logger.info("configuration is complete", extra={"fleet": name, "term": self._number})
        self._completed = fleets_now


def _log_failure(key: Key, exc: errors.KubernetesError) -> None:
    quiet = isinstance(exc, errors.Conflict | errors.AlreadyExists | errors.NotFound)
    level = logging.DEBUG if quiet else logging.WARNING
    logger.log(level, "reconcile is tried again", extra={"key": "/".join(key), "error": str(exc)})


class Terms:
    """Begins and ends terms for the election; the tasks belong to the process's TaskGroup."""

    def __init__(self, process: Process, group: asyncio.TaskGroup) -> None:
        self._process = process
        self._group = group
        self._task: asyncio.Task[None] | None = None

    def begin(self, number: int) -> None:
        """Start leading."""
        self._task = self._group.create_task(Term(self._process, number).run(), name=f"term-{number}")

    async def end(self) -> None:
        """Stop leading; returns when nothing of the term runs any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
