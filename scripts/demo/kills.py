"""Step 7: kill -9 to each part in turn, and then to all at once, while visitors come; what it cost them.

Then an exit node is deleted in order while they come by name, which costs them nothing. Containers are started again by
their node, the API server by the cluster; the app and the agent by this step, as a developer would. Only in a cluster
of the demo's own: nobody's else is killed.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import powerdns
from demo import kube, setup, visiting
from demo.byname import Led
from demo.errors import DemoError
from demo.outcomes import LOST, REFUSED, Expectation, Kill, judge
from demo.session import SYSTEM, Session
from demo.traffic import Traffic
from demo.visits import Door

LEASE = "hawse-operator"
REFUSED_BY_APP = "HAWSE-1003"
CUT_BY_APP = "HAWSE-1005"
NO_AGENT = "HAWSE-1002"
AGENT_LOST = "HAWSE-1013"
_AWAY_S = 0.5
"""How long the app and the agent stay away: a developer's restart at its quickest."""
_BACK_S = 60.0
_REPLACED_S = 60.0
"""The old pod serves for its TTL and 10 s after it was told to stop (docs/operator.md)."""
_BEFORE_S = 1.0
_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """One kill."""

    what: str
    strike: Callable[[], Callable[[], Any]]
    """Kill, start again what nobody else does, and return the question whether it works again."""
    expected: Expectation


def kill_everything(session: Session) -> None:
    """Step 7."""
    report = session.report
    if session.cluster.api_server_pid() is None:
        report.note("Left out: in this cluster no process is the demo's to kill.")
        return
    ways = "over HTTP/1.1 and HTTP/2, on kept and on new connections"
    with Traffic(session.guest, session.doors, session.logs / "visitors.log") as traffic:
        report.note(f"{traffic.rate:g} requests a second come to each exit node {ways}:")
        _await_calm(session, traffic, time.monotonic())
        kills = [(case.expected, _price(session, traffic, case)) for case in _cases(session)]
    if session.name_server is not None:
        kills.append(_delete_in_order(session, session.name_server))
    report.line()
    regions = [door.region.upper() for door in session.doors]
    report.table(("KILLED", "BACK AFTER", *regions), [kill.row for _, kill in kills])
    report.line()
    for expected, kill in kills:
        for verdict in judge(kill, expected):
            report.check(verdict.name, verdict.held, verdict.detail)
    visiting.reopen_browser_door(session)


def _cases(session: Session) -> list[Case]:
    struck, spared = session.doors[0], frozenset(door.region for door in session.doors[1:])
    everywhere = spared | {struck.region}
    agent = (NO_AGENT, AGENT_LOST)
    node = (REFUSED, LOST, *agent)
    return [
        Case("API server", lambda: _kill_api_server(session), Expectation(30, everywhere)),
        Case("operator", lambda: _kill_operator(session), Expectation(30, everywhere)),
        Case(f"exit node {struck.exit_node}", lambda: _kill_exit_node(session, struck), Expectation(20, spared, node)),
        Case("agent", lambda: _kill_agent(session), Expectation(10, causes=agent)),
        Case("app", lambda: _kill_app(session), Expectation(10, causes=(REFUSED_BY_APP, CUT_BY_APP))),
        Case("operator, exit nodes, agent", lambda: _kill_all(session), Expectation(40, causes=node)),
    ]


def _price(session: Session, traffic: Traffic, case: Case) -> Kill:
    """Carry out one kill and sum up until all is calm again."""
    began = time.monotonic()
    is_back = case.strike()
    back_s = time.monotonic() - began if session.shell.until(case.what, is_back, timeout_s=_BACK_S) else None
    _await_calm(session, traffic, time.monotonic())
    kill = Kill(case.what, back_s, traffic.losses(began))
    session.report.note("; ".join(f"{loss.region}: {loss.text}" for loss in kill.losses))
    return kill


def _delete_in_order(session: Session, server: powerdns.Server) -> tuple[Expectation, Kill]:
    """SIGTERM, as every rollout sends it: the exit node serves on until DNS leads nobody there any more."""
    report, shell, door = session.report, session.shell, session.doors[0]
    old = setup.ready_pod(session, door.exit_node)
    regions = {one.address: one.region for one in session.doors}
    by_name = Led(server, session.hostname, regions, others=door.region)
    what = f"exit node {door.exit_node}, deleted (SIGTERM)"
    with Traffic(
        session.guest, [replace(door, region="by name")], session.logs / "by-name.log", find=by_name
    ) as traffic:
        time.sleep(_BEFORE_S)
        began = time.monotonic()
        report.line()
        report.note("Visitors come by name, and keep what they were told for its TTL:")
        shell.show(
            f"kubectl delete pod -n {SYSTEM} {old['metadata']['name']} --wait=false", hop="API server", quiet=True
        )
        is_back = shell.until(what, lambda: _is_replaced(session, door, old), timeout_s=_REPLACED_S)
        back_s = time.monotonic() - began if is_back else None
        time.sleep(_AFTER_S)
        kill = Kill(what, back_s, traffic.losses_in([one.region for one in session.doors], began))
    report.note("; ".join(f"{loss.region}: {loss.text}" for loss in kill.losses))
    new = setup.ready_pod(session, door.exit_node)
    session.doors[0] = replace(door, address=new["status"]["podIP"])
    shell.until("the agent", lambda: visiting.all_serve(session), timeout_s=_BACK_S)
    return Expectation(_REPLACED_S, frozenset(regions.values())), kill


