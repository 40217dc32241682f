"""Declarations: a rule holds on both sides of the API server."""

from enum import StrEnum
from typing import Annotated, ClassVar

import pytest
from pydantic import Field, ValidationError

from hawse_api.v1alpha1 import schema


class Shape(StrEnum):
    CIRCLE = "Circle"
    DOT = "Dot"


class Drawing(schema.Choice):
    choices: ClassVar[schema.Members] = {Shape.CIRCLE: "radiusLength", Shape.DOT: None}
    rules = (schema.Rule("self.radiusLength < 100", "too big", lambda d: (d.radius_length or 0) < 100),)

    type: Shape
    radius_length: int | None = None


EVEN = schema.Rule("self % 2 == 0", "must be even", lambda number: number % 2 == 0)


class Numbers(schema.Model):
    rules = (schema.immutable("even"),)

    even: Annotated[int, EVEN] = 0
    evens: tuple[Annotated[int, EVEN], ...] = ()


def test_a_choice_writes_a_rule_for_each_member_and_keeps_its_own() -> None:
    assert Drawing.model_json_schema()[schema.VALIDATIONS] == [
        {
            "rule": "self.type == 'Circle' ? has(self.radiusLength) : !has(self.radiusLength)",
            "message": "radiusLength belongs to type Circle: required with it, refused without it",
        },
        {"rule": "self.radiusLength < 100", "message": "too big"},
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"type": "Circle"}, "radiusLength belongs to type Circle"),
        ({"type": "Dot", "radiusLength": 1}, "radiusLength belongs to type Circle"),
        ({"type": "Dot", "radiusLength": 100}, "refused without it; too big"),
    ],
)
def test_a_broken_choice_names_every_broken_rule(value: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Drawing.model_validate(value)


def test_a_rule_on_a_value_is_checked_and_written_where_it_stands() -> None:
    fields = Numbers.model_json_schema()["properties"]
    assert fields["even"][schema.VALIDATIONS] == [EVEN.as_schema()]
    assert fields["evens"]["items"][schema.VALIDATIONS] == [EVEN.as_schema()]
    with pytest.raises(ValidationError, match="must be even"):
        Numbers(evens=(2, 3))


def test_a_rule_about_a_change_is_for_the_api_server_only() -> None:
    (rule,) = Numbers.model_json_schema()[schema.VALIDATIONS]
    assert rule["rule"] == "has(self.even) == has(oldSelf.even) && (!has(self.even) || self.even == oldSelf.even)"
    assert Numbers(even=2).even == 2


def test_every_choice_of_the_api_names_all_its_values() -> None:
    unfinished = []
    pending = [schema.Choice]
    while pending:
        for choice in pending.pop().__subclasses__():
            pending.append(choice)
            values = choice.model_fields[choice.discriminator].annotation
            if choice.__module__.startswith("hawse_api") and set(choice.choices) != set(values or ()):
                unfinished.append(choice.__name__)
    assert unfinished == []


def test_strict_numbers_are_not_text() -> None:
    class Counted(schema.Model):
        count: Annotated[schema.Int32, Field(ge=0)]

    for wrong in ("1", True, 1.0):
        with pytest.raises(ValidationError):
            Counted.model_validate({"count": wrong})
