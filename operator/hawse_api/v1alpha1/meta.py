"""What all kinds share: metadata, conditions, durations, references, selectors, and the base of every kind.

Parsing is strict about the spec and collects all its errors; a status that cannot be read counts as empty, because
the operator writes it anew anyway. Nothing here talks to an API server.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import AwareDatetime, ConfigDict, Field, PlainSerializer, ValidationError

from hawse_api import names
from hawse_api.v1alpha1.errors import ObjectInvalid, Problem, problems_of
from hawse_api.v1alpha1.schema import LIST_ATOMIC, Definition, Int64, Model, Rule, Status

# --- durations (GEP-2257) --------------------------------------------------------------------------------------------
DURATION_PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]+)(ms|h|m|s)")

Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=32)]
"""GEP-2257: `60s`, `1h30m`, `100ms`."""


def duration_s(text: str) -> float:
    """Return a GEP-2257 duration in seconds; `text` has passed its pattern."""
    return sum(int(count) * _UNIT_S[unit] for count, unit in _PART.findall(text))


def between(low: str, high: str) -> Rule:
    """Return the rule that a duration lies between two others, both included."""
    return Rule(
        cel=f"duration(self) >= duration('{low}') && duration(self) <= duration('{high}')",
        message=f"must be between {low} and {high}",
        holds=lambda text: duration_s(low) <= duration_s(text) <= duration_s(high),
    )


# --- times -----------------------------------------------------------------------------------------------------------
def format_time(moment: datetime) -> str:
    """Return a time as metav1.Time writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[AwareDatetime, PlainSerializer(format_time, return_type=str, when_used="json")]

# --- names -----------------------------------------------------------------------------------------------------------
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_1035 = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

_NAME_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
DNS_NAME = rf"^{_NAME_LABEL}(\.{_NAME_LABEL})+$"
"""A name of DNS with at least two labels, in lower case."""
DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
ShortName = Annotated[str, Field(min_length=1, max_length=40, pattern=DNS_1035)]
"""Name of a Fleet or ExitNode."""
Uid = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]

SHORT_NAME_RULE = Rule(
    cel=f"self.metadata.name.size() <= 40 && self.metadata.name.matches('{DNS_1035}')",
    message="metadata.name must have at most 40 characters, begin with a letter, and hold only a-z, 0-9 and -",
    holds=lambda resource: len(resource.name) <= 40 and re.fullmatch(DNS_1035[1:-1], resource.name) is not None,
)
"""Children are named `<name>-<hash8>` and become labels and DNS names."""


class LocalRef(Model):
    """A reference to an object of a known kind in the same namespace."""

    name: ObjectName
    """Name of the object."""


class NamespacedRef(LocalRef):
    """A reference to an object of a known kind, here or in another namespace."""

    namespace: DnsLabel | None = None
    """Its namespace; absent: this object's."""


# --- selectors -------------------------------------------------------------------------------------------------------
class SelectorOperator(StrEnum):
    """How an expression compares."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


_LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
_LabelValue = Annotated[str, Field(max_length=63)]


class SelectorExpression(Model):
    """One requirement on a label."""

    rules = (
        Rule(
            cel="self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 "
            ": !has(self.values) || self.values.size() == 0",
            message="values belong to the operators In and NotIn: required with them, refused without them",
            holds=lambda e: (e.operator in {SelectorOperator.IN, SelectorOperator.NOT_IN}) == bool(e.values),
        ),
    )

    key: _LabelKey
    """The label."""
    operator: SelectorOperator
    """In, NotIn, Exists or DoesNotExist."""
    values: Annotated[tuple[_LabelValue, ...], Field(max_length=32, json_schema_extra=LIST_ATOMIC)] | None = None
    """Values to compare with, for In and NotIn."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether `labels` meet the requirement."""
        value = labels.get(self.key)
        match self.operator:
            case SelectorOperator.IN:
                return value is not None and value in (self.values or ())
            case SelectorOperator.NOT_IN:
                return value is None or value not in (self.values or ())
            case SelectorOperator.EXISTS:
                return value is not None
            case SelectorOperator.DOES_NOT_EXIST:
                return value is None


class LabelSelector(Model):
    """Which labels an object must carry; all requirements together. Empty matches everything."""

    match_labels: Annotated[dict[str, _LabelValue], Field(max_length=32)] | None = None
    """Labels with exactly these values."""
    match_expressions: (
        Annotated[tuple[SelectorExpression, ...], Field(max_length=32, json_schema_extra=LIST_ATOMIC)] | None
    ) = None
    """Further requirements."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether `labels` meet all requirements."""
        return all(labels.get(key) == value for key, value in (self.match_labels or {}).items()) and all(
            expression.matches(labels) for expression in self.match_expressions or ()
        )


