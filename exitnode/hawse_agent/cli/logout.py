"""`hawse logout`: forget the login of this machine."""

import click

from hawse_agent import credentials, running
from hawse_agent.cli import surroundings


@click.command()
def logout() -> None:
    """Remove the certificate and its key from this machine.

    The AgentToken stays: delete it in the cluster to cut off everything that logged in with it.
    """
    directory = surroundings.directory()
    agents = running.read_all(directory) if directory.is_dir() else []
    if credentials.forget(directory):
        click.echo("logged out: certificate and key are removed from this machine")
    else:
        click.echo("there was no login")
    if agents:
        pids = ", ".join(str(agent["pid"]) for agent in agents)
        surroundings.tell(f"still running with that login: pid {pids}. Stop with: kill {pids.replace(',', '')}")
