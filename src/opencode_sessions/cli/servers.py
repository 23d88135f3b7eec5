"""The server of a command: one that runs already, or one that ends with the command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from sqlalchemy.engine import URL

from opencode_sessions.cli.naming import command
from opencode_sessions.errors import ConfigurationError, ServerUnreachableError
from opencode_sessions.server.binary import find_binary
from opencode_sessions.server.managed import OpencodeServer
from opencode_sessions.testing import ScriptedModel
from opencode_sessions.wire.clients import Client
from opencode_sessions.wire.waiting import announced

__all__ = [
    "DATA_FOLDER",
    "Reached",
    "data_beside",
    "managed_server",
    "reach",
    "reach_offline",
    "say",
]

# The server checks `doom_loop` only in the agent's rules (1.18.33), and here no person can answer.
_CONFIG = {"permission": {"doom_loop": "deny"}, "autoupdate": False, "share": "disabled"}
DATA_FOLDER = Path(".opencode-sessions")
_SLOW_START = 5.0


def say(what: str) -> None:
    """Print a message while a command runs."""
    typer.echo(what, err=True)


@dataclass(frozen=True, slots=True)
class Reached:
    """A server that answers.

    Attributes:
        description: A text for people: version, address and model.
        managed: The server, if it belongs to this command and ends with it.
    """

    client: Client
    description: str
    managed: OpencodeServer | None = None


def data_beside(database: URL) -> Path:
    """The folder for a managed server's data: next to the database file, else in the working directory."""
    if database.get_backend_name() == "sqlite" and database.database:
        return Path(database.database).parent / DATA_FOLDER
    return DATA_FOLDER


@contextmanager
def reach(url: str | None, *, otherwise: str = "") -> Iterator[Reached]:
    """A server that runs already: at `url`, else at `OPENCODE_BASE_URL`, else at the default address.

    Args:
        url: The server's address.
        otherwise: Other advice for the person if nothing listens there.

    Raises:
        WireError: No server answers, or it cannot be used because of its version or the credentials, or it is not an
            OpenCode server. The message says what to do.
    """
    with Client(url) as client:
        address = client.address.base_url
        try:
            with announced(say, f"waiting for an answer from {address} …"):
                health = client.health()
        except ServerUnreachableError as error:
            if not error.refused:
                raise
            raise ServerUnreachableError(
                f"no OpenCode server answers at {address} (connection refused). Start one with "
                f"`{command()} serve --offline` in another terminal and do what it prints{otherwise}",
                request=error.request,
                refused=True,
            ) from error
        yield Reached(client, f"OpenCode {health.version} at {address}")


@contextmanager
def managed_server(
    data: Path,
    *,
    offline: bool,
    given: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[OpencodeServer]:
    """A server of our own on a permanent data folder. Its agent works in the subfolder `work`.

    Args:
        data: The folder, created if it does not exist.
        offline: Use the scripted model, which needs no keys and no network.
        given: A configuration of the person's own, which overrides these defaults.
        **options: More options of `OpencodeServer`.

    Raises:
        ServerNotInstalledError, ServerStartError, ConfigurationError: See `OpencodeServer`.
    """
    options["binary"] = find_binary()  # before there is a folder
    _furnish(data)
    with ExitStack() as stack:
        options["pass_env"] = [name for name in os.environ if name.endswith("_API_KEY")]
        config = {**_CONFIG, **(given or {})}
        if offline:
            model = stack.enter_context(ScriptedModel())
            config, options["models"] = {**config, **model.config()}, {}
        server = OpencodeServer(data=data, config=config, **options)
        with announced(
            say, f"waiting for OpenCode to start; its log is {data / 'server.log'} …", after=_SLOW_START
        ):
            stack.enter_context(server)
        try:
            yield server
        except KeyboardInterrupt:
            server.kill()  # a second Ctrl-C: do not wait for a graceful end
            raise


def _furnish(data: Path) -> None:
    """Create the data folder, and in it the agent's folder, outside of any repository.

    Raises:
        ConfigurationError: A folder cannot be created.
    """
    work = data / "work"
    if work.exists():
        return
    try:
        work.mkdir(parents=True)
        (data / ".gitignore").write_text("*\n", encoding="utf-8")
        # OpenCode lets an agent work in the whole repository around its directory. This file ends the search for one.
        (work / ".git").write_text("not a repository: the agent works here alone\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the data folder {data} cannot be made ({error}): name another") from error


@contextmanager
def reach_offline(data: Path) -> Iterator[Reached]:
    """A server of our own with the scripted model, and a client of it.

    Raises:
        OpencodeError: See `managed_server`.
    """
    with (
        managed_server(data, offline=True) as server,
        Client(server.url, password=server.password, username=server.username) as client,
    ):
        description = f"OpenCode {server.version} at {server.url}, this command's own"
        yield Reached(client, description, server)
