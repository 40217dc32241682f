"""`hawse fleet`: regions, weights, health and agents of the fleets of a cluster, for who runs them.

Asks kubectl, which knows the cluster and who is asking; the agent itself has no access to any cluster.
"""

import json
import subprocess
from typing import Any

import click

from hawse_agent import fleetview
from hawse_agent.errors import AgentError, UsageError

TIMEOUT_S = 30.0
RESOURCES = "fleets.hawse.dev,exitnodes.hawse.dev"


@click.command()
@click.argument("name", required=False)
@click.option("--context", help="The kubeconfig context to use.")
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="The kubeconfig file to use.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def fleet(name: str | None, context: str | None, kubeconfig: str | None, as_json: bool) -> None:
    """Show the fleets of a cluster, or the Fleet NAME, with their exit nodes.

    Needs kubectl, and the right to read Fleets and ExitNodes.
    """
    options = [*(["--context", context] if context else []), *(["--kubeconfig", kubeconfig] if kubeconfig else [])]
    items = _ask(options)
    fleets = [body for body in items if body.get("kind") == "Fleet"]
    if name is not None:
        known = [body["metadata"]["name"] for body in fleets]
        if name not in known:
            raise UsageError(f"there is no Fleet {name!r} in this cluster. Existing: {', '.join(known) or 'none'}.")
        fleets = [body for body in fleets if body["metadata"]["name"] == name]
    found = fleetview.view(fleets, [body for body in items if body.get("kind") == "ExitNode"])
    if as_json:
        click.echo(json.dumps(fleetview.as_json(found)))
    elif found:
        click.echo("\n".join(fleetview.lines(found)))
    else:
        click.echo("no Fleet in this cluster: examples/fleet.yaml is one")


def _ask(options: list[str]) -> list[dict[str, Any]]:
    command = ["kubectl", *options, "get", RESOURCES, "-o", "json", f"--request-timeout={TIMEOUT_S:.0f}s"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S + 5, check=False)  # noqa: S603 - fixed, and options of the same user
    except FileNotFoundError as exc:
        raise AgentError("kubectl is not on PATH: hawse fleet asks the cluster through it. Install kubectl.") from exc
    except subprocess.TimeoutExpired as exc:
        raise AgentError(f"the cluster gave no answer within {TIMEOUT_S:.0f} s.") from exc
    if done.returncode:
        raise AgentError(f"kubectl cannot read Fleets and ExitNodes: {_last_line(done.stderr)}")
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return items


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
