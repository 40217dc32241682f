"""The fleet's name server in the demo: a real PowerDNS beside the cluster, where the cluster is the demo's own.

Started before the fleet is applied, so that the Fleet names it from the beginning. Called by setup and lookups.
"""

import secrets
import socket

import powerdns
from demo.embedded import EmbeddedCluster
from demo.errors import DemoError
from demo.session import FLEET_FILE, SYSTEM, Session

SECRET = "hawse-dns"  # noqa: S105 - a name
_START_S = 10.0
_DOMAIN = "  domain: tunnels.localhost\n"
_DNS = """  dns:
    type: PowerDNS
    ttl: 5s
    powerDNS:
      servers: [{{name: demo, url: "{url}"}}]
      apiKeyRef: {{name: {secret}}}
"""


def prepare_fleet(session: Session) -> str:
    """Start the server and return the file of a Fleet that names it; without a server the example as it is.

    Raises:
        DemoError: it does not start.
    """
    if not isinstance(session.cluster, EmbeddedCluster):
        return FLEET_FILE  # its pods could not reach a server on this machine
    if not powerdns.is_installed():
        session.report.note(f"Without DNS: PowerDNS is not installed ({powerdns.FIX}).")
        return FLEET_FILE
    server = session.name_server = _start(session)
    block = _DNS.format(url=server.url, secret=SECRET)
    text = (session.settings.root / FLEET_FILE).read_text()
    if _DOMAIN not in text:
        raise DemoError("demo", f"{FLEET_FILE} has another domain than the demo expects")
    path = session.directory / "fleet.yaml"
    path.write_text(text.replace(_DOMAIN, _DOMAIN + block))
    session.report.note(f"{path} is {FLEET_FILE} with the name server:")
    session.report.output(block)
    return str(path)


def _start(session: Session) -> powerdns.Server:
    directory = session.directory / "dns"
    server = powerdns.prepare(directory, key=secrets.token_urlsafe(24))
    session.report.note(f"PowerDNS runs as the chart starts it and answers on {server.address}:{server.port}.")
    program = session.programs.start("powerdns", server.command, environment=server.environment)
    if not session.shell.until("PowerDNS", lambda: _listens(server.address, server.api_port), timeout_s=_START_S):
        raise DemoError("PowerDNS", "it does not listen", log=program.log)
    session.shell.show(
        f"kubectl create secret generic {SECRET} -n {SYSTEM} --from-file={directory / 'api-key'}", hop="API server"
    )
    return server


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1.0):
            return True
    except OSError:
        return False