# --- metadata and conditions -----------------------------------------------------------------------------------------
class OwnerReference(Status):
    """Who deletes this object with itself."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


_SET_BY_SERVER = ("uid", "generation", "resourceVersion", "creationTimestamp", "deletionTimestamp")


class ObjectMeta(Status):
    """What we read of metav1.ObjectMeta."""

    name: str
    namespace: str | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()

    def dump(self) -> dict[str, Any]:
        """Return what can be sent: fields that say nothing are left out, and so is what the API server sets.

        resourceVersion too: with server-side apply it would turn every write into a wager on being first.
        """
        kept = super().dump()
        for key in _SET_BY_SERVER:
            kept.pop(key, None)
        return {key: value for key, value in kept.items() if value}


class ConditionStatus(StrEnum):
    """Three-valued truth of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Status):
    """metav1.Condition: one thing that is so, is not so, or is not known."""

    type: Annotated[str, Field(min_length=1, max_length=316, pattern=r"^[A-Za-z][A-Za-z0-9.-]*$")]
    """What is judged: Accepted, Programmed, Ready and so on (docs/conditions.md)."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: Annotated[Int64, Field(ge=0)] | None = None
    """metadata.generation that was judged."""
    last_transition_time: Time
    """When status last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, in one word for programs; docs/conditions.md lists all."""
    message: Annotated[str, Field(max_length=32768)]
    """Why and what to do about it, in one sentence for people."""

    @property
    def is_true(self) -> bool:
        """Whether the condition holds."""
        return self.status is ConditionStatus.TRUE


class ResourceStatus(Status):
    """What every status begins with."""

    observed_generation: Annotated[Int64, Field(ge=0)] | None = None
    """metadata.generation that this status speaks of."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    """What is so and what is not, and why."""

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of that type, or None before it was first set."""
        return next((condition for condition in self.conditions if condition.type == type_), None)


# --- the base of every kind ------------------------------------------------------------------------------------------
class Resource(Model):
    """An object of one of our kinds. Subclasses add `spec` and `status`."""

    model_config = ConfigDict(extra="ignore")

    definition: ClassVar[Definition]

    metadata: ObjectMeta

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """metadata.namespace; empty for a kind of the cluster."""
        return self.metadata.namespace or ""

    @property
    def uid(self) -> str:
        """metadata.uid; empty before it was created."""
        return self.metadata.uid

    @property
    def generation(self) -> int:
        """metadata.generation."""
        return self.metadata.generation

    @property
    def is_deleting(self) -> bool:
        """Whether deletion has begun."""
        return self.metadata.deletion_timestamp is not None

    @classmethod
    def from_object(cls, obj: Mapping[str, Any]) -> Self:
        """Read an object as the API server gives it.

        A status that cannot be read counts as empty. Raises ObjectInvalid with all errors of metadata and spec.
        """
        kind = cls.definition.kind
        if obj.get("kind", kind) != kind or obj.get("apiVersion", names.API_VERSION) != names.API_VERSION:
            text = f"is {obj.get('apiVersion')} {obj.get('kind')}, expected {names.API_VERSION} {kind}"
            raise ObjectInvalid(kind, (Problem("", text),))
        parts = {
            "metadata": obj.get("metadata") or {},
            "spec": obj.get("spec") or {},
            "status": obj.get("status") or {},
        }
        try:
            return cls.model_validate(parts, by_alias=True, by_name=False)
        except ValidationError as error:
            found = tuple(problem for problem in problems_of(error) if not _is_about_status(problem))
            if found:
                raise ObjectInvalid(kind, found) from error
        try:
            return cls.model_validate({**parts, "status": {}}, by_alias=True, by_name=False)
        except ValidationError as error:
            raise ObjectInvalid(kind, problems_of(error)) from error

    def to_object(self, *, with_status: bool = False) -> dict[str, Any]:
        """Return the object as it can be applied; status travels apart, through its subresource."""
        parts = self.dump()
        parts["metadata"] = self.metadata.dump()
        if not with_status:
            parts.pop("status", None)
        return {"apiVersion": names.API_VERSION, "kind": self.definition.kind, **parts}


def _is_about_status(problem: Problem) -> bool:
    return problem.path == "status" or problem.path.startswith("status.")
