"""Step 8: everything stays up until Ctrl-C, with something to try. Not part of `make demo CHECK=1`."""

import time

from demo import changes, visiting
from demo.errors import DemoError
from demo.session import NAMESPACE, SYSTEM, Session
from demo.visits import Protocol

_LOOK_S = 0.5
_REOPEN_S = 60.0


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
    while True:
        time.sleep(_LOOK_S)
        for program in session.programs.ended():
            session.programs.stop(program)
            if program.name == visiting.PORT_FORWARD:
                session.report.note("The exit node behind 127.0.0.1 was replaced; connecting to the new one.")
                _reopen(session)
            else:
                session.report.note(f"{program.name} ended; its log: {program.log}")


def _reopen(session: Session) -> None:
    """The forwarding ends with its pod; try until the next pod is ready."""

    def opened() -> bool:
        try:
            visiting.open_browser_door(session)
        except DemoError:
            return False
        return True

    if not session.shell.until("the exit node", opened, timeout_s=_REOPEN_S):
        session.report.note("127.0.0.1 leads nowhere now; the exit nodes' own addresses may still work.")
