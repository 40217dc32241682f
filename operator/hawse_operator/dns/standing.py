"""How a fleet stands with DNS after a run, and what its Fleet, ExitNodes and Tunnels say of it.

Pure. Made by reconcile.dns, read by the reconcilers of the three kinds, since a status has one writer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hawse_api import names, v1alpha1

Condition, Reason = names.Condition, names.Reason
LISTED = 4


@dataclass(frozen=True, slots=True)
class Standing:
    """The end of the last run."""

    holds: bool | None
    """Whether the servers have what they should; None: there is nobody who could say."""
    reason: names.Reason
    message: str = ""
    servers: str = ""
    """Who has the records, for messages."""
    foreign: tuple[str, ...] = ()
    """Names that somebody else's records hold."""
    published: frozenset[str] = frozenset()
    """Names with a record of their own."""
    unknown: frozenset[str] = frozenset()
    """Names for which no address was ever known."""
    ds_records: tuple[str, ...] | None = None
    """None: not asked, what the status says stays."""
    weights: v1alpha1.Judgement | None = None


def differ_for_all(before: Standing | None, after: Standing | None) -> bool:
    """Whether more changed than what Tunnels with records of their own say."""
    return before is None or after is None or _common(before) != _common(after)


def _common(standing: Standing) -> tuple[object, ...]:
    shared = (names_ for names_ in (standing.foreign, standing.unknown))
    wildcard = tuple(frozenset(name for name in names_ if name.startswith("*.")) for names_ in shared)
    return standing.holds, standing.reason, standing.message, wildcard


def judge_weights(dns: v1alpha1.Dns) -> v1alpha1.Judgement:
    """WeightsHonoured: what the kind of server makes of weights."""
    provider = dns.external_dns.provider if dns.external_dns else None
    match dns.type, provider:
        case v1alpha1.DnsType.POWERDNS, _:
            return v1alpha1.judge(Condition.WEIGHTS_HONOURED, True, Reason.BY_SERVER)
        case v1alpha1.DnsType.EXTERNAL_DNS, v1alpha1.ExternalDnsProvider.ROUTE53:
            return v1alpha1.judge(
                Condition.WEIGHTS_HONOURED,
                None,
                Reason.DEPENDS_ON_PROVIDER,
                "external-dns passes weights on to Route 53 and reports nothing back.",
            )
        case _:
            return v1alpha1.judge(
                Condition.WEIGHTS_HONOURED,
                False,
                Reason.PROVIDER_LACKS_WEIGHTS,
                f"dns.type {dns.type} carries no weights: every exit node that is ready and has a weight gets the same "
                "share. Use PowerDNS for weights.",
            )


def judge_fleet(standing: Standing, domain: str) -> v1alpha1.Judgement:
    """DNSReady of the Fleet."""
    mine = tuple(name for name in standing.foreign if name in own_names(domain))
    if standing.holds and mine:
        return v1alpha1.judge(Condition.DNS_READY, False, Reason.FOREIGN_RECORD, foreign_message(mine))
    if standing.holds and set(own_names(domain)) & standing.unknown:
        return v1alpha1.judge(Condition.DNS_READY, False, Reason.NO_EXIT_NODE, "No exit node has an address yet.")
    if standing.holds and standing.foreign:
        more = f"{standing.message} {foreign_message(standing.foreign)}".strip()
        return v1alpha1.judge(Condition.DNS_READY, True, standing.reason, more)
    return v1alpha1.judge(Condition.DNS_READY, standing.holds, standing.reason, standing.message)


def judge_exit_node(standing: Standing, addresses: Sequence[str], usable: Sequence[object]) -> v1alpha1.Judgement:
    """DNSReady of an ExitNode: `usable` are those of its addresses that are numbers."""
    if not standing.holds:
        return v1alpha1.judge(Condition.DNS_READY, standing.holds, standing.reason, standing.message)
    if not addresses:
        return v1alpha1.judge(Condition.DNS_READY, False, Reason.NO_ADDRESS, "It has no address yet.")
    if not usable:
        return v1alpha1.judge(
            Condition.DNS_READY,
            False,
            Reason.NO_ADDRESS,
            f"Its only address is a name ({addresses[0]}), and the operator's resolver has found no address of it. "
            "HAWSE_RESOLVERS chooses another resolver; address.type Static gives fixed addresses.",
        )
    return v1alpha1.judge(Condition.DNS_READY, True, Reason.PUBLISHED)


def judge_tunnel(standing: Standing, hostname: str, domain: str, *, has_placement: bool) -> v1alpha1.Judgement:
    """DNSReady of a Tunnel: its own record, or the fleet's wildcard."""
    name = hostname if has_placement else f"*.{domain}"
    if hostname in standing.foreign or name in standing.foreign:
        taken = hostname if hostname in standing.foreign else name
        return v1alpha1.judge(Condition.DNS_READY, False, Reason.FOREIGN_RECORD, foreign_message((taken,)))
    if standing.holds and name in standing.unknown:
        return v1alpha1.judge(
            Condition.DNS_READY, False, Reason.NO_EXIT_NODE, "No exit node that it is placed on has an address yet."
        )
    if standing.holds and has_placement and name not in standing.published:
        return v1alpha1.judge(Condition.DNS_READY, None, Reason.PENDING, "Its record is about to be written.")
    return v1alpha1.judge(
        Condition.DNS_READY, standing.holds, standing.reason, "" if standing.holds else standing.message
    )


def judge_unmanaged(status: v1alpha1.ResourceStatus, fleet: v1alpha1.Fleet | None) -> list[v1alpha1.Judgement]:
    """Conditions about DNS where this operator writes no records: none, or Unknown where it once did."""
    if fleet is not None and fleet.spec.dns.type is not v1alpha1.DnsType.NONE:
        return []
    message = "The Fleet's dns.type is None: its records are yours to write."
    types = (Condition.DNS_READY, Condition.WEIGHTS_HONOURED)
    return [
        v1alpha1.judge(type_, None, Reason.NOT_MANAGED, message)
        for type_ in types
        if status.condition(type_) is not None
    ]


def own_names(domain: str) -> tuple[str, ...]:
    """Names that carry the fleet itself."""
    return (domain, f"*.{domain}", f"connect.{domain}")


def foreign_message(taken: Sequence[str]) -> str:
    """Whose records are in the way, and what to do."""
    listed = ", ".join(taken[:LISTED]) + (f" and {len(taken) - LISTED} more" if len(taken) > LISTED else "")
    return (
        f"The zone has records of somebody else at {listed}: they were left alone. "
        "Remove them (A, AAAA, CNAME, LUA) if this fleet should answer there."
    )
