"""Leader election over a Lease: the thin shell around policies.leadership.

Reads and writes the Lease in a fixed rhythm and reports what came of it; the table decides. It also labels the
leader's pod, by which the control Service finds it. Called by __main__ as a task; `on_lead` and `on_step_down` are
the process's.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from hawse_api import names
from hawse_operator import errors, telemetry
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.resources import LEASES, PODS
from hawse_operator.policies import leadership

logger = logging.getLogger(__name__)

JsonObject = dict[str, Any]
LABEL_CHECK_S = 30.0
"""The label of the leader's pod is looked at again so often: whoever removed it has cut exit nodes off."""


class Leader:
    """This replica's part in the election."""

    def __init__(
        self,
        client: k8s_client.Client,
        *,
        namespace: str,
        identity: str,
        duration_s: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], datetime],
        on_lead: Callable[[int], None],
        on_step_down: Callable[[], Awaitable[None]],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._wall_clock = wall_clock
        self._on_lead = on_lead
        self._on_step_down = on_step_down
        self._state = leadership.State(identity, duration_s)
        self._lease: JsonObject | None = None
        self._labelled_at: float | None = None

    @property
    def is_leading(self) -> bool:
        """Whether this replica leads now."""
        return self._state.role is leadership.Role.LEADER

    async def run(self) -> None:
        """Take part until cancelled; gives the Lease back at the end."""
        try:
            while True:
                await self._feed(await self._read())
                if self.is_leading and self._wants_label():
                    await self._label_pods()
                now = self._clock()
                spread = random.uniform(0.9, 1.1)  # noqa: S311 - keeps replicas apart
                pause = leadership.look_again_after_s(self._state, now=now) * spread
                await asyncio.sleep(min(pause, leadership.believes_for_s(self._state, now=now)))
        finally:
            await self._feed(leadership.Stop())

    async def _feed(self, event: leadership.Event) -> None:
        pending = [event]
        while pending:
            self._state, commands = leadership.transition(self._state, pending.pop(), now=self._clock())
            answers = [await self._carry_out(command) for command in commands]
            pending.extend(answer for answer in answers if answer is not None)

    async def _carry_out(self, command: leadership.Command) -> leadership.Event | None:
        match command:
            case leadership.Write():
                return await self._write(command)
            case leadership.Lead(term):
                logger.info("leading", extra={"term": term})
                telemetry.LEADER.set(1)
                self._on_lead(term)
                self._labelled_at = None
            case leadership.StepDown():
                logger.info("no longer leading")
                telemetry.LEADER.set(0)
                await self._on_step_down()
                await self._unlabel()
            case leadership.Release(transitions):
                await self._release(transitions)
        return None

    # --- the Lease ---------------------------------------------------------------------------------------------------
    async def _read(self) -> leadership.Event:
        try:
            async with asyncio.timeout(self._timeout_s()):
                self._lease = await self._client.get(LEASES, self._namespace, names.LEASE)
        except errors.NotFound:
            self._lease = None
        except (errors.KubernetesError, TimeoutError) as exc:
            logger.warning("Lease not read; is the API server reachable?", extra={"error": str(exc) or "timeout"})
            return leadership.Failed()
        return leadership.Read(read_record(self._lease))

    async def _write(self, command: leadership.Write) -> leadership.Event:
        begun_at = self._clock()
        body = self._body(command)
        try:
            async with asyncio.timeout(self._timeout_s()):
                write = self._client.create if command.is_new else self._client.replace
                self._lease = await write(LEASES, body)
        except (errors.KubernetesError, TimeoutError) as exc:
            logger.info("Lease not written", extra={"error": str(exc) or "timeout"})
            return leadership.Failed()
        record = read_record(self._lease)
        return leadership.Wrote(record, begun_at) if record is not None else leadership.Failed()

    def _body(self, command: leadership.Write) -> JsonObject:
        now = self._wall_clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        metadata: JsonObject = {"name": names.LEASE, "namespace": self._namespace}
        before: JsonObject = {}
        if self._lease is not None and not command.is_new:
            metadata["resourceVersion"] = self._lease["metadata"]["resourceVersion"]
            before = self._lease.get("spec") or {}
        spec = {
            "holderIdentity": self._state.identity,
            "leaseDurationSeconds": max(1, round(self._state.duration_s)),
            "leaseTransitions": command.transitions,
            "renewTime": now,
            "acquireTime": now if command.acquires else before.get("acquireTime", now),
        }
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}

    async def _release(self, transitions: int) -> None:
        if self._lease is None:
            return
        spec = {
            **(self._lease.get("spec") or {}),
            "holderIdentity": "",
            "leaseTransitions": transitions,
            "leaseDurationSeconds": 1,
        }
        try:
            async with asyncio.timeout(2.0):
                await self._client.replace(LEASES, {**self._lease, "spec": spec})
        except (errors.KubernetesError, TimeoutError) as exc:
            logger.warning(
                "Lease not released; the next leader waits for its end", extra={"error": str(exc) or "timeout"}
            )
        else:
            logger.info("Lease released")

    def _timeout_s(self) -> float:
        """A request that takes longer is of no use for a renewal, or ends when a leader has to give up."""
        left = leadership.believes_for_s(self._state, now=self._clock())
        return min(leadership.renew_every_s(self._state.duration_s), left)

    # --- the label ---------------------------------------------------------------------------------------------------
    def _wants_label(self) -> bool:
        return self._labelled_at is None or self._clock() - self._labelled_at >= LABEL_CHECK_S

    async def _label_pods(self) -> None:
        """Label the own pod, unlabel others; tried again with the next renewal until it is done."""
        try:
            async with asyncio.timeout(self._timeout_s()):
                labelled, _ = await self._client.list(PODS, self._namespace, labels=f"{names.LABEL_LEADER}=true")
                found = {pod["metadata"]["name"] for pod in labelled}
                for name in found - {self._state.identity}:
                    await self._set_label(name, None)
                if self._state.identity not in found:
                    await self._set_label(self._state.identity, "true")
                self._labelled_at = self._clock()
        except errors.NotFound:
            self._labelled_at = self._clock()
            logger.info("no pod of this name to label: running outside the cluster")
        except (errors.KubernetesError, TimeoutError) as exc:
            logger.warning(
                "leader's pod not labelled: exit nodes will not find it", extra={"error": str(exc) or "timeout"}
            )

    async def _unlabel(self) -> None:
        try:
            async with asyncio.timeout(1.0):
                await self._set_label(self._state.identity, None)
        except (errors.KubernetesError, TimeoutError):
            logger.debug("label not removed; the next leader does it")

    async def _set_label(self, pod: str, value: str | None) -> None:
        await self._client.merge(PODS, self._namespace, pod, {"metadata": {"labels": {names.LABEL_LEADER: value}}})


def read_record(lease: JsonObject | None) -> leadership.Record | None:
    """What decides of a Lease."""
    if lease is None:
        return None
    spec = lease.get("spec") or {}
    return leadership.Record(
        holder=spec.get("holderIdentity") or "",
        transitions=int(spec.get("leaseTransitions") or 0),
        stamp=spec.get("renewTime") or "",
        duration_s=float(spec.get("leaseDurationSeconds") or 0),
    )
