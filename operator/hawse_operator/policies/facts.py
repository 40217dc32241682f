"""What the operator reads of objects that are not its own kinds: namespaces, pods, Deployments, as frozen values.

Pure: JSON in, values out; what is missing is empty, since the API server's schema guarantees the rest. Called by the
reconcilers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hawse_api import names


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace and which one of that name it is."""

    name: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pod:
    """An exit node's pod."""

    name: str
    uid: str
    exit_node: str
    fleet: str
    region: str
    ip: str
    is_ready: bool
    """Ready and not about to end."""
    is_ending: bool = False
    """Deleted, or its containers have ended for good: nobody will answer at its address for long."""
    has_ended: bool = False
    """Its containers have ended for good. A pod that was deleted goes on until it has drained."""

    @property
    def is_stopping(self) -> bool:
        """Whether it was deleted and drains: it serves those whom it has."""
        return self.is_ending and not self.has_ended


@dataclass(frozen=True, slots=True)
class Service:
    """A Service of a tenant."""

    name: str
    cluster_ips: tuple[str, ...]
    """Empty: it has none, because it is headless or leads out of the cluster."""
    ports: tuple[tuple[str, int], ...]
    """TCP alone: (name, number)."""


class AckState(Enum):
    """What a pod said about an object in its present form."""

    IN_FORCE = "in force"
    PENDING = "pending"
    REFUSED = "refused"
    AWAY = "away"
    """It is not connected (yet): what it holds is not known."""


@dataclass(frozen=True, slots=True)
class PodAck:
    """A ready pod and what it said."""

    pod: str
    region: str
    state: AckState
    error: str = ""


def read_namespace(body: Mapping[str, Any]) -> Namespace:
    """Namespace from JSON."""
    metadata = body["metadata"]
    return Namespace(metadata["name"], metadata.get("uid", ""), metadata.get("labels") or {})


def read_service(body: Mapping[str, Any]) -> Service:
    """Service from JSON."""
    spec = body.get("spec") or {}
    found = spec.get("clusterIPs") or [spec.get("clusterIP")]
    leads_out = spec.get("type") == "ExternalName"
    ips = () if leads_out else tuple(ip for ip in found if ip and ip != "None")
    ports = (item for item in spec.get("ports") or () if item.get("protocol", "TCP") == "TCP")
    return Service(body["metadata"]["name"], ips, tuple((item.get("name", ""), item["port"]) for item in ports))


def read_pod(body: Mapping[str, Any]) -> Pod:
    """Exit node pod from JSON."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    ready = any(item.get("type") == "Ready" and item.get("status") == "True" for item in status.get("conditions") or ())
    ended = status.get("phase") in ("Succeeded", "Failed")
    ending = ended or "deletionTimestamp" in metadata
    return Pod(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        exit_node=labels.get(names.LABEL_EXIT_NODE, ""),
        fleet=labels.get(names.LABEL_FLEET, ""),
        region=labels.get(names.LABEL_REGION, ""),
        ip=status.get("podIP", "") or "",
        is_ready=ready and not ending,
        is_ending=ending,
        has_ended=ended,
    )
