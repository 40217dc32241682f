"""Steps 1 to 4: the cluster, the chart, the fleet, and the developer's tunnel with app and agent."""

import json
import re
import shlex
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import devcluster
from demo import kube, nameserver
from demo.errors import DemoError
from demo.report import seconds
from demo.session import NAMESPACE, REGIONS, RELEASE, SYSTEM, TOKEN, TUNNEL, TUNNEL_FILE, Session
from demo.settings import Settings
from demo.visits import Door

KUBERNETES = "v1.37"
KINDS = ("accesspolicies", "agentsessions", "agenttokens", "exitnodes", "fleets", "subdomainreservations", "tunnels")
_PORT_HTTPS = 8443
_APP_START_S = 10.0
_READY_S = 60
_INSTALL_S = 120
_LINKS_S = 20.0


def check_ports(settings: Settings) -> None:
    """Both ports on 127.0.0.1 must be free before minutes are spent.

    Raises:
        DemoError: one is not.
    """
    for port, purpose, variable in (
        (settings.app_port, "the sample app", "HAWSE_DEMO_APP_PORT"),
        (settings.https_port, "visitors (your browser)", "HAWSE_DEMO_HTTPS_PORT"),
    ):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as exc:
                raise DemoError(
                    "ports",
                    f"127.0.0.1:{port}, needed for {purpose}, is in use: {exc.strerror}",
                    fix=f"end the program that listens there (ss -ltnp 'sport = :{port}'),"
                    f" or choose another port: {variable}={port + 1} make demo",
                ) from exc


def start_cluster(session: Session) -> None:
    """Step 1."""
    report, shell = session.report, session.shell
    _put_helm_on_path(session)
    session.cluster.start(report, shell)
    versions = json.loads(shell.ask("version", "-o", "json"))
    kubectl, version = (versions[side]["gitVersion"] for side in ("clientVersion", "serverVersion"))
    report.fact("kubectl", f"{session.settings.bin / 'kubectl'} ({kubectl})")
    report.fact("kubeconfig", str(session.cluster.kubeconfig))
    report.check(f"the API server speaks Kubernetes {KUBERNETES}", version.startswith(f"{KUBERNETES}."), version)
    regions = shell.until("nodes", lambda: _ready_regions(shell), timeout_s=_READY_S)
    report.check(
        f"a node is Ready in each region: {', '.join(REGIONS)}",
        regions >= set(REGIONS),
        "" if regions >= set(REGIONS) else f"Ready: {', '.join(sorted(regions)) or 'none'}",
    )


def install_chart(session: Session) -> None:
    """Step 2."""
    report, shell = session.report, session.shell
    started = time.monotonic()
    options = f"--create-namespace --wait --timeout {_INSTALL_S}s {session.cluster.values()}".strip()
    command = f"helm install {RELEASE} charts/hawse -n {SYSTEM} {options}"
    try:
        out = shell.show(command, hop="Helm → operator", timeout_s=_INSTALL_S + 15, quiet=True)
    except DemoError as error:
        raise _with_log(session, "operator", error.message, "deployment/hawse-operator") from error
    status = next((line for line in out.splitlines() if line.startswith("STATUS:")), out.strip()[:60])
    took = time.monotonic() - started
    report.check("the release is deployed", "deployed" in status, seconds(took))
    served = {item["spec"]["names"]["plural"] for item in shell.get("crds")["items"] if kube.holds(item, "Established")}
    missing = sorted(set(KINDS) - served)
    report.check(
        "the API server serves the six kinds of hawse.dev", not missing, f"missing: {missing}" if missing else ""
    )
    operator = shell.get("deployment", "hawse-operator", "-n", SYSTEM, hop="operator")
    report.check("the operator is Available", kube.holds(operator, "Available"))


