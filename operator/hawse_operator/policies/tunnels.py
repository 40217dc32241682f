"""May a Tunnel be served: what is checked before a name is claimed, and what it refers to.

Pure. Called by reconcile.tunnels. Names that others hold are policies.claims' matter.
"""

import re
from dataclasses import dataclass

from hawse_api import names, v1alpha1
from hawse_operator.policies import access, facts, hosts, targets, violations
from hawse_operator.policies.violations import Violation


@dataclass(frozen=True, slots=True)
class TunnelInput:
    """A Tunnel and what it refers to, as gathered."""

    tunnel: v1alpha1.Tunnel
    fleet: v1alpha1.Fleet | None
    """The Fleet in its last good form."""
    fleet_names: tuple[str, ...]
    """All Fleets, to name them in a message."""
    namespace: facts.Namespace | None
    primary: targets.Destination
    standby: targets.Destination | None
    token_names: tuple[str, ...]
    """AgentTokens of the namespace, to name them in a message: only while `token` is not there."""
    hostname: str | None = None
    """The public name; None: the Fleet that it hangs below is not there."""
    domains: tuple[str, ...] = ()
    """Those of all Fleets."""
    proof: hosts.Proof | None = None
    """Of a name outside them."""
    policies: tuple[access.Named, ...] = ()
    """AccessPolicies that all have to let a visitor in."""
    regions: tuple[str, ...] = ()
    """Regions of the Fleet's ExitNodes; looked up only for a Tunnel with a placement."""

    @property
    def destinations(self) -> tuple[targets.Destination, ...]:
        """Its targets, one or two."""
        return (self.primary, self.standby) if self.standby else (self.primary,)


def violations_of_tunnel(given: TunnelInput) -> tuple[Violation, ...]:
    """Why the Tunnel is not accepted: everything at once."""
    return violations.collect(
        (fleet_exists, namespace_is_allowed, label_is_free, port_is_allowed, hostname_is_no_fleets, hostname_is_proved),
        given,
    )


def violations_of_refs(given: TunnelInput) -> tuple[Violation, ...]:
    """Why the target leads nowhere, or nobody may come in. With a bad standby the Tunnel is served all the same."""
    return (*_violations_of_target(given, given.primary), *violations_of_access(given))


def violations_of_access(given: TunnelInput) -> tuple[Violation, ...]:
    """Which access policies are not there, or do not let this namespace use them."""
    found = [access.may_be_named(named, given.tunnel.namespace, given.namespace) for named in given.policies]
    found.append(access_can_be_checked(given))
    return tuple(violation for violation in found if violation is not None)


def access_can_be_checked(given: TunnelInput) -> Violation | None:
    """Visitors of TCP tunnels bring nothing that a policy could check."""
    if not given.tunnel.spec.is_tcp or not given.policies or given.fleet is None:
        return None
    message = (
        f"Fleet {given.fleet.name} requires an access policy of every Tunnel, and visitors of a TCP tunnel bring "
        "nothing that one could check. Use a Fleet without spec.accessDefaults.mode Required."
    )
    return Violation(names.Reason.ACCESS_NOT_CHECKED, message)


def violations_of_enforcing(given: TunnelInput) -> tuple[Violation, ...]:
    """Which access policies refuse everybody. The Tunnel is served all the same: exit nodes say why."""
    if violations_of_access(given):
        return ()
    return tuple(violation for named in given.policies if (violation := access.is_enforceable(named)) is not None)


def violations_of_standby(given: TunnelInput) -> tuple[Violation, ...]:
    """Why the standby leads nowhere. The Tunnel is served all the same, without it."""
    return _violations_of_target(given, given.standby) if given.standby else ()


def violations_that_close(given: TunnelInput) -> tuple[Violation, ...]:
    """Why the Tunnel leads nowhere at all: the target does not, and no standby can answer in its place."""
    can_stand_in = given.standby is not None and not violations_of_standby(given)
    return () if can_stand_in else violations_of_refs(given)


def _violations_of_target(given: TunnelInput, to: targets.Destination) -> tuple[Violation, ...]:
    allowed = given.fleet.spec.targets.allowed_cidrs if given.fleet else ()
    return targets.violations_of(to, given.tunnel.namespace, existing_tokens=given.token_names, allowed=allowed)


def violations_of_placement(given: TunnelInput) -> tuple[Violation, ...]:
    """Which regions of the placement lead nowhere. The Tunnel is served all the same: DNS uses those that exist."""
    return violations.collect((regions_exist,), given)


