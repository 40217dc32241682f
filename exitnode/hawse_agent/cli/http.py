"""`hawse http`: serve one local app through the Tunnel that names this login's token."""

import click

from hawse_agent import target
from hawse_agent.choice import Wanted
from hawse_agent.cli import serving


@click.command()
@click.argument("app")
@click.option("--tunnel", default="", metavar="NAME", help="Which Tunnel, if several name the token (metadata.name).")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON, one a line.")
@click.option(
    "--connect-timeout",
    "patience_s",
    type=click.FloatRange(1, 3600),
    default=serving.PATIENCE_S,
    show_default=True,
    metavar="SECONDS",
    help="Give up if no exit node is reached at the start.",
)
def http(app: str, tunnel: str, as_json: bool, patience_s: float) -> None:
    """Serve the APP that listens here: 3000, localhost:3000, host:port.

    Prints the public URL first. Ctrl-C stops it. Once it was connected it never gives up.
    """
    serving.serve(Wanted(((tunnel, target.parse(app)),)), json=as_json, patience_s=patience_s)
