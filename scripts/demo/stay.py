"""Step 7: everything stays up until Ctrl-C, with something to try. Not part of `make demo CHECK=1`."""

import time

from demo import changes
from demo.session import NAMESPACE, SYSTEM, Session
from demo.visits import Protocol


def stay_up(session: Session) -> None:
    """Serve until interrupted; say so when a part ends by itself."""
    report = session.report
    changes.come_back(session)
    _show(session)
    try:
        _watch(session)
    except KeyboardInterrupt:
        report.line()
        report.note("Ending everything.")


def _show(session: Session) -> None:
    report, door = session.report, session.doors[0]
    port = session.settings.https_port
    report.line()
    report.fact("open", f"https://{session.hostname}:{port}/  (the certificate is the fleet's own: accept it once)")
    report.fact(
        "terminal", f"export KUBECONFIG={session.cluster.kubeconfig} PATH={session.tools}:{session.settings.bin}:$PATH"
    )
    report.fact("try", session.guest.curl(door, Protocol.HTTP2))
    report.fact("", f"kubectl get hawse -n {NAMESPACE}")
    report.fact("", f"kubectl logs -n {SYSTEM} deployment/hawse-operator")
    report.fact("logs", str(session.logs))
    report.fact("end", "Ctrl-C")


def _watch(session: Session) -> None:
    told: set[str] = set()
    while True:
        time.sleep(0.5)
        for program in session.programs.ended():
            if program.name not in told:
                told.add(program.name)
                session.report.note(f"{program.name} ended; its log: {program.log}")
