"""What `hawse http`, `tcp` and `start` share: options, load the login, run the agent, end with its exit code. Shell."""

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Any

import click

from hawse_agent import credentials, renewal
from hawse_agent.choice import Wanted
from hawse_agent.cli import surroundings

PATIENCE_S = 15.0
"""Long enough for a slow hotel network, short enough that a script notices."""
_Verb = Callable[..., Any]


def options(verb: _Verb) -> _Verb:
    """Options of every verb that serves."""
    patience = click.option(
        "--connect-timeout",
        "patience_s",
        type=click.FloatRange(1, 3600),
        default=PATIENCE_S,
        show_default=True,
        metavar="SECONDS",
        help="Give up if no exit node is reached at the start.",
    )
    return click.option("--json", "as_json", is_flag=True, help="Events as JSON, one a line.")(patience(verb))


def tunnel_option(verb: _Verb) -> _Verb:
    """Of the verbs that serve one tunnel."""
    help_text = "Which Tunnel, if several name the token (metadata.name)."
    return click.option("--tunnel", default="", metavar="NAME", help=help_text)(verb)


def serve(wanted: Wanted, *, json: bool, patience_s: float) -> None:
    """Serve until Ctrl-C.

    Raises:
        AgentError: why it ended by itself.
    """
    from hawse_agent import runner  # loads the core; other verbs must work where that fails

    directory = surroundings.directory()
    login = credentials.load(directory, surroundings.tell)
    over_s = (dt.datetime.now(dt.UTC) - login.expires).total_seconds()
    if over_s >= 0:
        raise renewal.expired(over_s).error
    settings = runner.Settings(
        directory=directory,
        credentials=login,
        wanted=wanted,
        epoch=credentials.read_epoch(directory, surroundings.tell),
        patience_s=patience_s,
        proxies=surroundings.proxies(),
    )
    view = surroundings.make_view(json=json)
    try:
        ending = asyncio.run(runner.run(settings, view))
    finally:
        view.close()
    if ending is not None:
        raise ending.error