def apply_fleet(session: Session) -> None:
    """Step 3."""
    report, shell = session.report, session.shell
    started = time.monotonic()
    fleet_file = nameserver.prepare_fleet(session)
    shell.show(f"kubectl apply -f {fleet_file}", hop="API server", timeout_s=30)
    wait = f"kubectl wait --for=condition=Ready exitnodes --all --timeout={_READY_S}s"
    _wait(session, wait, "exit nodes", partial(_why_not, session, "exitnodes"), "-l hawse.dev/fleet --tail=20")
    took = time.monotonic() - started
    nodes = shell.get("exitnodes")["items"]
    for node in nodes:
        name, region = node["metadata"]["name"], node["spec"]["region"]
        pod = ready_pod(session, name)
        session.doors.append(Door(region, name, pod["status"]["podIP"], _PORT_HTTPS))
        home = shell.get("node", pod["spec"]["nodeName"])["metadata"]["labels"].get("topology.kubernetes.io/region", "")
        where = f"on {pod['spec']['nodeName']}, {pod['status']['podIP']}, after {seconds(took)}"
        held = kube.holds(node, "Ready") and home == region
        report.check(f"exit node {name} is Ready in {region}", held, where)
    if {door.region for door in session.doors} != set(REGIONS):
        raise DemoError("operator → exit nodes", f"there is no exit node in each region of {', '.join(REGIONS)}")
    fleet = shell.until("the Fleet", lambda: _if_ready(shell, "fleet", "default"), timeout_s=10)
    report.check("the Fleet is Ready", bool(fleet), "" if fleet else kube.describe(shell.get("fleet", "default")))
    session.doors = session.cluster.reachable(session.doors, session.programs)


def open_tunnel(session: Session) -> None:
    """Step 4."""
    report, shell = session.report, session.shell
    start_app(session)
    report.check(f"the sample app listens on 127.0.0.1:{session.settings.app_port}", held=True)
    shell.show(f"kubectl apply -f {TUNNEL_FILE}", hop="API server", timeout_s=30)
    connect_agent(session)
    wait = f"kubectl wait --for=condition=Ready tunnel/{TUNNEL} -n {NAMESPACE} --timeout={_READY_S}s"
    why = partial(_why_not, session, "tunnel", TUNNEL, "-n", NAMESPACE)
    _wait(session, wait, "operator → exit nodes", why, "deployment/hawse-operator")
    tunnel = shell.get("tunnel", TUNNEL, "-n", NAMESPACE)
    session.hostname, session.url = tunnel["status"]["hostname"], tunnel["status"]["url"]
    report.check(f"the tunnel is Ready at {session.url}", kube.holds(tunnel, "Ready"))
    links = shell.until("the agent's links", lambda: _links(session, len(session.doors)), timeout_s=_LINKS_S)
    text = ", ".join(f"{one['name']} over {one['transport']}" for one in links)
    held = {one["region"] for one in links} >= set(REGIONS)
    report.check("the agent is connected to both exit nodes", held, text or "no AgentSession names a link")


def connect_agent(session: Session) -> None:
    """Log in with the token of the Secret and start the agent."""
    shell = session.shell
    why = partial(_why_not, session, "agenttoken", TOKEN, "-n", NAMESPACE)
    wait = f"kubectl wait --for=condition=Ready agenttoken/{TOKEN} -n {NAMESPACE} --timeout={_READY_S}s"
    _wait(session, wait, "operator → AgentToken", why, "deployment/hawse-operator")
    token = f"kubectl get secret {TOKEN}-token -n {NAMESPACE} -o jsonpath='{{.data.token}}'"
    shell.show(f"{token} | base64 -d | hawse login -", hop="agent → exit node (enrolment)")
    session.report.output(start_agent(session))


