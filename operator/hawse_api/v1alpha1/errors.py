"""What is wrong with an object: all of it at once, each with the path of the field.

Raised by `Resource.from_object`. The operator turns it into `Accepted=False/Invalid`; nothing here decides what
happens then.

    ObjectInvalid
"""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

_MAX_SHOWN = 8
"""Problems named in the message of a condition; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that has to change."""

    path: str
    """`spec.host.subdomain`, `spec.address.static.ips[0]`; empty for the object as a whole."""
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ObjectInvalid(Exception):  # noqa: N818 - reads as the sentence it is
    """An object of ours does not say what its schema asks for."""

    def __init__(self, kind: str, problems: tuple[Problem, ...]) -> None:
        self.kind = kind
        self.problems = problems
        shown = "; ".join(str(problem) for problem in problems[:_MAX_SHOWN])
        more = len(problems) - _MAX_SHOWN
        super().__init__(f"{shown}; and {more} more" if more > 0 else shown)


def problems_of(error: ValidationError) -> tuple[Problem, ...]:
    """Translate pydantic's errors into the words of the API server."""
    return tuple(
        Problem(_path(item["loc"]), _words(item["type"], item["msg"], item.get("ctx", {})))
        for item in error.errors(include_url=False, include_input=False)
    )


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def _words(kind: str, message: str, context: dict[str, Any]) -> str:
    match kind:
        case "extra_forbidden":
            return "unknown field"
        case "missing":
            return "is required"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case "enum":
            return f"must be one of {context['expected']}"
        case _:
            return message[0].lower() + message[1:]
