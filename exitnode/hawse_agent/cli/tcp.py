"""`hawse tcp`: serve one local app that is no HTTP through the TCP Tunnel that names this login's token."""

import click

from hawse_agent import target
from hawse_agent.choice import Wanted
from hawse_agent.cli import serving


@click.command()
@click.argument("app")
@serving.tunnel_option
@serving.options
def tcp(app: str, tunnel: str, as_json: bool, patience_s: float) -> None:
    """Serve the APP that listens here and speaks TCP: 5432, localhost:5432, host:port.

    For a Tunnel with spec.protocol TCP. Prints the public address (tcp://name:port) first. Ctrl-C stops it.
    """
    wanted = Wanted(((tunnel, target.parse(app, "tcp")),), tcp=True)
    serving.serve(wanted, json=as_json, patience_s=patience_s)
