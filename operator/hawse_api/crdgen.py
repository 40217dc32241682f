"""Models -> CustomResourceDefinitions, in `crds/` and in the chart. `python -m hawse_api.crdgen [--check]`.

An API server takes *structural* schemas, which pydantic's are not: definitions are inlined, titles dropped, "or null"
becomes "not required", and what is left must be among the keywords that Kubernetes knows. Everything but `main` is
pure. `make codegen` runs it; tests run it with `--check`, and apply the result to a real API server. It decides
nothing about the API: that is said in `v1alpha1/`.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hawse_api import names, v1alpha1
from hawse_api.apidoc import api_reference
from hawse_api.v1alpha1.meta import Resource
from hawse_api.v1alpha1.schema import Column
from hawse_api.yamltext import to_yaml

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
HEADER = "# Generated from operator/hawse_api/v1alpha1 by `make codegen`; do not edit.\n"

KEYWORDS = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "anyOf",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)
"""What may be left in a schema, in the order in which it is written."""

IGNORED = frozenset({"title", "$defs", "propertyNames"})
"""What pydantic adds and a structural schema cannot say."""


class NotStructural(ValueError):  # noqa: N818 - reads as the sentence it is
    """A model says something that no CRD can say."""


def structural(schema: Json, definitions: Mapping[str, Json] | None = None) -> Json:
    """Return pydantic's JSON schema as a structural schema. Raises NotStructural for what has no counterpart."""
    definitions = schema.get("$defs", {}) if definitions is None else definitions
    node = _without_null(_inlined(schema, definitions))
    node = _with_bounds(node)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "description" in node:
        node["description"] = " ".join(node["description"].split())
    if node.get("default") in ([], {}):
        del node["default"]
    elif "default" in node:
        node["default"] = _without_nulls(node["default"])
    if "properties" in node:
        node.pop("additionalProperties", None)
        node["properties"] = {key: structural(value, definitions) for key, value in node["properties"].items()}
    elif node.get("x-kubernetes-preserve-unknown-fields"):
        node.pop("additionalProperties", None)
    elif isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = structural(node["additionalProperties"], definitions)
    if "items" in node:
        node["items"] = structural(node["items"], definitions)
    return _in_order(node)


def _inlined(schema: Json, definitions: Mapping[str, Json]) -> Json:
    """Replace a $ref by what it refers to; words beside it (description, default) win."""
    node = dict(schema)
    while "$ref" in node:
        target = definitions[node.pop("$ref").removeprefix("#/$defs/")]
        node = {**target, **node}
    if len(node.get("allOf", ())) == 1:
        node = {**_inlined(node.pop("allOf")[0], definitions), **node}
    if "anyOf" in node:
        node["anyOf"] = [_inlined(branch, definitions) for branch in node["anyOf"]]
    return node


