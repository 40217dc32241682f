"""`hawse version`: which version this is."""

import platform

import click

from hawse_agent import version as versions
from hawse_api import names


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(
        f"hawse {versions.text()} (protocol {names.PROTOCOL_MIN}-{names.PROTOCOL_MAX}, "
        f"Python {platform.python_version()}, {platform.system().lower()} {platform.machine()})"
    )
