"""`hawse http`: serve one local app through the Tunnel that names this login's token."""

import click

from hawse_agent import target
from hawse_agent.choice import Wanted
from hawse_agent.cli import serving


@click.command()
@click.argument("app")
@serving.tunnel_option
@serving.options
def http(app: str, tunnel: str, as_json: bool, patience_s: float) -> None:
    """Serve the APP that listens here: 3000, localhost:3000, host:port.

    Prints the public URL first. Ctrl-C stops it. Once it was connected it never gives up.
    """
    serving.serve(Wanted(((tunnel, target.parse(app)),), tcp=False), json=as_json, patience_s=patience_s)
