"""What every verb needs of its surroundings: the config directory, stdout and stderr, the right view. Shell."""

import os
import sys
from pathlib import Path

import click

from hawse_agent import files, proxy, views


def directory() -> Path:
    """The config directory; not made yet."""
    return files.config_directory(os.environ)


def proxies() -> proxy.Proxies:
    """What HTTPS_PROXY and NO_PROXY say.

    Raises:
        UsageError: they cannot be used.
    """
    return proxy.read(os.environ)


def tell(text: str) -> None:
    """A line for the person, on stderr."""
    click.echo(f"hawse: {text}", err=True)


def make_view(*, json: bool) -> views.View:
    """JSON lines, a live view on a terminal, or plain lines."""
    if json:
        return views.JsonView(sys.stdout)
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return views.LiveView(sys.stdout)
    return views.PlainView(sys.stdout, sys.stderr)
