"""`opencode-sessions doctor`: checks of the installation, with advice."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from opencode_sessions.cli.database import (
    DEFAULT_DATABASE,
    Base,
    connect,
    missing_columns,
    missing_tables,
    parse_database_url,
    sessions_of_turns,
    turn_tables,
    turns_in,
)
from opencode_sessions.cli.exits import DONE, FAILED
from opencode_sessions.cli.hosts import check_one_given, host_option, load_host
from opencode_sessions.cli.naming import command
from opencode_sessions.cli.servers import say
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.host import AsyncHost, Host
from opencode_sessions.host.server_counts import load_of
from opencode_sessions.protocol.plain import one_line
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.server.diagnostics import (
    ABANDONED,
    Finding,
    State,
    look_at_binary,
    look_at_python,
    look_at_server,
    look_closer,
)
from opencode_sessions.wire.clients import Client

__all__ = ["doctor"]

_EXTRAS = {"cli": ("typer", "rich"), "sqlalchemy": ("SQLAlchemy",), "django": ("Django",)}
_STRAY = "another project or database may run it; if none does, Client.stop(session_id) stops it"
_RECOVER = (
    "`recover MODULE:HOST` sends them to your queue again; if they stay, no process recovers turns: a host that runs "
    "turns does so by itself, and with a task queue its periodic task does"
)
_DRIVERS = ("psycopg", "psycopg2", "asyncpg", "aiosqlite", "PyMySQL")


_STYLES = {State.OK: "green", State.WARNING: "yellow", State.MISSING: "red", State.BROKEN: "red"}


def doctor(
    *,
    server: Annotated[
        str | None,
        typer.Option(
            "--server", "-s", metavar="URL", help="Default: OPENCODE_BASE_URL, else http://127.0.0.1:4096."
        ),
    ] = None,
    host: Annotated[str | None, host_option] = None,
    database: Annotated[
        str, typer.Option("--database", "-d", metavar="URL", help="Yours, or the chat's.")
    ] = DEFAULT_DATABASE,
    project_config: Annotated[
        bool,
        typer.Option(
            "--project-config",
            help="Also check whether the server reads configuration from the folder of an agent. "
            "This costs the server 15 MB of memory.",
        ),
    ] = False,
) -> None:
    """Check Python, the packages, the opencode binary, the server and the database.

    Exits 0 if all checks pass, 1 otherwise. It changes nothing.
    """
    findings = list(examine(server, database, host=host, project_config=project_config))
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        mend = f"\n[dim]→ {escape(finding.mend)}[/]" if finding.mend else ""
        state = f"[{_STYLES[finding.state]}]{finding.state}[/]"
        table.add_row(state, finding.what, Text.from_markup(escape(finding.found) + mend, overflow="fold"))
    Console(highlight=False).print(table)
    raise typer.Exit(FAILED if any(finding.broken for finding in findings) else DONE)


def examine(
    server: str | None, database: str, *, host: str | None = None, project_config: bool
) -> Iterator[Finding]:
    """All checks, one after the other; with a host, of all servers that it names."""
    check_one_given(server, host)
    yield look_at_python()
    yield Finding("opencode-sessions", State.OK, version("opencode-sessions"))
    yield _extras()
    yield _drivers()
    found = None if host is None else load_host(host)
    options = {"": {"base_url": server}} if found is None else found.settings.client_options()
    makers = {name: partial(Client, **each) for name, each in options.items()}
    servers = {name: _server(make, options[name]["base_url"]) for name, make in makers.items()}
    yield look_at_binary(needed=found is None and servers[""].state is not State.OK)
    for name, reachable in servers.items():
        for finding in _looks(reachable, makers[name], database, project_config=project_config):
            yield finding if len(servers) == 1 else replace(finding, what=f"{finding.what} of {name}")
    if found is not None:
        yield _load(found)
    yield from _database(database)


def _looks(
    reachable: Finding, make: Callable[[], Client], database: str, *, project_config: bool
) -> Iterator[Finding]:
    """The checks of one server."""
    yield reachable
    if reachable.state is State.OK:
        yield from look_closer(
            make, running=lambda: sessions_of_turns(database), stray=_STRAY, project_config=project_config
        )


def _load(host: Host | AsyncHost) -> Finding:
    """How many turns run on each server."""
    what = "load"

    async def count() -> Mapping[str | None, int]:
        return await host.table.running()

    try:
        running = asyncio.run(count()) if isinstance(host, AsyncHost) else run_sync(count())
    except Exception as error:
        if not host.table.is_transient(error):
            raise
        mend = "the database of the host, or its own log"
        return Finding(what, State.BROKEN, f"cannot be read: {one_line(str(error))}", mend)
    return Finding(what, State.OK, load_of(host.settings, running))


def _extras() -> Finding:
    found, absent = [], []
    for extra, packages in _EXTRAS.items():
        versions = [_version(package) for package in packages]
        if all(versions):
            found += [f"{package} {number}" for package, number in zip(packages, versions, strict=True)]
        else:
            absent.append(extra)
    if absent:
        mend = f"pip install 'opencode-sessions[{','.join(absent)}]', if you use it"
        return Finding("extras", State.WARNING, ", ".join(found), mend)
    return Finding("extras", State.OK, ", ".join(found))


def _drivers() -> Finding:
    installed = [f"{name} {number}" for name in _DRIVERS if (number := _version(name))]
    return Finding("drivers", State.OK, ", ".join([f"sqlite3 {sqlite3.sqlite_version}", *installed]))


def _server(make: Callable[[], Client], url: str | None) -> Finding:
    asked_for = url is not None or "OPENCODE_BASE_URL" in os.environ
    start = f"{command()} serve --offline, in another terminal; or chat --offline"
    return look_at_server(make, asked_for=asked_for, start=start, say=say)


def _database(url: str) -> Iterator[Finding]:
    """The check of a database, and how the turns in it do."""
    what = "database"
    try:
        parsed = parse_database_url(url)
        shown = parsed.render_as_string(hide_password=True)
        if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).exists():
            # A connection would create the file, and `doctor` changes nothing.
            folder = Path(parsed.database).parent
            if not folder.is_dir():
                yield Finding(what, State.BROKEN, f"{shown}: there is no folder {folder}", "make it")
                return
            yield Finding(what, State.OK, f"{shown}: no file yet; the first chat makes it")
            return
        engine = connect(parsed)
    except ConfigurationError as error:
        yield Finding(what, State.BROKEN, "cannot be used", str(error))
        return
    try:
        absent, lacking = missing_tables(engine), missing_columns(engine)
        own = [table for table in turn_tables(engine) if table.name not in Base.metadata.tables]
        if lacking:
            mend = "they are of another release: add what is missing, or name another database"
            yield Finding(
                what, State.BROKEN, f"{shown} ({engine.dialect.name}): no {', '.join(lacking)}", mend
            )
            return
        if own:
            tables = f"turns in {', '.join(table.name for table in own)}"
        elif absent:
            tables = f"no {', '.join(absent)} yet; the first chat makes them"
        else:
            tables = "the chat's tables are there"
        yield Finding(what, State.OK, f"{shown} ({engine.dialect.name}): {tables}")
        for table in own:
            said = turns_in(engine, table)
            left = ABANDONED in said
            yield Finding(table.name, State.WARNING if left else State.OK, said, _RECOVER if left else "")
    finally:
        engine.dispose()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
