"""How a kind of ours is declared: models, rules, and what its CRD says beside the schema.

A `Rule` is written once and checked twice: as CEL by the API server, and in Python by the operator, which does not
trust that the API server had this version of the CRD. Rules about a change (`oldSelf`) exist on the server only.
Nothing here knows a kind: the modules beside it declare with these words, `hawse_api.crdgen` reads them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"

Members = dict[str, str | None]
"""Value of a discriminator -> the field that belongs to it, both in their outer spelling; None for no field."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition on a value: `Annotated[str, Rule(...)]`, or an entry of a model's `rules`."""

    cel: str
    """The condition as the API server checks it; `self` is the value."""
    message: str
    """What to change, without a full stop."""
    holds: Callable[[Any], bool] | None = None
    """The same condition in Python; None for a rule about a change, which only the API server can see."""

    def as_schema(self) -> dict[str, str]:
        """Return the entry of x-kubernetes-validations."""
        return {"rule": self.cel, "message": self.message}

    def is_broken_by(self, value: Any) -> bool:
        """Say whether `value` breaks the rule, as far as Python can tell."""
        return self.holds is not None and not self.holds(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        json_schema.setdefault(VALIDATIONS, []).append(self.as_schema())
        return json_schema

    def _check(self, value: Any) -> Any:
        if self.is_broken_by(value):
            raise broken(self.message)
        return value


def broken(message: str) -> PydanticCustomError:
    """Return pydantic's error for a broken rule, with the same words as the API server's."""
    return PydanticCustomError("rule", "{text}", {"text": message})


class Model(BaseModel):
    """A part of a spec: frozen, closed to unknown fields, camelCase outside and snake_case inside."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def all_rules(cls) -> tuple[Rule, ...]:
        """Return the rules on this object as a whole."""
        return cls.rules

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        messages = [rule.message for rule in self.all_rules() if rule.is_broken_by(self)]
        if messages:
            raise broken("; ".join(messages))
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        if cls.all_rules():
            resolved = handler.resolve_ref_schema(json_schema)
            resolved[VALIDATIONS] = [rule.as_schema() for rule in cls.all_rules()]
        return json_schema

    def dump(self) -> dict[str, Any]:
        """Return the object as Kubernetes takes it: camelCase, times as text, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Status(Model):
    """A part of a status: fields of a newer operator are passed over, not refused."""

    model_config = ConfigDict(extra="ignore")


class Choice(Model):
    """A union: the discriminator names which one member is there.

    A choice without a member (`SelfSigned`) stands in `choices` with None.
    """

    discriminator: ClassVar[str] = "type"
    """Name of the field in Python; outside it is the alias."""
    choices: ClassVar[Members]
    """Every value of the discriminator."""

    @classmethod
    def all_rules(cls) -> tuple[Rule, ...]:
        """Return the rules of the union, then the class's own."""
        field = cls.model_fields[cls.discriminator].alias or cls.discriminator
        members = ((value, member) for value, member in cls.choices.items() if member)
        return (*(_member_rule(cls.discriminator, field, value, member) for value, member in members), *cls.rules)


def _member_rule(attribute: str, field: str, value: str, member: str) -> Rule:
    def holds(choice: Any) -> bool:
        is_chosen: bool = getattr(choice, attribute) == value
        present = {info.alias or name: getattr(choice, name) for name, info in type(choice).model_fields.items()}
        return is_chosen == (present[member] is not None)

    return Rule(
        cel=f"self.{field} == '{value}' ? has(self.{member}) : !has(self.{member})",
        message=f"{member} belongs to {field} {value}: required with it, refused without it",
        holds=holds,
    )


def immutable(field: str) -> Rule:
    """Return the rule for the parent of `field` that its value never changes.

    On the parent, because a rule on an optional field itself is skipped when the field appears or goes away.
    """
    return Rule(
        cel=f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        message=f"{field} is immutable: delete the object and create it again",
    )


# --- scalars ---------------------------------------------------------------------------------------------------------
Int32 = Annotated[int, Field(strict=True, json_schema_extra={"format": "int32"})]
Int64 = Annotated[int, Field(strict=True, json_schema_extra={"format": "int64"})]
Bool = Annotated[bool, Field(strict=True)]
"""Strict: pydantic would take "yes" and 1, which the API server refuses."""


def list_map(*keys: str) -> dict[str, Any]:
    """Return the marks of a list whose items are merged by `keys` (server-side apply)."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
LIST_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
PRESERVE_UNKNOWN: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}


# --- what the CRD says beside the schema -----------------------------------------------------------------------------
class Scope(StrEnum):
    """Whether objects of a kind live in a namespace."""

    NAMESPACED = "Namespaced"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    wide: bool = False
    """Shown with `-o wide` only."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Paths of the scale subresource."""

    spec_replicas: str
    status_replicas: str
    selector: str


@dataclass(frozen=True, slots=True)
class Definition:
    """Names and views of a kind."""

    kind: str
    plural: str
    short: str
    scope: Scope
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    """Paths that `kubectl get --field-selector` and watches can filter on."""
    scale: Scale | None = None

    @property
    def singular(self) -> str:
        """The kind in lower case, as kubectl takes it."""
        return self.kind.lower()


def condition_columns(*, message: bool = True) -> tuple[Column, ...]:
    """Return READY and AGE, and the reason and message of Ready for `-o wide`: every kind ends with them."""
    ready = '.status.conditions[?(@.type=="Ready")]'
    columns = [
        Column("Ready", f"{ready}.status", description="Whether it works: the sum of the conditions below status."),
        Column("Age", ".metadata.creationTimestamp", "date", "Time since it was created."),
    ]
    if message:
        columns += [
            Column("Reason", f"{ready}.reason", description="Reason of the condition Ready.", wide=True),
            Column("Message", f"{ready}.message", description="Message of the condition Ready.", wide=True),
        ]
    return tuple(columns)
