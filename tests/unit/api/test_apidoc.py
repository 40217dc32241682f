"""The page of the API is written from the CRDs."""

from hawse_api import crdgen, v1alpha1
from hawse_api.apidoc import api_reference

PAGE = api_reference({"Tunnel": crdgen.crd(v1alpha1.Tunnel), "ExitNode": crdgen.crd(v1alpha1.ExitNode)})


def test_a_field_has_a_row_with_type_default_and_words() -> None:
    row = next(line for line in PAGE.splitlines() if "`spec.traffic.timeouts.request`" in line)
    assert "| string | 60s |" in row
    assert "(must be between 100ms and 1h)" in row


def test_required_fields_enums_lists_and_quantities_are_named() -> None:
    assert "| `spec.target` | object | required |" in PAGE
    assert "| `spec.target.appProtocol` | HTTP1 \\| H2C | HTTP1 |" in PAGE
    assert "| `status.regions[].name` | string | required |" in PAGE
    assert "| `spec.deployment.managed.resources.limits` | map to quantity |" in PAGE


def test_rules_between_fields_are_listed() -> None:
    assert "host is immutable: delete the object and create it again." in PAGE
    assert "- metadata.name must have at most 40 characters" in PAGE


def test_angle_brackets_are_escaped_outside_code_only() -> None:
    assert "shop.&lt;domain of the fleet>" in PAGE
