"""Step 5: visitors through each exit node over each protocol, the address for a browser, and what kubectl shows."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from demo import setup
from demo.errors import DemoError
from demo.report import seconds
from demo.session import BROWSER_REGION, FLEET, NAMESPACE, SYSTEM, Session
from demo.visits import Door, Protocol, Visit, Visitor

APP_SAYS = dict.fromkeys(Protocol, "It works") | {Protocol.WEBSOCKET: "hello"}
PUBLIC_PORT = 8443
"""spec.listeners.https in examples/fleet.yaml."""
PORT_FORWARD = "port-forward"
_FORWARD_S = 15.0
_COUNTED_S = 10.0


def visit_tunnel(session: Session) -> None:
    """Step 5."""
    report = session.report
    guest = session.visitor = Visitor(session.hostname, PUBLIC_PORT, _save_ca(session))
    open_browser_door(session)
    report.note("Visitors connect to an exit node's address and name the host in TLS (SNI):")
    for door, protocol in zip(session.doors, (Protocol.HTTP1, Protocol.HTTP2), strict=False):
        report.command(guest.curl(door, protocol))
    report.command(guest.curl(session.doors[0], Protocol.WEBSOCKET))
    report.line()
    visits = visit_all(session)
    report.table(
        ("REGION", "PROTOCOL", "STATUS", "TIME", "SERVED BY", "ADDRESS"),
        [
            (
                one.door.region,
                one.protocol.value,
                one.status_text,
                seconds(one.seconds),
                one.served_by or "-",
                f"{one.door.address}:{one.door.port}",
            )
            for one in visits
        ],
    )
    report.line()
    for one in visits:
        held = served(one)
        report.check(f"{one.protocol.value} through {one.door.region}", held, "" if held else one.cause)
    browser = guest.visit(browser_door(session), Protocol.HTTP2)
    held = served(browser) and browser.served_by == _of_region(session, BROWSER_REGION).exit_node
    where = f"127.0.0.1:{session.settings.https_port}"
    report.check(f"{where} leads to {BROWSER_REGION}", held, "" if held else browser.cause)
    report.line()
    counted = session.shell.until("exit nodes", lambda: _agents_are_counted(session), timeout_s=_COUNTED_S)
    report.check("every exit node's status counts the agent", bool(counted))
    kinds = "tunnels,exitnodes,subdomainreservations,agentsessions"
    session.shell.show(f"kubectl get {kinds} -n {NAMESPACE}", hop="API server")


def visit_all(session: Session) -> list[Visit]:
    """Every door over every protocol; side by side, as visitors come."""
    pairs = [(door, protocol) for door in session.doors for protocol in Protocol]
    with ThreadPoolExecutor(max_workers=3) as pool:
        return list(pool.map(lambda pair: session.guest.visit(*pair), pairs))


def _agents_are_counted(session: Session) -> bool:
    found = (session.shell.get("exitnode", door.exit_node) for door in session.doors)
    return all((node or {}).get("status", {}).get("agents") for node in found)


def served(visit: Visit) -> bool:
    """Whether the app answered, through the exit node that was asked, in the protocol that was spoken."""
    ok = {Protocol.WEBSOCKET: 101}.get(visit.protocol, 200)
    return (
        visit.status == ok
        and APP_SAYS[visit.protocol] in visit.body
        and visit.spoken == visit.protocol.value
        and visit.served_by == visit.door.exit_node
    )


def all_serve(session: Session) -> bool:
    """Whether a visitor is served through every exit node."""
    return all(served(session.guest.visit(door, Protocol.HTTP1)) for door in session.doors)


def open_browser_door(session: Session) -> None:
    """127.0.0.1:8443 leads to eu-west, by kubectl port-forward: a browser finds it as *.localhost.

    Raises:
        DemoError: it does not come up.
    """
    door = _of_region(session, BROWSER_REGION)
    pod = setup.ready_pod(session, door.exit_node)["metadata"]["name"]
    local = session.settings.https_port
    command = ["kubectl", "port-forward", "-n", SYSTEM, f"pod/{pod}", f"{local}:8443"]
    session.report.command(f"{' '.join(command)} &")
    forward = session.programs.start(
        PORT_FORWARD, command, environment=session.shell.environment, cwd=session.settings.root
    )
    if session.programs.await_output(forward, re.compile("(Forwarding from)"), _FORWARD_S) is None:
        raise DemoError("kubectl port-forward", f"127.0.0.1:{local} does not lead to {door.exit_node}", log=forward.log)


def reopen_browser_door(session: Session) -> None:
    """The forwarding goes through the API server to one pod, and is of no use without either: start it anew."""
    for program in session.programs.named(PORT_FORWARD):
        session.programs.stop(program)
    session.report.line()
    open_browser_door(session)


def _save_ca(session: Session) -> Path:
    """The CA that vouches for the fleet's certificate: what the shown commands name, and what a browser may import."""
    path = session.directory / "ca.crt"
    secret = f"kubectl get secret {FLEET}-edge-tls -n {SYSTEM}"
    session.shell.show(rf"{secret} -o jsonpath='{{.data.ca\.crt}}' | base64 -d > {path}", hop="operator → certificate")
    return path


def browser_door(session: Session) -> Door:
    """The door of a browser on this machine."""
    door = _of_region(session, BROWSER_REGION)
    return Door(door.region, door.exit_node, "127.0.0.1", session.settings.https_port)


def _of_region(session: Session, region: str) -> Door:
    return next(door for door in session.doors if door.region == region)
