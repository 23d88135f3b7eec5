"""`opencode-sessions serve`: a server in the foreground, for several chats to share."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from opencode_sessions.cli.naming import command
from opencode_sessions.cli.servers import DATA_FOLDER, managed_server
from opencode_sessions.errors import ConfigurationError, OpencodeError
from opencode_sessions.server.managed import OpencodeServer
from opencode_sessions.sessions.prune_report import parse_size

__all__ = ["serve"]

_PASSWORD = "OPENCODE_SERVER_PASSWORD"  # noqa: S105 - the variable's name
_LOOK = 0.2


def serve(
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="With the scripted model, which needs no keys and no network.")
    ] = False,
    port: Annotated[
        int,
        typer.Option("--port", "-p", min=0, max=65535, help="The port to listen on; 0 for any free port."),
    ] = 0,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    start_timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long the server may take to start.")
    ] = 30.0,
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The folder of the server's database, log and working directory."),
    ] = DATA_FOLDER,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="OpenCode's configuration, as JSON: providers, models, agents. The server reads no other one.",
        ),
    ] = None,
    catalogue: Annotated[
        bool,
        typer.Option(
            help="Whether to load the catalogue of models, models.dev. Without it the configuration must define every "
            "model that is used, and a directory costs 10 MB of memory, not 95 MB.",
        ),
    ] = True,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A variable for the server and the commands of agents; may be repeated.",
        ),
    ] = None,
    recycle_at: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Restart the server when its memory exceeds this, such as 2G: as soon as it is idle, or after a "
            "minute. Running answers go on after the restart.",
        ),
    ] = None,
) -> None:
    """Run an OpenCode server in the foreground, with the plugin that guards its agents.

    Its password is OPENCODE_SERVER_PASSWORD, or a random one, which is printed.
    Without --offline it uses the provider whose key is in the environment, such as ANTHROPIC_API_KEY. The server gets
    no other variables, except those that its configuration names and those of --env.
    Ctrl-C or SIGTERM stops it.
    """
    console = Console(highlight=False, soft_wrap=True)
    password = os.environ.get(_PASSWORD) or None
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        with console.status("[dim]starting OpenCode …[/]"):
            server = stack.enter_context(
                managed_server(
                    data,
                    offline=offline,
                    given=None if config is None else _read_config(config),
                    models=None if catalogue else {},
                    env=dict(_parse_variable(each) for each in env or ()),
                    hostname=host,
                    port=port,
                    password=password,
                    startup_timeout=start_timeout,
                    recycle_at=None if recycle_at is None else _parse_size(recycle_at),
                )
            )
        _introduce(console, server, password_is_known=password is not None)
        with contextlib.suppress(KeyboardInterrupt):  # the first one ends it gracefully, a second one at once
            _wait(console, server)
            raise _died(server)
        console.print("[dim]stopping[/]")


def _introduce(console: Console, server: OpencodeServer, *, password_is_known: bool) -> None:
    console.print(f"OpenCode {server.version} at [bold]{server.url}[/]. Ctrl-C stops it.")
    console.print(f"[dim]works in[/] {escape(str(server.directory))}")
    console.print(f"[dim]data in [/] {escape(str(server.data))}")
    console.print(f"[dim]log     [/] {escape(str(server.log_path))}")
    console.print("\nIn another terminal:\n")
    for name, value in server.environment().items():
        if not (name == _PASSWORD and password_is_known):
            console.print(f"export {name}={escape(shlex.quote(value))}")
    if password_is_known:
        console.print(f"[dim]# {_PASSWORD}: the one that is set here[/]")
    console.print(f"{escape(command())} chat\n")


def _parse_size(text: str) -> int:
    try:
        return parse_size(text)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="--recycle-at") from error


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path} cannot be read as JSON: {error}", param_hint="--config") from error
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{path} must have an object: {{…}}", param_hint="--config")
    return found


def _parse_variable(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise typer.BadParameter(f"write NAME=VALUE, not {text}", param_hint="--env")
    return name, value


def _wait(console: Console, server: OpencodeServer) -> None:
    pid = server.pid
    while server.running:
        if server.pid != pid:
            pid = server.pid
            console.print("[dim]restarted, as its memory exceeded --recycle-at[/]")
        time.sleep(_LOOK)


def _died(server: OpencodeServer) -> OpencodeError:
    return OpencodeError(
        f"the server ended by itself; its log, {server.log_path}, ends with:\n{server.log_tail()}"
    )
