"""Objects of the API as JSON, for tests of the operator: valid unless a test says otherwise."""

from datetime import UTC, datetime
from typing import Any

from hawse_api import v1alpha1

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
JsonObject = dict[str, Any]


def meta(name: str, namespace: str = "", *, uid: str = "", version: int = 1, **more: Any) -> JsonObject:
    metadata: JsonObject = {
        "name": name,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        **more,
    }
    return metadata | ({"namespace": namespace} if namespace else {})


def our(kind: str, metadata: JsonObject, spec: JsonObject, status: JsonObject | None = None) -> JsonObject:
    return {
        "apiVersion": "hawse.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        **({"status": status} if status is not None else {}),
    }


def tunnel_body(name: str = "shop", namespace: str = "team-a", *, subdomain: str = "", **more: Any) -> JsonObject:
    spec: JsonObject = {
        "fleetName": more.pop("fleet", "default"),
        "host": {"type": "Subdomain", "subdomain": subdomain or name},
        "target": {"type": "Agent", "agent": {"tokenRef": {"name": more.pop("token", "laptop")}}},
        **more.pop("spec", {}),
    }
    return our("Tunnel", meta(name, namespace, **more), spec)


def fleet_body(name: str = "default", domain: str = "tunnels.example.com", **more: Any) -> JsonObject:
    spec = {"domain": domain, "allowedNamespaces": {"from": "All"}, **more.pop("spec", {})}
    return our("Fleet", meta(name, **more), spec)


def exit_node_body(name: str = "eu-west-1", region: str = "eu-west", **more: Any) -> JsonObject:
    return our("ExitNode", meta(name, **more), {"fleetName": "default", "region": region, **more.pop("spec", {})})


def token_body(name: str = "laptop", namespace: str = "team-a", **more: Any) -> JsonObject:
    status = more.pop("status", None)
    return our("AgentToken", meta(name, namespace, **more), more.pop("spec", {}), status)


def policy_body(name: str = "staff", namespace: str = "team-a", **more: Any) -> JsonObject:
    status, spec = more.pop("status", None), more.pop("spec", {"basic": {"secretRef": {"name": "users"}}})
    return our("AccessPolicy", meta(name, namespace, **more), spec, status)


def reservation_body(
    host: str = "shop.tunnels.example.com",
    *,
    namespace: str = "team-a",
    uid: str = "uid-team-a",
    name: str = "shop",
    **spec: Any,
) -> JsonObject:
    annotations = spec.pop("annotations", {})
    claim = {"namespace": namespace, "namespaceUID": uid, "name": name, "uid": spec.pop("tunnel_uid", f"uid-{name}")}
    body = {"claimRef": claim, "boundAt": "2026-03-01T00:00:00Z", **spec}
    return our("SubdomainReservation", meta(host, annotations=annotations), body)


def pod_body(name: str, exit_node: str = "eu-west-1", *, ready: bool = True, **more: Any) -> JsonObject:
    labels = {
        "hawse.dev/exit-node": exit_node,
        "hawse.dev/fleet": more.pop("fleet", "default"),
        "hawse.dev/region": more.pop("region", "eu-west"),
    }
    status = {
        "podIP": more.pop("ip", "127.0.1.2"),
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta(name, "hawse-system", labels=labels, **more),
        "status": status,
    }


def namespace_body(name: str, *, uid: str = "", labels: dict[str, str] | None = None, version: int = 1) -> JsonObject:
    metadata = meta(name, uid=uid or f"uid-{name}", labels=labels or {}, version=version)
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def tunnel(*args: Any, **more: Any) -> v1alpha1.Tunnel:
    return v1alpha1.Tunnel.from_object(tunnel_body(*args, **more))


def fleet(*args: Any, **more: Any) -> v1alpha1.Fleet:
    return v1alpha1.Fleet.from_object(fleet_body(*args, **more))


def exit_node(*args: Any, **more: Any) -> v1alpha1.ExitNode:
    return v1alpha1.ExitNode.from_object(exit_node_body(*args, **more))


def token(*args: Any, **more: Any) -> v1alpha1.AgentToken:
    return v1alpha1.AgentToken.from_object(token_body(*args, **more))


def policy(*args: Any, **more: Any) -> v1alpha1.AccessPolicy:
    return v1alpha1.AccessPolicy.from_object(policy_body(*args, **more))


def reservation(*args: Any, **more: Any) -> v1alpha1.SubdomainReservation:
    return v1alpha1.SubdomainReservation.from_object(reservation_body(*args, **more))
