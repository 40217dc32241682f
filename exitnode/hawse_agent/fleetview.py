"""Fleets and their ExitNodes as a platform team wants to see them: regions, weights, health, agents, drains. Pure.

Reads what the operator wrote into the statuses, and says which of it is why no visitor gets there. Used by
cli/fleet.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hawse_agent import render, words

JsonObject = Mapping[str, Any]
COLUMNS = ("REGION", "EXIT NODE", "WEIGHT", "EFFECTIVE", "SHARE", "PODS", "AGENTS", "ADDRESSES", "STATE")
ADDRESSES_SHOWN = 2


@dataclass(frozen=True, slots=True)
class ExitNodeView:
    """One ExitNode."""

    region: str
    name: str
    weight: int
    effective_weight: int
    share: float
    """Of the fleet's new visitors, as DNS spreads them where it does."""
    pods_ready: int
    pods: int
    agents: int
    addresses: tuple[str, ...]
    state: str
    """serving, draining, or why nobody is served."""


@dataclass(frozen=True, slots=True)
class FleetView:
    """One Fleet."""

    name: str
    domain: str
    ready: str
    dns: str
    exit_nodes: tuple[ExitNodeView, ...]


def view(fleets: Sequence[JsonObject], exit_nodes: Sequence[JsonObject]) -> tuple[FleetView, ...]:
    """Fleets by name, each with its ExitNodes by region and name."""
    return tuple(_fleet(body, exit_nodes) for body in sorted(fleets, key=_name))


def lines(found: Sequence[FleetView]) -> list[str]:
    """For a terminal."""
    shown: list[str] = []
    for fleet in found:
        shown += [
            f"fleet {fleet.name}   {fleet.domain}",
            f"  ready  {fleet.ready}",
            f"  dns    {fleet.dns}",
        ]
        rows = [_row(one) for one in fleet.exit_nodes]
        shown += render.table(COLUMNS, rows) if rows else ["  no exit nodes: kubectl apply an ExitNode that names it"]
    return shown


def as_json(found: Sequence[FleetView]) -> list[dict[str, Any]]:
    """For programs."""
    return [asdict(fleet) for fleet in found]


def _fleet(body: JsonObject, exit_nodes: Sequence[JsonObject]) -> FleetView:
    name = _name(body)
    members = [one for one in exit_nodes if one.get("spec", {}).get("fleetName", "default") == name]
    effective = {_name(one): _number(one, "effectiveWeight") for one in members}
    total = sum(effective.values())
    views = [_exit_node(one, effective[_name(one)], total) for one in members]
    return FleetView(
        name=name,
        domain=str(body.get("spec", {}).get("domain", "")),
        ready=_told(body, "Ready"),
        dns=_told(body, "DNSReady") if _condition(body, "DNSReady") else "not managed by the operator",
        exit_nodes=tuple(sorted(views, key=lambda one: (one.region, one.name))),
    )


def _exit_node(body: JsonObject, effective: int, total: int) -> ExitNodeView:
    spec = body.get("spec", {})
    return ExitNodeView(
        region=str(spec.get("region", "")),
        name=_name(body),
        weight=int(spec.get("weight", 100)),
        effective_weight=effective,
        share=effective / total if total else 0.0,
        pods_ready=_number(body, "readyReplicas"),
        pods=_desired(body),
        agents=_number(body, "agents"),
        addresses=tuple(body.get("status", {}).get("addresses") or ()),
        state=_state(body),
    )


def _desired(body: JsonObject) -> int:
    """How many pods there should be: the operator knows what an autoscaler chose."""
    spec = body.get("spec", {})
    asked = int(spec.get("replicas", 1))
    return _number(body, "desiredReplicas", asked) if spec.get("autoscaling") else asked


def _state(body: JsonObject) -> str:
    """What a person has to know first."""
    spec, draining = body.get("spec", {}), _condition(body, "Draining")
    parts = ["draining"] if spec.get("drain") else []
    if _condition(body, "Ready").get("status") != "True":
        parts.append(_told(body, "Ready"))
    elif not parts:
        parts.append("serving" if spec.get("weight", 100) else "serving, weight 0")
    if draining.get("reason") == "PodsStopping":
        parts.append(words.printable(str(draining.get("message"))))
    return "; ".join(parts)


def _told(body: JsonObject, type_: str) -> str:
    """A condition in words; one that is older than the spec says so."""
    found = _condition(body, type_)
    if not found:
        return "not judged yet: is the operator running?"
    late = found.get("observedGeneration") not in (None, body.get("metadata", {}).get("generation"))
    says = "yes" if found.get("status") == "True" else f"{found.get('reason')}: {found.get('message')}"
    return words.printable(f"{says} (of an earlier spec)" if late else says)


def _condition(body: JsonObject, type_: str) -> JsonObject:
    conditions = body.get("status", {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == type_), {})


def _row(one: ExitNodeView) -> tuple[str, ...]:
    listed = words.listing(one.addresses, ADDRESSES_SHOWN) if one.addresses else "-"
    share = f"{one.share:.0%}"
    pods = f"{one.pods_ready}/{one.pods}"
    numbers = (str(one.weight), str(one.effective_weight), share, pods, str(one.agents))
    return (one.region, one.name, *numbers, listed, one.state)


def _name(body: JsonObject) -> str:
    return str(body.get("metadata", {}).get("name", ""))


def _number(body: JsonObject, field: str, default: int = 0) -> int:
    found = body.get("status", {}).get(field)
    return found if isinstance(found, int) else default
