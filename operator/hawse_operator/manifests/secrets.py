"""Secrets and the ConfigMap that the operator makes. Pure: secret bytes come as arguments. Called by reconcile."""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator.manifests import metadata

JsonObject = dict[str, Any]
ROOT_KEY = "root"
TOKEN_KEY = "token"  # noqa: S105 - a key's name
ANNOTATION_ISSUED_AT = f"{names.GROUP}/issued-at"
"""On a token's Secret: when its secret bytes were made."""


def token_secret_name(token: str) -> str:
    """Name of an AgentToken's Secret."""
    return f"{token}-token"


def edge_certificate_name(fleet: str) -> str:
    """Name of the Secret with a Fleet's self-signed wildcard certificate."""
    return f"{fleet}-edge-tls"


def build_token_secret(token: v1alpha1.AgentToken, *, text: str, issued_at: datetime, reissue: str) -> JsonObject:
    """The Secret that a developer gives to `hawse login`."""
    annotations = {ANNOTATION_ISSUED_AT: v1alpha1.format_time(issued_at)}
    if reissue:
        annotations[names.ANNOTATION_REISSUE] = reissue
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": token_secret_name(token.name),
            "namespace": token.namespace,
            "labels": metadata.common_labels(name="hawse", instance=token.name, component="agent-token"),
            "annotations": annotations,
            "ownerReferences": [metadata.owner_reference(token)],
        },
        "data": _encoded({TOKEN_KEY: text.encode()}),
    }


def build_edge_certificate(fleet: v1alpha1.Fleet, *, namespace: str, parts: Mapping[str, bytes]) -> JsonObject:
    """The Secret with a wildcard certificate that the operator made: tls.crt, tls.key, ca.crt (to import), ca.key."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {
            "name": edge_certificate_name(fleet.name),
            "namespace": namespace,
            "labels": metadata.common_labels(name="hawse", instance=fleet.name, component="edge-certificate"),
            "ownerReferences": [metadata.owner_reference(fleet)],
        },
        "data": _encoded(parts),
    }


def build_ca_secret(*, namespace: str, parts: Mapping[str, bytes], annotations: Mapping[str, str]) -> JsonObject:
    """The Secret with the CA: changed by its rotation only, owned by nobody so that nothing deletes it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": names.CA_SECRET,
            "namespace": namespace,
            "labels": metadata.common_labels(name="hawse", instance="ca", component="ca"),
            **({"annotations": dict(annotations)} if annotations else {}),
        },
        "data": _encoded(parts),
    }


def build_session_root(*, namespace: str, root: bytes) -> JsonObject:
    """The Secret that the keys of visitors' sessions are derived from; owned by nobody so that nothing deletes it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": names.SESSIONS_SECRET,
            "namespace": namespace,
            "labels": metadata.common_labels(name="hawse", instance="sessions", component="sessions"),
        },
        "data": _encoded({ROOT_KEY: root}),
    }


def build_ca_config_map(*, namespace: str, certificate_pem: bytes) -> JsonObject:
    """The CA's certificate for exit nodes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.CA_CONFIG_MAP,
            "namespace": namespace,
            "labels": metadata.common_labels(name="hawse", instance="ca", component="ca"),
        },
        "data": {"ca.crt": certificate_pem.decode("ascii")},
    }


def read_data(body: Mapping[str, Any], key: str) -> bytes:
    """A value of a Secret; empty if it is not there."""
    return base64.b64decode((body.get("data") or {}).get(key) or "")


def read_all(body: Mapping[str, Any]) -> dict[str, bytes]:
    """All values of a Secret."""
    return {key: read_data(body, key) for key in body.get("data") or {}}


def _encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode("ascii") for key, value in data.items()}
