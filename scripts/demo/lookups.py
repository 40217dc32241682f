"""Step 6: where look-ups lead. Weights of regions, then a whole region is killed while visitors come by name.

These visitors look the name up before each visit, as somebody does who comes for the first time; nobody caches. The
region without the leading operator is struck, because a new leader would take the Lease's 15 s; that nothing here
needs the operator is tested in tests/cluster.
"""

import time
from collections import Counter
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

import powerdns
from demo import kube, visiting
from demo.embedded import EmbeddedCluster
from demo.report import seconds
from demo.session import BROWSER_REGION, FLEET, SYSTEM, Session
from demo.visits import Door, Protocol

WEIGHTS = (60, 40)
LOOK_UPS = 1_000
CHI_SQUARE = 23.93
"""Critical value for two regions at p = 0.000001."""
_TIMEOUT_S = 2.0
_READY_S = 20.0
_CALM_S = 1.5
_WRITTEN_S = 0.5
"""From an ExitNode's status until the record is in the zone: both follow the change by a tenth of a second."""
_LEFT_S = 10.0
_BACK_S = 40.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A visitor who came by name."""

    at_s: float
    """Since the region died."""
    region: str
    problem: str


def look_up(session: Session) -> None:
    """Step 6."""
    server, cluster = session.name_server, session.cluster
    if server is None or not isinstance(cluster, EmbeddedCluster):
        session.report.note("Left out: this fleet has no name server of its own.")
        return
    _weigh(session, server)
    session.report.line()
    struck = _region_without_leader(session)
    _strike(session, server, cluster, struck)
    _revive(session, server, cluster, struck)


def _weigh(session: Session, server: powerdns.Server) -> None:
    report, shell = session.report, session.shell
    for door, weight in zip(session.doors, WEIGHTS, strict=True):
        patch = f'{{"spec":{{"weight":{weight}}}}}'
        shell.show(f"kubectl patch exitnode {door.exit_node} --type merge -p '{patch}'", hop="API server", quiet=True)
    fleet = shell.until("DNS", lambda: _ready(session), timeout_s=_READY_S)
    report.check("the name server has the fleet's records", bool(fleet))
    weights = [door.exit_node for door in session.doors]
    shell.until("weights", lambda: _in_force(session, weights), timeout_s=_READY_S)
    time.sleep(_WRITTEN_S)
    started = time.monotonic()
    counts = _count(session, server, LOOK_UPS)
    rows = [
        (door.region, str(weight), str(counts[door.region]), f"{100 * counts[door.region] / LOOK_UPS:.1f} %")
        for door, weight in zip(session.doors, WEIGHTS, strict=True)
    ]
    report.line()
    report.table(("REGION", "WEIGHT", f"OF {LOOK_UPS} LOOK-UPS", "SHARE"), rows)
    report.line()
    statistic = _chi_square([counts[door.region] for door in session.doors])
    took = seconds(time.monotonic() - started)
    report.check("look-ups spread as the weights say", statistic < CHI_SQUARE, f"chi-square {statistic:.2f}, {took}")


def _strike(session: Session, server: powerdns.Server, cluster: EmbeddedCluster, struck: str) -> None:
    """Kill a node with its pods while visitors come."""
    report = session.report
    spared = next(door.region for door in session.doors if door.region != struck)
    report.command(f"kill -9 {cluster.cluster.pid(f'node-{struck}')}   # region {struck}: its node and all its pods")
    began = time.monotonic()
    cluster.cluster.kill_node(struck)
    arrivals: list[Arrival] = []
    last_wrong = 0.0
    with report.waiting("visitors"):
        while (now := time.monotonic() - began) - last_wrong < _CALM_S and now < _LEFT_S + _CALM_S:
            arrival = _arrive(session, server, began)
            arrivals.append(arrival)
            if arrival.region == struck:
                last_wrong = arrival.at_s
    later = [arrival for arrival in arrivals if arrival.at_s > last_wrong]
    failed = sum(1 for arrival in arrivals if arrival.problem)
    report.note(
        f"{len(arrivals)} visitors came by name, {failed} of them in vain, the last after {seconds(last_wrong)}."
    )
    report.check(f"new look-ups avoid {struck}", last_wrong < _LEFT_S, f"after {seconds(last_wrong)}")
    problems = sorted({arrival.problem for arrival in later if arrival.problem})
    report.check(f"then everybody is served by {spared}", bool(later) and not problems, "; ".join(problems))


def _arrive(session: Session, server: powerdns.Server, began: float) -> Arrival:
    at_s = time.monotonic() - began
    door = _door_of(session, server, session.hostname)
    if door is None:
        return Arrival(at_s, "", "the name server gave no address of an exit node")
    visit = session.guest.visit(door, Protocol.HTTP1)
    return Arrival(at_s, door.region, "" if visiting.served(visit) else visit.cause)


def _revive(session: Session, server: powerdns.Server, cluster: EmbeddedCluster, struck: str) -> None:
    report, shell = session.report, session.shell
    began = time.monotonic()
    with report.waiting("the node starts"):
        cluster.cluster.start_node(struck)
    name = next(door.exit_node for door in session.doors if door.region == struck)
    # Ready of before the strike still stands until the node has spoken: look-ups tell the truth.
    back = shell.until("look-ups", lambda: _count(session, server, 20)[struck], timeout_s=_BACK_S)
    shell.until("the exit node", lambda: kube.holds(shell.get("exitnode", name), "Ready"), timeout_s=_BACK_S)
    shell.until("the agent", lambda: visiting.all_serve(session), timeout_s=_BACK_S)
    report.check(f"{struck} is back, and look-ups lead there again", bool(back), seconds(time.monotonic() - began))
    if struck == BROWSER_REGION:
        visiting.reopen_browser_door(session)


def _region_without_leader(session: Session) -> str:
    lease = session.shell.get("lease", "hawse-operator", "-n", SYSTEM)
    pod = session.shell.get("pod", lease["spec"]["holderIdentity"], "-n", SYSTEM)
    home = (pod or {}).get("spec", {}).get("nodeName", "")
    return next(door.region for door in session.doors if door.region != home)


def _in_force(session: Session, exit_nodes: list[str]) -> bool:
    found = [(session.shell.get("exitnode", name) or {}).get("status", {}) for name in exit_nodes]
    return [status.get("effectiveWeight") for status in found] == list(WEIGHTS)


def _ready(session: Session) -> bool:
    return kube.holds(session.shell.get("fleet", FLEET), "DNSReady")


# --- look-ups ---------------------------------------------------------------------------------------------------------
def _door_of(session: Session, server: powerdns.Server, name: str) -> Door | None:
    """Look a name up; the exit node at the address of the answer."""
    query = dns.message.make_query(name, dns.rdatatype.A)
    try:
        answer = dns.query.udp(query, server.address, port=server.port, timeout=_TIMEOUT_S)
    except (dns.exception.DNSException, OSError):
        return None
    found = {str(item) for rrset in answer.answer for item in rrset}
    return next((door for door in session.doors if door.address in found), None)


def _count(session: Session, server: powerdns.Server, number: int) -> Counter[str]:
    domain = session.hostname.partition(".")[2]
    doors = (_door_of(session, server, f"visitor-{one}.{domain}") for one in range(number))
    return Counter(door.region for door in doors if door is not None)


def _chi_square(found: list[int]) -> float:
    expected = [sum(found) * weight / sum(WEIGHTS) for weight in WEIGHTS]
    return sum((one - wanted) ** 2 / wanted for one, wanted in zip(found, expected, strict=True))