def _without_null(schema: Json) -> Json:
    """`X or null` becomes X: in Kubernetes an absent field is absent. Integer or string becomes int-or-string."""
    if "anyOf" not in schema:
        return schema
    node = dict(schema)
    branches = [branch for branch in node.pop("anyOf") if branch.get("type") != "null"]
    if node.get("default", ...) is None:
        del node["default"]
    if len(branches) == 1:
        return {**branches[0], **node}
    if {branch.get("type") for branch in branches} != {"integer", "string"} or len(branches) != 2:
        raise NotStructural(f"a CRD has no union of types: {branches}")
    text = next(branch for branch in branches if branch["type"] == "string")
    rest = {key: value for key, value in text.items() if key != "type"}
    return {**rest, **node, "anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}


def _with_bounds(schema: Json) -> Json:
    """Exclusive bounds of integers become inclusive: Kubernetes knows the keyword as a boolean only."""
    node = dict(schema)
    for exclusive, inclusive, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
        if exclusive in node:
            if node.get("type") != "integer":
                raise NotStructural("an exclusive bound needs an integer: floats do not belong into a spec")
            node[inclusive] = node.pop(exclusive) + step
    return node


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _in_order(node: Json) -> Json:
    unknown = set(node) - set(KEYWORDS) - IGNORED
    if unknown:
        raise NotStructural(f"a CRD cannot say {', '.join(sorted(unknown))}")
    return {key: node[key] for key in KEYWORDS if key in node}


def computed_fields(model: type[BaseModel]) -> Json:
    """Return the schemas of fields that a model derives from others: only its serialisation knows them."""
    schema = model.model_json_schema(by_alias=True, mode="serialization")
    found = {
        info.alias or name: schema["properties"][info.alias or name]
        for name, info in model.model_computed_fields.items()
    }
    definitions = schema.get("$defs", {})
    return {
        name: structural({key: item for key, item in field.items() if key != "readOnly"}, definitions)
        for name, field in found.items()
    }


# --- the whole definition --------------------------------------------------------------------------------------------
def root_schema(kind: type[Resource]) -> Json:
    """Return the openAPIV3Schema of a kind."""
    schema = kind.model_json_schema(by_alias=True)
    node = structural(schema)
    fields = node["properties"]
    fields["metadata"] = {"type": "object"}
    fields["status"].pop("default", None)  # the operator writes it; an empty one says nothing
    if isinstance(status := kind.model_fields["status"].annotation, type):
        fields["status"]["properties"] |= computed_fields(status)
    envelope = {
        "apiVersion": {"description": f"Always {names.API_VERSION}.", "type": "string"},
        "kind": {"description": f"Always {kind.definition.kind}.", "type": "string"},
    }
    fields["spec"]["description"] = "What is wanted."
    fields["status"]["description"] = "What was found and done; written by the operator."
    node["properties"] = {**envelope, **fields}
    node["required"] = ["spec"] if "default" not in fields["spec"] else []
    return {key: value for key, value in node.items() if value != []}


def crd(kind: type[Resource]) -> Json:
    """Return the CustomResourceDefinition of a kind."""
    definition = kind.definition
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{definition.plural}.{names.GROUP}",
            "labels": {"app.kubernetes.io/name": "hawse", "app.kubernetes.io/part-of": "hawse"},
        },
        "spec": {
            "group": names.GROUP,
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.singular,
                "shortNames": [definition.short],
                "categories": [names.CATEGORY],
            },
            "scope": definition.scope.value,
            "versions": [_version(kind)],
        },
    }


def _version(kind: type[Resource]) -> Json:
    definition = kind.definition
    subresources: Json = {"status": {}}
    if definition.scale:
        subresources["scale"] = {
            "specReplicasPath": definition.scale.spec_replicas,
            "statusReplicasPath": definition.scale.status_replicas,
            "labelSelectorPath": definition.scale.selector,
        }
    version: Json = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in definition.columns],
        "subresources": subresources,
    }
    if definition.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in definition.selectable]
    version["schema"] = {"openAPIV3Schema": root_schema(kind)}
    return version


def _column(column: Column) -> Json:
    node: Json = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        node["description"] = column.description
    if column.wide:
        node["priority"] = 1
    return node


# --- files -----------------------------------------------------------------------------------------------------------
KEEP = """\
{{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
{{- end }}
"""


def chart_crds(texts: Mapping[str, str]) -> str:
    """Return the chart's template with all CRDs, from their texts."""
    documents = []
    for name, text in texts.items():
        if "{{" in text:
            raise NotStructural(f"{name} holds '{{{{', which Helm would take for a template")
        documents.append(f"---\n{text}".replace("\nspec:\n", f"\n{KEEP}spec:\n", 1))
    return f"{HEADER}{{{{- if .Values.crds.enabled }}}}\n{''.join(documents)}{{{{- end }}}}\n"


def generated_files() -> dict[str, str]:
    """Return all generated files: path below the repository -> text."""
    texts = {kind.definition.plural: to_yaml(crd(kind)) for kind in v1alpha1.KINDS}
    files = {f"crds/{names.GROUP}_{plural}.yaml": HEADER + text for plural, text in texts.items()}
    files["charts/hawse/templates/crds.yaml"] = chart_crds(texts)
    files["docs/reference/api.md"] = api_reference({kind.definition.kind: crd(kind) for kind in v1alpha1.KINDS})
    return files


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with --check name those that are out of date; returns the exit code."""
    parser = argparse.ArgumentParser(prog="crdgen", description="Generate CRDs and the API reference from the models.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    stale = []
    for name, text in generated_files().items():
        path = ROOT / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    verb = "out of date (run `make codegen`)" if check else "written"
    for name in stale:
        sys.stdout.write(f"crdgen: {name}: {verb}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
