"""Step 8: the Tunnel goes and comes back, somebody else wants its name, and the AgentToken is deleted."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from demo import kube, setup, visiting
from demo.programs import Program
from demo.report import seconds
from demo.session import NAMESPACE, OTHER_NAMESPACE, TOKEN, TUNNEL, TUNNEL_FILE, Session
from demo.visits import Protocol, Visit

REVOKED = "HAWSE-2003"
NO_TUNNEL = "HAWSE-1001"
NO_AGENT = "HAWSE-1002"
CLOSED = "HAWSE-1008"
CUT_OFF_S = 5.0
EXIT_AUTHENTICATION = 3
_CHANGE_S = 20.0


def change_things(session: Session) -> None:
    """Step 8."""
    delete_tunnel(session)
    session.report.line()
    restore_tunnel(session)
    session.report.line()
    ask_for_the_name(session)
    session.report.line()
    delete_token(session)


def delete_tunnel(session: Session) -> None:
    """The name stops to be served and stays reserved."""
    report, shell = session.report, session.shell
    shell.show(f"kubectl delete tunnel {TUNNEL} -n {NAMESPACE}", hop="API server")
    _all_doors(
        session, "visitors get 404 in both regions", lambda one: one.status == 404 and one.error_code == NO_TUNNEL
    )
    kept = shell.until("the reservation", lambda: _released(session), timeout_s=_CHANGE_S)
    holder = ((kept or {}).get("spec", {}).get("claimRef") or {}).get("namespace", "")
    report.check(
        f"the reservation {session.hostname} is kept for {NAMESPACE}",
        holder == NAMESPACE,
        f"released {kept['spec']['releasedAt']}" if kept else "it is gone or not released",
    )


def restore_tunnel(session: Session) -> None:
    """The same namespace takes its name back; the agent serves it without a restart."""
    session.shell.show(f"kubectl apply -f {TUNNEL_FILE}", hop="API server")
    _all_doors(session, "the same name is served again in both regions", visiting.served)
    tunnel = session.shell.get("tunnel", TUNNEL, "-n", NAMESPACE)
    host = (tunnel or {}).get("status", {}).get("hostname", "")
    session.report.check("the name is the one of before", host == session.hostname, host)
    session.report.check("the agent serves it without a new start", session.serving_agent.running())


def ask_for_the_name(session: Session) -> None:
    """Another namespace wants the name: it is told who has it."""
    report, shell = session.report, session.shell
    shell.show(f"sed s/{NAMESPACE}/{OTHER_NAMESPACE}/ {TUNNEL_FILE} | kubectl apply -f -", hop="API server")
    reserved = shell.until("the operator's answer", lambda: _refusal(session), timeout_s=_CHANGE_S)
    report.check(
        f"{OTHER_NAMESPACE} does not get the name", bool(reserved), "" if reserved else "Reserved is not False"
    )
    if reserved:
        report.note(f"Reserved={reserved['status']} {reserved['reason']}: {reserved['message']}")
    _all_doors(session, f"{NAMESPACE} is served as before", visiting.served)


def delete_token(session: Session) -> None:
    """The agent is cut off and says why."""
    report, agent = session.report, session.serving_agent
    before = len(agent.output())
    with ThreadPoolExecutor(max_workers=1) as pool:
        started = time.monotonic()
        end = pool.submit(_end_of, agent)
        session.shell.show(f"kubectl delete agenttoken {TOKEN} -n {NAMESPACE}", hop="API server", timeout_s=30)
        code, ended = end.result()
    took = ended - started
    said = agent.output()[before:]
    report.output(said)
    report.check(f"the agent is cut off within {CUT_OFF_S:g} s", code is not None and took <= CUT_OFF_S, seconds(took))
    report.check(f"it says why: {REVOKED}", REVOKED in said)
    expected = code == EXIT_AUTHENTICATION
    report.check(
        f"its exit code is {EXIT_AUTHENTICATION} (authentication)", expected, "" if expected else f"it is {code}"
    )
    _all_doors(session, "visitors get 503 in both regions", lambda one: one.error_code in (NO_AGENT, CLOSED))


def _end_of(agent: Program) -> tuple[int | None, float]:
    """Exit code and the moment of its end: kubectl may take longer to say that the token is gone."""
    code = agent.wait(CUT_OFF_S + 5)
    return code, time.monotonic()


def _all_doors(session: Session, name: str, wanted: Callable[[Visit], bool]) -> None:
    """Visit every door until all show what is wanted; a check with the time it took."""
    started = time.monotonic()

    def look() -> list[Visit] | None:
        visits = [session.guest.visit(door, Protocol.HTTP2) for door in session.doors]
        seen[:] = visits
        return visits if all(wanted(one) for one in visits) else None

    seen: list[Visit] = []
    held = session.shell.until(name, look, timeout_s=_CHANGE_S) is not None
    took = seconds(time.monotonic() - started)
    codes = ", ".join(sorted({one.error_code for one in seen if one.error_code}))
    wrong = "; ".join(f"{one.door.region}: {one.cause}" for one in seen if not wanted(one))
    session.report.check(name, held, f"{codes + ', ' if codes else ''}after {took}" if held else f"{wrong}, for {took}")


def _released(session: Session) -> Any:
    found = session.shell.get("subdomainreservation", session.hostname)
    return found if found and found["spec"].get("releasedAt") else None


def _refusal(session: Session) -> Any:
    found = kube.condition(session.shell.get("tunnel", TUNNEL, "-n", OTHER_NAMESPACE), "Reserved")
    return found if found.get("status") == "False" else None


def come_back(session: Session) -> None:
    """For step 8: a new token, a new login, the agent again."""
    session.programs.stop(session.serving_agent)  # it has ended; from now on its end would be news
    session.shell.show(f"kubectl apply -f {TUNNEL_FILE}", hop="API server", quiet=True)
    setup.connect_agent(session)
    _all_doors(session, "the tunnel is served", visiting.served)
