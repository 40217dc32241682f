"""What `hawse http` and `hawse start` share: load the login, run the agent, end with its exit code. Shell."""

import asyncio
import datetime as dt

from hawse_agent import credentials, renewal
from hawse_agent.choice import Wanted
from hawse_agent.cli import surroundings

PATIENCE_S = 15.0
"""Long enough for a slow hotel network, short enough that a script notices."""


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