def _is_replaced(session: Session, door: Door, old: Any) -> bool:
    """The old pod is gone, and another one is ready."""
    pods = session.shell.get("pods", "-n", SYSTEM, "-l", f"hawse.dev/exit-node={door.exit_node}")["items"]
    return bool(pods) and all(
        kube.holds(pod, "Ready") and pod["metadata"]["uid"] != old["metadata"]["uid"] for pod in pods
    )


def _await_calm(session: Session, traffic: Traffic, since: float) -> None:
    """Wait until everybody is served and nobody waits; bounded, the outcomes tell if it was in vain."""
    session.shell.until("calm", lambda: traffic.is_calm(since), timeout_s=_BACK_S)


# What is killed


def _kill_api_server(session: Session) -> Callable[[], bool]:
    pid = session.cluster.api_server_pid()
    _kill(session, [pid] if pid else [], "API server, with etcd and controllers")

    def is_back() -> bool:
        return (
            session.cluster.api_server_pid() != pid
            and session.shell.run("kubectl get --raw /readyz --request-timeout=2s", hop="API server").code == 0
        )

    return is_back


def _kill_operator(session: Session) -> Callable[[], bool]:
    before = _lease(session)
    holder = session.shell.get("pod", before["holderIdentity"], "-n", SYSTEM)
    _kill(session, [_pid(holder)], "leading operator")
    return lambda: _leads_again(session, before)


def _kill_exit_node(session: Session, door: Door) -> Callable[[], bool]:
    pod = setup.ready_pod(session, door.exit_node)
    _kill(session, [_pid(pod)], f"exit node {door.exit_node} in {door.region}")
    return lambda: _is_restarted(session, pod)


def _kill_agent(session: Session) -> Callable[[], bool]:
    _kill(session, [session.serving_agent.process.pid], "agent")
    _revive_agent(session)
    return lambda: True


def _kill_app(session: Session) -> Callable[[], bool]:
    app = session.serving_app
    _kill(session, [app.process.pid], "app")
    session.programs.stop(app)
    time.sleep(_AWAY_S)
    setup.start_app(session)
    return lambda: True


def _kill_all(session: Session) -> Callable[[], bool]:
    lease = _lease(session)
    pods = [setup.ready_pod(session, door.exit_node) for door in session.doors]
    holder = session.shell.get("pod", lease["holderIdentity"], "-n", SYSTEM)
    pids = [_pid(holder), *map(_pid, pods), session.serving_agent.process.pid]
    _kill(session, pids, "operator, both exit nodes, agent")
    _revive_agent(session)
    return lambda: _leads_again(session, lease) and all(_is_restarted(session, pod) for pod in pods)


def _kill(session: Session, pids: list[int], what: str) -> None:
    session.report.line()
    session.report.command(f"kill -9 {' '.join(map(str, pids))}   # {what}")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def _revive_agent(session: Session) -> None:
    session.programs.stop(session.serving_agent)
    time.sleep(_AWAY_S)
    setup.start_agent(session)


# Whether it works again


def _lease(session: Session) -> Any:
    return session.shell.get("lease", LEASE, "-n", SYSTEM)["spec"]


def _leads_again(session: Session, before: Any) -> bool:
    """Every acquisition raises leaseTransitions, also of a Lease that the same pod held before its restart."""
    found = session.shell.get("lease", LEASE, "-n", SYSTEM)
    return bool(found) and found["spec"]["leaseTransitions"] > before["leaseTransitions"]


def _is_restarted(session: Session, before: Any) -> bool:
    found = session.shell.get("pod", before["metadata"]["name"], "-n", SYSTEM)
    return (
        bool(found)
        and _container(found)["restartCount"] > _container(before)["restartCount"]
        and kube.holds(found, "Ready")
    )


def _container(pod: Any) -> Any:
    (status,) = pod["status"]["containerStatuses"]
    return status


def _pid(pod: Any) -> int:
    """The embedded cluster's container ids end in the process (kind/cluster/internal/procnode/container.go).

    Raises:
        DemoError: this one does not.
    """
    number = _container(pod)["containerID"].rpartition("/")[2]
    if not number.isdigit():
        raise DemoError("embedded cluster", f"the container id of {pod['metadata']['name']} names no process")
    return int(number)
