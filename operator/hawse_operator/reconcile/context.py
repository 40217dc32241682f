"""What every reconciler needs in one term of leadership, and the few writes that all of them make alike.

A Context lives as long as its term: a new leader starts with an empty hub and a new Context. Called by runtime (makes
it) and the reconcilers.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator.control import ca
from hawse_operator.control.hub import Hub
from hawse_operator.control.rotation import Rotation
from hawse_operator.dns.standing import Standing
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s import events
from hawse_operator.k8s.resources import Resource
from hawse_operator.policies import hosts, providers
from hawse_operator.reconcile.balancers import Resolver
from hawse_operator.reconcile.cache import Key, version_of
from hawse_operator.reconcile.intake import Intake
from hawse_operator.reconcile.key_sets import KeySets
from hawse_operator.reconcile.lookups import LookUps
from hawse_operator.reconcile.queue import Queue
from hawse_operator.reconcile.secret_versions import SecretVersions
from hawse_operator.reconcile.world import World
from hawse_operator.settings import Settings
from hawse_operator.translate import statuses

logger = logging.getLogger(__name__)

SETTLES_AFTER = timedelta(seconds=30)
"""So long a new leader waits for exit nodes to come back before it believes that they are away."""


@dataclass(slots=True)
class FirstRound:
    """Keys that have not been published yet in this term: only then may exit nodes drop what was not named."""

    waiting: set[Key] = field(default_factory=set)

    def done(self, key: Key) -> None:
        """What there is to publish for this key was published."""
        self.waiting.discard(key)

    @property
    def is_over(self) -> bool:
        """Whether every key was published."""
        return not self.waiting


@dataclass(slots=True)
class Context:
    """One term."""

    client: k8s_client.Client
    world: World
    intake: Intake
    hub: Hub
    queue: Queue
    recorder: events.Recorder
    settings: Settings
    look_ups: LookUps[hosts.Question, hosts.Seen]
    providers: LookUps[providers.Question, providers.Fetched]
    resolver: Resolver
    rotation: Rotation
    session_root: bytes = field(repr=False)
    """What the keys of visitors' sessions are derived from."""
    secret_versions: SecretVersions
    key_sets: KeySets
    settles_at: datetime
    first_round: FirstRound = field(default_factory=FirstRound)
    dns: dict[str, Standing] = field(default_factory=dict)
    """How each fleet stands with DNS; written by reconcile.dns."""
    claims_under_way: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """UID of a namespace -> names that it is about to get: workers that claim at once must not pass its quota."""

    @property
    def authority(self) -> ca.Authority:
        """The internal CA as it is now."""
        return self.rotation.authority

    @property
    def now(self) -> datetime:
        """The time, whole seconds: what the API server stores."""
        return self.world.clock().replace(microsecond=0)

    @property
    def settling_s(self) -> float:
        """Seconds until the exit nodes have had their time to come back; 0: settled."""
        return max(0.0, (self.settles_at - self.world.clock()).total_seconds())

    def learn(self, resource: Resource, body: dict[str, Any]) -> None:
        """Take the answer to a write into the cache, so that the event that follows is no news."""
        self.intake.learn(resource, body)

    def unlearn(self, resource: Resource, namespace: str, name: str) -> None:
        """The API server says that an object is gone."""
        key = Key(resource.plural, namespace, name)
        if (known := self.world.cache[resource].get(key)) is not None:
            self.intake.gone(resource, key, version_of(known))

    async def write_status(
        self,
        resource: Resource,
        obj: v1alpha1.Resource,
        old: statuses.Status,
        new: statuses.Status,
        *,
        conditional: bool = False,
    ) -> bool:
        """Write a status if it differs, and record what turned.

        `conditional`: only over the version it was decided on.
        """
        wanted = statuses.to_write(old, new)
        if wanted is None:
            return False
        version = obj.metadata.resource_version if conditional else ""
        answer = await self.client.apply_status(resource, obj.namespace, obj.name, wanted, resource_version=version)
        self.intake.learn(resource, answer, wakes_itself=False)
        for transition in statuses.transitions(old, new):
            self._record(obj, transition)
        return True

    async def write_invalid(
        self,
        resource: Resource,
        kind: type[v1alpha1.Resource],
        body: Mapping[str, Any],
        problem: v1alpha1.ObjectInvalid,
    ) -> None:
        """Accepted=False/Invalid on an object whose spec cannot be read, with all that is wrong."""
        metadata = v1alpha1.ObjectMeta.model_validate(body["metadata"], by_alias=True, by_name=False)
        old = _read_conditions(body)
        message = str(problem)[:1024]
        judgements = (
            v1alpha1.judge(names.Condition.ACCEPTED, False, names.Reason.INVALID, message),
            v1alpha1.judge(names.Condition.READY, False, names.Reason.INVALID, message),
        )
        new = statuses.build_status(old, judgements, {}, generation=metadata.generation, now=self.now)
        if (wanted := statuses.to_write(old, new)) is not None:
            answer = await self.client.apply_status(resource, metadata.namespace or "", metadata.name, wanted)
            self.intake.learn(resource, answer, wakes_itself=False)
            logger.warning(
                "object is invalid", extra={"kind": kind.definition.kind, "object": metadata.name, "problem": message}
            )

    def _record(self, obj: v1alpha1.Resource, transition: statuses.Transition) -> None:
        if not is_worth_an_event(transition) or isinstance(obj, v1alpha1.SubdomainReservation | v1alpha1.AgentSession):
            return  # the Tunnel and the AgentToken tell the same
        is_warning = (
            transition.status is v1alpha1.ConditionStatus.FALSE and transition.type != names.Condition.TARGET_READY
        )
        text = transition.message or f"{transition.type} is {transition.status}."
        self.recorder.record(
            events.Note(
                events.regarding(obj),
                is_warning=is_warning,
                reason=transition.reason,
                action=transition.type,
                text=text,
            )
        )


QUIET = frozenset(
    {names.Reason.PENDING, names.Reason.NO_AGENT, names.Reason.PARTLY_AVAILABLE, names.Reason.NOT_DRAINING}
)
"""Reasons that every new object passes through, or every rollout: no news."""


def is_worth_an_event(transition: statuses.Transition) -> bool:
    """Ready that came, and what went wrong; Ready that went repeats the condition that took it along."""
    if transition.status is v1alpha1.ConditionStatus.UNKNOWN or transition.reason in QUIET:
        return False
    if transition.type == names.Condition.READY:
        return transition.status is v1alpha1.ConditionStatus.TRUE
    if transition.type == names.Condition.TARGET_READY:
        return True
    return transition.status is v1alpha1.ConditionStatus.FALSE


def _read_conditions(body: Mapping[str, Any]) -> v1alpha1.ResourceStatus:
    try:
        return v1alpha1.ResourceStatus.model_validate(body.get("status") or {}, by_alias=True, by_name=False)
    except ValueError:
        return v1alpha1.ResourceStatus()
