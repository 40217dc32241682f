"""Entry point of `hawse`: runs the verbs, prints errors as lines, never shows a traceback. Decides nothing else."""

import datetime as dt
import os
import sys
from collections.abc import Sequence

import click

from hawse_agent import cli, crash, errors, files


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code (docs/agent.md)."""
    try:
        code = cli.hawse.main(args=list(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
    except errors.AgentError as exc:
        _say(str(exc))
        return exc.exit_code
    except click.exceptions.NoArgsIsHelpError as exc:
        _say(exc.format_message(), prefix="")
        return errors.EXIT_USAGE
    except click.ClickException as exc:
        _say(f"{exc.format_message()} hawse --help shows more.")
        return errors.EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return errors.EXIT_FAILURE
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.EXIT_FAILURE
    except Exception as exc:  # the root of the program: nobody shall see a traceback
        _unexpected(exc)
        return errors.EXIT_FAILURE
    return code if isinstance(code, int) else 0


def run() -> None:
    """As a program."""
    sys.exit(main())


def _unexpected(error: Exception) -> None:
    path = crash.report(error, files.config_directory(os.environ), dt.datetime.now(dt.UTC))
    told = f"The details are in {path}; please report it." if path else "The details could not be written to a file."
    _say(f"something went wrong that should not: {type(error).__name__}. {told}")


def _say(text: str, prefix: str = "hawse: ") -> None:
    try:
        sys.stderr.write(f"{prefix}{text}\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody to tell


if __name__ == "__main__":
    run()
