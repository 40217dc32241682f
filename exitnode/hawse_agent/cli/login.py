"""`hawse login`: trade the text of a token for a certificate of this machine."""

import asyncio
import sys
from pathlib import Path

import click

from hawse_agent import credentials, files, jointoken, renewal
from hawse_agent.cli import surroundings
from hawse_agent.errors import UsageError

_LIMIT_BYTES = jointoken.MAX_TEXT * 2


@click.command()
@click.argument("source", required=False)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that holds the text of the token.",
)
def login(source: str | None, token_file: Path | None) -> None:
    """Log in with the text of an AgentToken: `-` reads it from standard input.

    Without SOURCE it is asked for, and not shown. It is never an argument: arguments are seen by every user of the
    machine (ps).
    """
    proxies = surroundings.proxies()
    token = jointoken.parse(_text(source, token_file))
    from hawse_agent import login as logins  # loads the core; other verbs must work where that fails

    directory = surroundings.directory()
    agent_id = credentials.read_or_make_agent_id(directory, surroundings.tell)
    made = asyncio.run(logins.enrol(token, agent_id, proxies))
    credentials.save(directory, made, surroundings.tell)
    click.echo(
        f"logged in to {made.domain} with the token {made.namespace}/{made.token_name}; "
        f"certificate until {renewal.expiry_text(made)}, renewed by itself while hawse runs"
    )


def _text(source: str | None, token_file: Path | None) -> str:
    if token_file is not None:
        if source is not None:
            raise UsageError("give the token once: - or --token-file.")
        content = files.read_private(token_file, limit_bytes=_LIMIT_BYTES, tell=surroundings.tell, follow_link=True)
        if content is None:
            raise UsageError(f"{token_file} does not exist.")
        return content.decode(errors="replace")
    if source == "-":
        return sys.stdin.read(_LIMIT_BYTES)
    if source is not None:
        raise UsageError(
            "the token is not taken from the command line, where other users can see it. "
            "Pipe it in (hawse login -) or name a file (hawse login --token-file FILE)."
        )
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on. Pipe the token in: hawse login -")
    answer: str = click.prompt("Text of the token (not shown)", hide_input=True, err=True)
    return answer
