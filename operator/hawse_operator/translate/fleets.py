"""Fleet → IR. Pure. Called by reconcile.fleets."""

from collections.abc import Mapping
from types import MappingProxyType

from hawse_api import v1alpha1
from hawse_api.ir import ir_pb2

FLEET_KEY = "fleet"
"""Key of the one Fleet object that every exit node holds."""
MAX_ADDRESSES = 64


def certificate_id(fleet: str) -> str:
    """Material id of the wildcard certificate; exit nodes know only this name of it."""
    return f"certificate/fleet-{fleet}"


def translate_fleet(fleet: v1alpha1.Fleet, addresses: Mapping[str, int] = MappingProxyType({})) -> ir_pb2.Object:
    """What all exit nodes of the fleet share. `addresses`: where agents reach them (UDP) -> their TCP port."""
    shown = list(addresses)[:MAX_ADDRESSES]
    spec = fleet.spec
    proxies = spec.proxy_protocol
    return ir_pb2.Object(
        key=FLEET_KEY,
        fleet=ir_pb2.Fleet(
            name=fleet.name,
            domain=spec.domain,
            https_port=spec.listeners.https,
            agents_port=spec.listeners.agents,
            certificate_id=certificate_id(fleet.name),
            proxies=ir_pb2.Proxies(
                trusted_cidrs=proxies.trusted_cidrs, announce=proxies.mode is v1alpha1.ProxyProtocolMode.REQUIRED
            )
            if proxies.trusted_cidrs
            else None,
            agent_addresses=shown,
            agent_tcp_ports=[addresses[address] for address in shown],
            allowed_cidrs=spec.targets.allowed_cidrs,
            max_staleness_ms=round(v1alpha1.duration_s(spec.max_staleness) * 1000),
        ),
    )
