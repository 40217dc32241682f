"""`hawse-exitnode` (under an operator, configured by environment) and `hawse-exitnode static FILE` (from a file).

Exit codes: 0 stopped in order, 1 cannot start or go on here, 2 what was configured cannot be used. Errors are one line
on stderr; a traceback is a bug.
"""

import asyncio
import importlib.metadata
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hawse_exitnode import descriptors, logs
from hawse_exitnode.errors import ExitNodeError, UsageError
from hawse_exitnode.settings import Settings, read_settings
from hawse_exitnode.static import run_static
from hawse_exitnode.supervisor import Supervisor
from hawse_tunnel.core import TunnelCore

logger = logging.getLogger(__name__)

USAGE = """usage: hawse-exitnode               serve under an operator; configured by environment, in a pod
       hawse-exitnode static FILE   serve the configuration in FILE, without an operator
       hawse-exitnode --version"""


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; the exit code."""
    match arguments:
        case ["--version"]:
            sys.stdout.write(f"hawse-exitnode {version()}\n")
            return 0
        case ["-h" | "--help"]:
            sys.stdout.write(f"{USAGE}\n")
            return 0
        case [] | ["static", _]:
            return _serve(arguments)
        case _:
            sys.stderr.write(f"{USAGE}\n")
            return 2


def version() -> str:
    """The distribution's version."""
    try:
        return importlib.metadata.version("hawse")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _serve(arguments: Sequence[str]) -> int:
    logs.set_up()
    descriptors.raise_limit()
    try:
        if arguments:
            asyncio.run(_static(Path(arguments[1])))
        else:
            asyncio.run(_supervise(read_settings(os.environ)))
    except KeyboardInterrupt:
        return 130
    except ExitNodeError as exc:
        return _failed(exc)
    except ExceptionGroup as group:
        expected, other = group.split(ExitNodeError)
        if other is not None or expected is None:
            raise
        return _failed(_first(expected))
    return 0


async def _supervise(settings: Settings) -> None:
    async with TunnelCore() as core:
        await Supervisor(settings, core, version=version()).run()


async def _static(path: Path) -> None:
    async with TunnelCore() as core:
        await run_static(path, core, version=version())


def _first(group: BaseExceptionGroup[ExitNodeError]) -> ExitNodeError:
    inner = group.exceptions[0]
    return inner if isinstance(inner, ExitNodeError) else _first(inner)


def _failed(exc: ExitNodeError) -> int:
    sys.stderr.write(f"hawse-exitnode: {exc}\n")
    return 2 if isinstance(exc, UsageError) else 1


if __name__ == "__main__":
    main()
