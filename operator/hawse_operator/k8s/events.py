"""Kubernetes events (events.k8s.io/v1): posted in the background, repeated ones aggregated, their number bounded.

Losing an event is fine, waiting for one is not: `record` never blocks, and a full queue drops. kopf's own poster is
off: it neither aggregates nor limits. Called by reconcile on transitions of conditions; `run` is a task of the
leader.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator import errors, telemetry
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.resources import EVENTS

logger = logging.getLogger(__name__)

CONTROLLER = "hawse.dev/operator"
QUEUE = 2_000
"""Events that wait; a burst of 500 new Tunnels makes 1,000."""
PER_OBJECT = 25
REFILL = timedelta(minutes=5)
"""25 events at once, then one in five minutes for each object: client-go's numbers."""
SERIES = timedelta(minutes=6)
"""An equal event within this time counts up instead of making a new object."""
REMEMBERED = 4_096
NOTE_MAX = 1024


@dataclass(frozen=True, slots=True)
class Note:
    """What happened to which object."""

    regarding: dict[str, str]
    """apiVersion, kind, namespace, name, uid."""
    is_warning: bool
    reason: str
    action: str
    text: str


@dataclass(slots=True)
class _Series:
    name: str
    namespace: str
    count: int
    last: datetime


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: datetime


class Limiter:
    """A token bucket per object, for the newest objects only. Pure with the time as an argument."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def allows(self, uid: str, now: datetime) -> bool:
        """Take a token; False: this object has had its share."""
        bucket = self._buckets.setdefault(uid, _Bucket(PER_OBJECT, now))
        self._buckets.move_to_end(uid)
        while len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        bucket.tokens = min(PER_OBJECT, bucket.tokens + (now - bucket.at) / REFILL)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def regarding(resource: v1alpha1.Resource) -> dict[str, str]:
    """Reference to an object of ours."""
    reference = {
        "apiVersion": names.API_VERSION,
        "kind": resource.definition.kind,
        "name": resource.name,
        "uid": resource.uid,
    }
    return reference | ({"namespace": resource.namespace} if resource.namespace else {})


class Recorder:
    """Queue and poster of events."""

    def __init__(self, client: k8s_client.Client, *, instance: str, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Note, datetime]] = asyncio.Queue(QUEUE)
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._limiter = Limiter()

    def record(self, note: Note) -> None:
        """Post an event some time soon, if there is room."""
        now = self._clock()
        if not self._limiter.allows(note.regarding.get("uid", ""), now):
            telemetry.EVENTS_DROPPED.inc()
            return
        try:
            self._queue.put_nowait((note, now))
        except asyncio.QueueFull:
            telemetry.EVENTS_DROPPED.inc()

    async def run(self) -> None:
        """Post events until cancelled."""
        while True:
            note, at = await self._queue.get()
            try:
                await self._post(note, at)
            except errors.KubernetesError as exc:
                telemetry.EVENTS_DROPPED.inc()
                logger.debug("event not posted", extra={"reason": note.reason, "error": str(exc)})

    async def _post(self, note: Note, at: datetime) -> None:
        key = "\n".join((note.regarding.get("uid", ""), note.reason, note.action, note.text))
        series = self._series.get(key)
        if series is not None and at - series.last <= SERIES:
            series.count += 1
            series.last = at
            patch = {"series": {"count": series.count, "lastObservedTime": _micro(at)}}
            await self._client.merge(EVENTS, series.namespace, series.name, patch)
            return
        body = build_event(note, at=at, instance=self._instance)
        created = body["metadata"]
        self._series[key] = _Series(created["name"], created["namespace"], 1, at)
        self._series.move_to_end(key)
        while len(self._series) > REMEMBERED:
            self._series.popitem(last=False)
        await self._client.create(EVENTS, body)


def build_event(note: Note, *, at: datetime, instance: str) -> dict[str, Any]:
    """The Event object. One about a cluster-scoped object goes to `default`, where kubectl describe looks for it."""
    namespace = note.regarding.get("namespace") or "default"
    digest = hashlib.sha256(f"{note}{at.isoformat()}".encode()).hexdigest()[:16]
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{note.regarding['name'][:200]}.{digest}", "namespace": namespace},
        "eventTime": _micro(at),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": note.action,
        "reason": note.reason,
        "type": "Warning" if note.is_warning else "Normal",
        "regarding": dict(note.regarding),
        "note": note.text[:NOTE_MAX],
    }


def _micro(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
