"""Secrets that the operator makes carry its label, an owner, and what is promised of their keys."""

import base64

import pytest

from hawse_operator.manifests import metadata, secrets
from hawse_operator.reconcile.agent_tokens import read_issued
from hawse_operator.translate import token_text
from support.objects import NOW, fleet, token

SECRET = b"s" * 32
TEXT = token_text.build_token_text(
    domain="a.b", addresses={"c:1": 443}, ca_sha256=(b"h" * 32,), token_id="uid-laptop", secret=SECRET
)


def test_a_tokens_secret_is_read_back_as_it_was_issued() -> None:
    body = secrets.build_token_secret(token(), text=TEXT, issued_at=NOW, reissue="7")
    assert body["metadata"]["name"] == "laptop-token"
    assert base64.b64decode(body["data"]["token"]).decode() == TEXT
    issued = read_issued(token(), body)
    assert issued is not None
    assert (issued.is_ours, issued.secret, issued.issued_at, issued.reissue) == (True, SECRET, NOW, "7")


def test_without_an_annotation_a_secret_is_as_old_as_its_object() -> None:
    body = secrets.build_token_secret(token(), text="nonsense", issued_at=NOW, reissue="")
    body["metadata"] |= {"annotations": {}, "creationTimestamp": "2026-02-01T00:00:00Z"}
    issued = read_issued(token(), body)
    assert issued is not None
    assert (issued.issued_at.month, issued.secret) == (2, b"")


@pytest.mark.parametrize("foreign", ["label", "owner"])
def test_a_secret_without_our_label_or_owner_is_somebody_elses(foreign: str) -> None:
    body = secrets.build_token_secret(token(), text=TEXT, issued_at=NOW, reissue="")
    body["metadata"].pop("labels" if foreign == "label" else "ownerReferences")
    issued = read_issued(token(), body)
    assert issued is not None
    assert not issued.is_ours


def test_no_secret_is_nothing_issued() -> None:
    assert read_issued(token(), None) is None


def test_every_secret_carries_the_label_that_the_admission_policy_asks_for() -> None:
    made = [
        secrets.build_token_secret(token(), text=TEXT, issued_at=NOW, reissue=""),
        secrets.build_edge_certificate(fleet(), namespace="ns", parts={"tls.crt": b"c", "tls.key": b"k"}),
        secrets.build_ca_secret(namespace="ns", parts={"ca.crt": b"c", "ca.key": b"k"}, annotations={}),
        secrets.build_ca_config_map(namespace="ns", certificate_pem=b"c"),
    ]
    for body in made:
        assert body["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "hawse-operator"
    assert secrets.read_data(made[1], "tls.key") == b"k"
    assert secrets.read_data(made[1], "absent") == b""
    assert made[3]["data"] == {"ca.crt": "c"}


def test_children_are_named_after_their_owner_and_its_uid() -> None:
    assert metadata.child_name("eu", "uid-1") != metadata.child_name("eu", "uid-2")
    assert len(metadata.child_name("x" * 40, "uid")) <= 63
    assert metadata.session_name("laptop", "agent-1").startswith("laptop-")