def fleet_exists(given: TunnelInput) -> Violation | None:
    """The Fleet is there and was accepted once."""
    if given.fleet is not None:
        return None
    wanted = given.tunnel.spec.fleet_name
    if wanted in given.fleet_names:
        return Violation(
            names.Reason.FLEET_NOT_READY,
            f'Fleet "{wanted}" is not accepted itself: kubectl describe fleet {wanted} shows why.',
        )
    return Violation(
        names.Reason.FLEET_NOT_FOUND,
        f'Fleet "{wanted}" does not exist. Existing: {violations.listed(given.fleet_names)}.',
    )


def namespace_is_allowed(given: TunnelInput) -> Violation | None:
    """The Fleet lets this namespace in."""
    if given.fleet is None:
        return None
    allowed = given.fleet.spec.allowed_namespaces
    if given.namespace is not None and allowed.allows(dict(given.namespace.labels)):
        return None
    return Violation(
        names.Reason.NAMESPACE_NOT_ALLOWED,
        f"Namespace {given.tunnel.namespace} may not use Fleet {given.fleet.name}. Ask the platform team: "
        f"spec.allowedNamespaces of the Fleet {_describe_allowed(allowed)}.",
    )


def _describe_allowed(allowed: v1alpha1.AllowedNamespaces) -> str:
    if allowed.from_ is not v1alpha1.NamespacesFrom.SELECTOR or allowed.selector is None:
        return "allows none"
    labels = [f"{key}={value}" for key, value in (allowed.selector.match_labels or {}).items()]
    if allowed.selector.match_expressions or not labels:
        return "selects namespaces by an expression on their labels"
    return f"asks for the label {violations.listed(labels)}"


def label_is_free(given: TunnelInput) -> Violation | None:
    """The subdomain is not one that browsers, mail or agents trust more than others."""
    host = given.tunnel.spec.host
    if given.fleet is None or host is None:
        return None
    label = host.subdomain or ""
    if label not in given.fleet.spec.reserved_names and re.fullmatch(names.ALWAYS_RESERVED, label) is None:
        return None
    return Violation(
        names.Reason.RESERVED_LABEL,
        f'The name "{label}" is reserved in Fleet {given.fleet.name}. Choose another subdomain.',
    )


def port_is_allowed(given: TunnelInput) -> Violation | None:
    """The Fleet has ports for TCP tunnels, and the one that is asked for or held is one of them."""
    if given.fleet is None or not given.tunnel.spec.is_tcp:
        return None
    fleet, text = given.fleet.name, given.fleet.spec.tcp_ports
    if text is None:
        return Violation(
            names.Reason.NO_TCP_PORTS,
            f"Fleet {fleet} has no ports for TCP tunnels. Ask the platform team for spec.tcpPorts of the Fleet.",
        )
    port = names.tcp_port_of(given.hostname or "")
    if port is None or port in v1alpha1.port_range(text):
        return None
    other = "Make the Tunnel anew with one of them, or without spec.port: the lowest free one is assigned then."
    return Violation(
        names.Reason.PORT_NOT_ALLOWED, f"Port {port} is none of {text}, the ports of Fleet {fleet}. {other}"
    )


def hostname_is_no_fleets(given: TunnelInput) -> Violation | None:
    """A name of one's own domain lies in no Fleet's: there, labels are claimed with type Subdomain."""
    hostname = given.tunnel.spec.host.hostname if given.tunnel.spec.host else None
    domain = next((domain for domain in given.domains if hostname and hosts.is_within(hostname, domain)), None)
    if domain is None:
        return None
    return Violation(
        names.Reason.HOSTNAME_IN_FLEET,
        f"{hostname} lies in {domain}, the domain of a Fleet. Ask for its first label with host.type Subdomain.",
    )


def hostname_is_proved(given: TunnelInput) -> Violation | None:
    """A name of one's own domain carries the namespace's TXT record."""
    return given.proof.violation if given.proof is not None else None


def regions_exist(given: TunnelInput) -> Violation | None:
    """Every region of the placement has an ExitNode."""
    placement = given.tunnel.spec.placement
    missing = [region.name for region in placement.regions if region.name not in given.regions] if placement else []
    if not missing or given.fleet is None:
        return None
    return Violation(
        names.Reason.REGION_NOT_FOUND,
        f"No ExitNode of Fleet {given.fleet.name} is in {violations.listed(missing)}. "
        f"Existing regions: {violations.listed(given.regions)}.",
    )
