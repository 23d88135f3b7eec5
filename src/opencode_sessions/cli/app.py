"""All commands, and the report of their errors: one sentence on stderr, and an exit code."""

from __future__ import annotations

import logging
import signal
import sys
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from sqlalchemy.exc import SQLAlchemyError
from typer.core import TyperGroup

from opencode_sessions.cli.chat import chat
from opencode_sessions.cli.doctor import doctor
from opencode_sessions.cli.exits import BAD_USAGE, CANCELLED, FAILED
from opencode_sessions.cli.files import files
from opencode_sessions.cli.pruning import prune
from opencode_sessions.cli.recovering import recover
from opencode_sessions.cli.rendering import clean
from opencode_sessions.cli.serve import serve
from opencode_sessions.errors import ConfigurationError, OpencodeError

__all__ = ["app"]

_log = logging.getLogger("opencode_sessions")


class Commands(TyperGroup):
    """Runs a command. An error becomes a sentence and an exit code, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """See `TyperGroup.invoke`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(CANCELLED) from None
        except ConfigurationError as error:
            _tell(error)
            raise typer.Exit(BAD_USAGE) from error
        except (OpencodeError, SQLAlchemyError) as error:
            _tell(error)
            raise typer.Exit(FAILED) from error


def _tell(error: Exception) -> None:
    _log.debug("the command failed", exc_info=error)
    # SQLAlchemy's own text contains the statement and a link; the first line of the driver's error is enough.
    said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    lead = "the database failed: " if isinstance(error, SQLAlchemyError) else ""
    typer.echo(clean(f"Error: {lead}{said.splitlines()[0] if lead else said}"), err=True)


app = typer.Typer(
    cls=Commands,
    help="Give any row of yours an OpenCode agent. Try `opencode-sessions chat --offline`: it needs no key.",
    epilog="Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 130 cancelled.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (chat, serve, doctor, prune, recover, files):
    app.command()(command)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"opencode-sessions {version('opencode-sessions')}")
        raise typer.Exit


@app.callback()
def prepare(
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the library's log on stderr.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _print_version(wanted=value),
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """What holds for every command: the log, the signals, and streams that never fail on a character."""
    handler: logging.Handler = logging.NullHandler()
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        _log.setLevel(logging.DEBUG)
    _log.addHandler(handler)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
