"""The CRDs as a page for people: docs/reference/api.md. Pure; called by crdgen.

Says what `kubectl explain` says, in one place. Status fields are listed too, conditions once for all kinds.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

_INTRO = """\
# API reference: `hawse.dev/v1alpha1`

Generated from operator/hawse_api/v1alpha1 by `make codegen`; do not edit. `kubectl explain tunnel.spec` shows the same.
Durations are written as in the Gateway API (GEP-2257): `60s`, `1h30m`, `100ms`.
Conditions and their reasons: [conditions.md](../conditions.md).
"""


def api_reference(crds: Mapping[str, Json]) -> str:
    """Return the page, from kind -> CustomResourceDefinition."""
    return "\n".join([_INTRO, *(section for kind, crd in crds.items() for section in _kind(kind, crd))])


def _kind(kind: str, crd: Json) -> Iterator[str]:
    version = crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    short = crd["spec"]["names"]["shortNames"][0]
    yield f"## {kind}\n"
    yield f"{schema['description']} {crd['spec']['scope']}; short name `{short}`.\n"
    yield from (f"- {rule['message']}." for rule in schema.get("x-kubernetes-validations", ()))
    yield "\n| field | type | default | what it is |\n|---|---|---|---|"
    for part in ("spec", "status"):
        yield from _rows(part, schema["properties"][part])
    yield ""


def _rows(path: str, node: Json) -> Iterator[str]:
    for rule in node.get("x-kubernetes-validations", ()):
        yield f"| `{path}` | | | {_cell(rule['message'])}. |"
    required = node.get("required", ())
    for name, field in node.get("properties", {}).items():
        inner = f"{path}.{name}"
        if inner == "status.conditions":
            continue
        default = "required" if name in required else _default(field)
        yield f"| `{inner}` | {_type(field)} | {default} | {_cell(field.get('description', ''))}{_limits(field)} |"
        if "properties" in field:
            yield from _rows(inner, field)
        elif "properties" in field.get("items", {}):
            yield from _rows(f"{inner}[]", field["items"])


def _type(field: Json) -> str:
    if "enum" in field:
        return " \\| ".join(field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field["type"] == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"map to {_type(field['additionalProperties'])}"
    if field.get("format") == "date-time":
        return "time"
    return str(field["type"])


def _default(field: Json) -> str:
    value = field.get("default")
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _limits(field: Json) -> str:
    words = [f"{rule['message']}" for rule in field.get("x-kubernetes-validations", ()) if "properties" not in field]
    if "minimum" in field and "maximum" in field:
        words.append(f"{field['minimum']} to {field['maximum']}")
    return f" ({_cell('; '.join(words))})" if words else ""


def _cell(text: str) -> str:
    """Escape what Markdown would read: `<` outside code, `|` everywhere."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)
