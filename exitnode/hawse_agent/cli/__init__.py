"""The verbs of `hawse`, one a file; this module puts them together and turns errors into lines and exit codes.

Exit codes: 0, 1 failure on this machine, 2 usage, 3 authentication, 4 network (docs/agent.md). Called by __main__.py.
"""

import click

from hawse_agent.cli import fleet, http, login, logout, start, status, tcp
from hawse_agent.cli import version as version_verb


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def hawse() -> None:
    """Expose what runs on this machine through Hawse's exit nodes.

    \b
    kubectl get secret laptop-token -o jsonpath='{.data.token}' | base64 -d | hawse login -
    hawse http 3000

    Exit codes: 1 failure on this machine, 2 usage, 3 authentication, 4 network.
    """  # noqa: D301 - click's mark for text that is not rewrapped


for _verb in (
    login.login,
    http.http,
    tcp.tcp,
    start.start,
    status.status,
    logout.logout,
    fleet.fleet,
    version_verb.version,
):
    hawse.add_command(_verb)