def start_agent(session: Session) -> str:
    """Start the agent with the login that is there; return what it said until it was connected to every exit node.

    Raises:
        DemoError: it did not connect.
    """
    command = f"hawse http {session.settings.app_port}"
    session.report.command(command)
    agent = session.programs.start(
        "agent", shlex.split(command), environment=session.shell.environment, cwd=session.settings.root
    )
    session.agent = agent
    wanted = len(session.doors)
    session.shell.until(
        "the agent's links",
        lambda: agent.output().count("connected to ") >= wanted or not agent.running(),
        timeout_s=_LINKS_S,
    )
    said = agent.output()
    if not agent.running() or "connected to " not in said:
        session.report.output(said)
        raise DemoError("agent → exit nodes", f"`{command}` did not connect", log=agent.log)
    return said


def _put_helm_on_path(session: Session) -> None:
    try:
        (session.tools / "helm").symlink_to(devcluster.tool_path("helm"))
    except devcluster.ClusterError as exc:
        raise DemoError("build", str(exc)) from exc


def start_app(session: Session) -> None:
    """Start the sample app and wait until it listens.

    Raises:
        DemoError: it does not.
    """
    address = f"127.0.0.1:{session.settings.app_port}"
    session.report.command(f"python examples/app/app.py --port {session.settings.app_port} &")
    app = session.cluster.start_app(session.programs, session.settings.app_port)
    if session.programs.await_output(app, re.compile("(listening on)"), _APP_START_S) is None:
        raise DemoError("app", f"the sample app does not listen on {address}", log=app.log)
    session.app = app


def _wait(session: Session, command: str, hop: str, why: Callable[[], str], what: str) -> None:
    """`kubectl wait`; if it was in vain, the operator's words (`why`) and the log of the pods in question (`what`)."""
    session.report.command(command)
    with session.report.waiting("kubectl wait"):
        done = session.shell.run(command, hop=hop, timeout_s=_READY_S + 15)
    if done.code != 0:
        raise _with_log(session, hop, why() or done.err.strip(), what)
    session.report.output(done.out)


def _with_log(session: Session, hop: str, message: str, what: str) -> DemoError:
    """The error, with the last words of the pods in question in place of kubectl's."""
    log = session.logs / f"{re.sub('[^A-Za-z]+', '-', hop)}.log"
    done = session.shell.run(f"kubectl logs -n {SYSTEM} --tail=1000 --prefix {what}", hop="logs")
    log.write_text(done.both)
    return DemoError(hop, message, log=log if done.code == 0 and done.out else session.shell.log)


def _why_not(session: Session, *what: str) -> str:
    found = session.shell.get(*what) or {}
    items = found.get("items", [found])
    wrong = [item for item in items if not kube.holds(item, "Ready")]
    return "; ".join(f"{item.get('metadata', {}).get('name', what[-1])}: {kube.describe(item)}" for item in wrong)


def _if_ready(shell: kube.Shell, *what: str) -> Any:
    found = shell.get(*what)
    return found if kube.holds(found, "Ready") else None


def _ready_regions(shell: kube.Shell) -> set[str]:
    nodes = (shell.get("nodes") or {"items": []})["items"]
    ready = {
        node["metadata"]["labels"].get("topology.kubernetes.io/region", "")
        for node in nodes
        if kube.holds(node, "Ready")
    }
    return ready if ready >= set(REGIONS) else set()


def ready_pod(session: Session, exit_node: str) -> Any:
    """The pod of an exit node.

    Raises:
        DemoError: there is no ready one.
    """
    pods = session.shell.get("pods", "-n", SYSTEM, "-l", f"hawse.dev/exit-node={exit_node}")["items"]
    ready = [pod for pod in pods if kube.holds(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]]
    if not ready:
        raise DemoError("operator → exit nodes", f"exit node {exit_node} has no ready pod")
    return ready[0]


def _links(session: Session, wanted: int) -> list[Any]:
    found = session.shell.get("agentsessions", "-n", NAMESPACE) or {"items": []}
    links = [link for item in found["items"] for link in item.get("status", {}).get("exitNodes", [])]
    return links if len(links) >= wanted else []
