"""May a Tunnel lead there: does what its target names exist, and do exit nodes dial such an address.

Pure. Names are not looked up here: the edge does, and judges each answer. Called by policies.tunnels.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from hawse_api import addresses, names, v1alpha1
from hawse_operator.policies import facts
from hawse_operator.policies.violations import Violation, listed


@dataclass(frozen=True, slots=True)
class Destination:
    """One target of a Tunnel and what it names, as gathered."""

    target: v1alpha1.Target
    token: v1alpha1.AgentToken | None = None
    service: facts.Service | None = None


def violations_of(
    to: Destination, namespace: str, *, existing_tokens: Sequence[str], allowed: Sequence[str]
) -> tuple[Violation, ...]:
    """Everything that keeps a target from being led to."""
    found = (token_exists(namespace, to, existing_tokens), service_exists(namespace, to), is_allowed(to, allowed))
    return tuple(violation for violation in found if violation is not None)


def token_exists(namespace: str, to: Destination, existing: Sequence[str]) -> Violation | None:
    """The AgentToken is there and is not about to go."""
    if to.target.agent is None or (to.token is not None and not to.token.is_deleting):
        return None
    wanted = to.target.agent.token_ref.name
    others = [name for name in existing if name != wanted]
    return Violation(
        names.Reason.TOKEN_NOT_FOUND,
        f'AgentToken "{wanted}" does not exist in namespace {namespace}. Existing: {listed(others)}.',
    )


def service_exists(namespace: str, to: Destination) -> Violation | None:
    """The Service is there, has a ClusterIP and the port."""
    wanted = to.target.service
    if wanted is None:
        return None
    if to.service is None:
        why = f'Service "{wanted.name}" does not exist in namespace {namespace}.'
    elif not to.service.cluster_ips:
        why = f'Service "{wanted.name}" has no ClusterIP: headless and ExternalName Services are not dialled.'
    elif port_of(to.service, wanted.port) is None:
        existing = [f"{number} ({name})" if name else str(number) for name, number in to.service.ports]
        why = f'Service "{wanted.name}" has no TCP port {wanted.port}. Existing: {listed(existing)}.'
    else:
        return None
    return Violation(names.Reason.SERVICE_NOT_FOUND, why)


def is_allowed(to: Destination, allowed: Sequence[str]) -> Violation | None:
    """Exit nodes dial the address: a Service's, or one that stands in the URL."""
    found: Sequence[str] = ()
    if to.service is not None:
        found = to.service.cluster_ips
        what = f'Service "{to.service.name}" has'
    elif to.target.url is not None and _is_address(host := v1alpha1.split_url(to.target.url).host):
        found, what = (host,), f"{to.target.url} leads to"
    for address in found:
        why = addresses.refusal(address, allowed, is_service=to.service is not None)
        if why is not None:
            message = (
                f"{what} {address}, which exit nodes do not dial: it is {why}. Ask the platform team: "
                "spec.targets.allowedCIDRs of the Fleet would have to name its network."
            )
            return Violation(names.Reason.TARGET_NOT_ALLOWED, message)
    return None


def port_of(service: facts.Service, wanted: int | str) -> int | None:
    """Number of a port that is named by its number or its name; None: it has no such port."""
    return next((number for name, number in service.ports if wanted in (name, number)), None)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
