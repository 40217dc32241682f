"""`hawse start`: serve the tunnels of a config file."""

from pathlib import Path

import click

from hawse_agent import config
from hawse_agent.cli import serving, surroundings


@click.command()
@click.option(
    "-c",
    "--config",
    "given",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; else hawse.toml or hawse.yaml here or in the config directory.",
)
@serving.options
def start(given: Path | None, as_json: bool, patience_s: float) -> None:
    """Serve every tunnel of a config file.

    \b
    tunnels:
      - {tunnel: shop, to: 3000}
      - {tunnel: api, to: "localhost:4000"}
    """  # noqa: D301 - click's mark for text that is not rewrapped
    path = config.find(given, (Path.cwd(), surroundings.directory()))
    serving.serve(config.read(path), json=as_json, patience_s=patience_s)
