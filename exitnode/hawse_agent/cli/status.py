"""`hawse status`: the login of this machine and the agents that run."""

import datetime as dt
import json
from typing import Any

import click

from hawse_agent import credentials, render, renewal, running, words
from hawse_agent.cli import surroundings
from hawse_agent.errors import AuthenticationError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def status(as_json: bool) -> None:
    """Show the login, its certificate, and running agents.

    Exit code 3 if there is no login or its certificate is over.
    """
    directory = surroundings.directory()
    try:
        login = credentials.load(directory, surroundings.tell)
    except AuthenticationError:
        if as_json:
            click.echo(json.dumps({"login": None, "agents": []}))
        raise
    agents = running.read_all(directory) if directory.is_dir() else []
    left_s = (login.expires - dt.datetime.now(dt.UTC)).total_seconds()
    if as_json:
        click.echo(json.dumps({"login": _login(login), "agents": agents}))
    else:
        _show(login, left_s, agents)
    if left_s <= 0:
        raise renewal.expired(-left_s).error


def _login(login: credentials.Credentials) -> dict[str, Any]:
    return {
        "domain": login.domain,
        "token": f"{login.namespace}/{login.token_name}",
        "agent_id": login.agent_id,
        "exit_nodes": list(login.addresses),
        "certificate_expires": login.expires.isoformat(),
    }


def _show(login: credentials.Credentials, left_s: float, agents: list[dict[str, Any]]) -> None:
    until = f"{renewal.expiry_text(login)} ({words.duration(left_s)} left)" if left_s > 0 else "over"
    click.echo(f"login        {login.domain}, token {login.namespace}/{login.token_name}")
    click.echo(f"certificate  {until}")
    click.echo(f"exit nodes   {words.listing(login.addresses)}")
    if not agents:
        click.echo("agents       none running")
    for agent in agents:
        click.echo(f"agent        pid {agent['pid']}, up {words.duration(agent.get('uptime_s', 0))}")
        for tunnel in agent.get("tunnels", []):
            click.echo(f"  {tunnel['url']} -> http://{tunnel['to']}")
        rows = [
            (node["name"] or "-", node["region"] or "-", node["address"], node["state"], f"{node['rtt_ms']} ms")
            for node in agent.get("exit_nodes", [])
        ]
        for text in render.table(("EXIT NODE", "REGION", "ADDRESS", "STATE", "RTT"), rows) if rows else []:
            click.echo(text)
        click.echo(
            f"  connections {agent.get('connections_open', 0)} open, {agent.get('connections_total', 0)} in all   "
            f"in {words.size(agent.get('bytes_in', 0))}   out {words.size(agent.get('bytes_out', 0))}"
        )
