"""The generated files are up to date, and the CRDs keep what reviewers of Kubernetes APIs ask for."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hawse_api import crdgen, names, v1alpha1
from hawse_api.yamltext import to_yaml

CRDS = {kind.definition.kind: crdgen.crd(kind) for kind in v1alpha1.KINDS}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk a schema: path and node, fields of objects, items and values of maps."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def part(kind: str, name: str) -> dict[str, Any]:
    """Return the schema of spec or status."""
    properties: dict[str, Any] = CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    found: dict[str, Any] = properties[name]
    return found


ALL = [
    (kind, f"{top}{path}", node) for kind in CRDS for top in ("spec", "status") for path, node in nodes(part(kind, top))
]


def test_generated_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert crdgen.main(["--check"]) == 0, capsys.readouterr().out


def test_a_stale_file_is_named_and_then_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(crdgen, "ROOT", tmp_path)
    assert crdgen.main(["--check"]) == 1
    assert "crds/hawse.dev_tunnels.yaml: out of date (run `make codegen`)" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert crdgen.main([]) == 0
    assert crdgen.main(["--check"]) == 0


@pytest.mark.parametrize("kind", CRDS)
def test_the_text_of_a_crd_reads_back(kind: str) -> None:
    assert yaml.safe_load(to_yaml(CRDS[kind])) == CRDS[kind]


@pytest.mark.parametrize("kind", CRDS)
def test_a_crd_fits_into_the_annotation_of_kubectl_apply(kind: str) -> None:
    assert len(to_yaml(CRDS[kind])) < 262_144 / 4


def test_every_field_has_a_description() -> None:
    bare = [f"{kind}.{path}" for kind, path, node in ALL if "description" not in node and not path.endswith(("]", "}"))]
    assert bare == []


def test_every_string_list_and_map_is_bounded() -> None:
    loose = []
    for kind, path, node in ALL:
        bounded = {
            "string": "maxLength" in node or "enum" in node or node.get("format") == "date-time",
            "array": "maxItems" in node,
            "object": "properties" in node or "maxProperties" in node or "x-kubernetes-preserve-unknown-fields" in node,
            "integer": "minimum" in node,
        }
        if not bounded.get(node.get("type", ""), True):
            loose.append(f"{kind}.{path}")
    assert loose == []


def test_every_list_says_how_it_is_merged() -> None:
    silent = [f"{k}.{p}" for k, p, n in ALL if n.get("type") == "array" and "x-kubernetes-list-type" not in n]
    assert silent == []


def test_keys_of_list_maps_are_required_fields_of_their_items() -> None:
    wrong = []
    for kind, path, node in ALL:
        keys = set(node.get("x-kubernetes-list-map-keys", ()))
        if not keys <= set(node.get("items", {}).get("required", ())):
            wrong.append(f"{kind}.{path}")
    assert wrong == []


def test_unknown_fields_are_kept_only_in_the_pod_template_patch() -> None:
    kept = {f"{kind}.{path}" for kind, path, node in ALL if "x-kubernetes-preserve-unknown-fields" in node}
    assert kept == {"ExitNode.spec.deployment.managed.podTemplatePatch"}


def test_enums_are_camel_case_words() -> None:
    words = {word for _, _, node in ALL for word in node.get("enum", ())}
    assert [word for word in sorted(words) if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", word)] == []


def test_field_names_are_camel_case() -> None:
    fields = {path.rsplit(".", 1)[-1].rstrip("[]{}") for _, path, _ in ALL}
    assert [field for field in sorted(fields) if not re.fullmatch(r"[a-z]+([A-Z0-9][a-z0-9]*)*", field)] == []


def test_there_are_no_floats_and_no_nulls() -> None:
    assert [path for _, path, node in ALL if node.get("type") == "number" or node.get("nullable")] == []


def test_references_are_called_ref_or_name() -> None:
    assert {"tokenRef", "claimRef"} <= {path.rsplit(".", 1)[-1] for _, path, _ in ALL}


@pytest.mark.parametrize("kind", CRDS)
def test_a_kind_has_status_category_conditions_and_columns(kind: str) -> None:
    spec = CRDS[kind]["spec"]
    version = spec["versions"][0]
    assert spec["names"]["categories"] == [names.CATEGORY]
    assert version["subresources"]["status"] == {}
    assert part(kind, "status")["properties"]["conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert "observedGeneration" in part(kind, "status")["properties"]
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert columns[-4:] == ["Ready", "Age", "Reason", "Message"]


def test_short_names_are_unique() -> None:
    shorts = [crd["spec"]["names"]["shortNames"][0] for crd in CRDS.values()]
    assert len(shorts) == len(set(shorts)) == len(CRDS)


def test_exit_nodes_can_be_scaled() -> None:
    assert CRDS["ExitNode"]["spec"]["versions"][0]["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }


@pytest.mark.parametrize("kind", CRDS)
def test_paths_of_columns_and_selectors_exist(kind: str) -> None:
    version = CRDS[kind]["spec"]["versions"][0]
    known = {f".{top}{path}" for top in ("spec", "status") for path, _ in nodes(part(kind, top))}
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    paths += [field["jsonPath"] for field in version.get("selectableFields", ())]
    plain = [path.replace("[*]", "[]") for path in paths if "?" not in path and path != ".metadata.creationTimestamp"]
    assert [path for path in plain if path not in known] == []


def test_a_text_that_helm_would_read_as_a_template_is_refused() -> None:
    with pytest.raises(crdgen.NotStructural, match="which Helm would take for a template"):
        crdgen.chart_crds({"tunnels": "a: '{{'\nspec:\n"})
