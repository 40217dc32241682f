"""Names, labels and owners of what the operator makes. Pure. Called by the builders beside it."""

import hashlib
import json
from typing import Any

from hawse_api import names, v1alpha1

EXIT_NODE_APP = "hawse-exitnode"
JsonObject = dict[str, Any]


def hash8(text: str) -> str:
    """Eight hexadecimal digits that tell names apart after they were shortened."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def child_name(owner: str, uid: str) -> str:
    """`<name>-<hash8>`: the same after a crash, another after the owner was made anew."""
    return f"{owner}-{hash8(uid)}"


def session_name(token: str, agent_id: str) -> str:
    """Name of an AgentSession."""
    return f"{token}-{hash8(agent_id)}"


def owner_reference(owner: v1alpha1.Resource) -> JsonObject:
    """The owner deletes its children with itself."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": owner.definition.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def common_labels(*, name: str, instance: str, component: str) -> dict[str, str]:
    """Labels of everything that the operator makes."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "hawse",
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
    }


def exit_node_selector(exit_node: str) -> dict[str, str]:
    """Labels that find the pods of an ExitNode; immutable in a Deployment, so only what never changes."""
    return {"app.kubernetes.io/name": EXIT_NODE_APP, names.LABEL_EXIT_NODE: exit_node}


def exit_node_labels(exit_node: v1alpha1.ExitNode) -> dict[str, str]:
    """Labels of an ExitNode's children."""
    return {
        **common_labels(name=EXIT_NODE_APP, instance=exit_node.name, component="exitnode"),
        names.LABEL_EXIT_NODE: exit_node.name,
        names.LABEL_FLEET: exit_node.spec.fleet_name,
        names.LABEL_REGION: exit_node.spec.region,
    }


ANNOTATION_FINGERPRINT = f"{names.GROUP}/manifest"
"""On every child: hash of what the operator wanted. A field that is no longer wanted shows only here."""


def with_fingerprint(body: JsonObject) -> JsonObject:
    """The manifest with its own hash as an annotation."""
    digest = hash8(json.dumps(body, sort_keys=True))
    described = body["metadata"]
    annotations = {**described.get("annotations", {}), ANNOTATION_FINGERPRINT: digest}
    return {**body, "metadata": {**described, "annotations": annotations}}


def has_fingerprint_of(live: JsonObject, wanted: JsonObject) -> bool:
    """Whether we wrote what we still want: what differs between the two is somebody else's edit."""
    fingerprints = [(body["metadata"].get("annotations") or {}).get(ANNOTATION_FINGERPRINT) for body in (live, wanted)]
    return fingerprints[0] == fingerprints[1]
