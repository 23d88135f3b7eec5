"""`opencode-sessions prune`: lists or deletes sessions on the server that no row names any more."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from sqlalchemy import Column, Engine, MetaData, String, Table, func, inspect, select
from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError

from opencode_sessions.cli.database import DEFAULT_DATABASE, connect, parse_database_url
from opencode_sessions.cli.exits import DONE, FAILED
from opencode_sessions.cli.hosts import check_one_given, host_option, load_host, servers_of
from opencode_sessions.cli.servers import reach
from opencode_sessions.errors import ConfigurationError, OpencodeError
from opencode_sessions.host import AsyncHost, Host
from opencode_sessions.protocol.plain import one_line
from opencode_sessions.reporting import ErrorContext
from opencode_sessions.sessions.prune_report import (
    leftover_facts,
    leftover_lines,
    parse_duration,
    progress_of,
    summary_of,
)
from opencode_sessions.sessions.pruning import Leftover, Pruner
from opencode_sessions.sessions.servers import Servers
from opencode_sessions.sqlalchemy import SQLAlchemyIndex
from opencode_sessions.wire.clients import Client

__all__ = ["prune"]

_COLUMN = "opencode_session_id"


def prune(
    *,
    table: Annotated[
        list[str],
        typer.Option(
            "--table", "-t", metavar="NAME", help="A table of records with sessions. Can be repeated."
        ),
    ],
    database: Annotated[
        str, typer.Option("--database", "-d", metavar="URL", help="Any SQLAlchemy URL.")
    ] = DEFAULT_DATABASE,
    namespace: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The namespace of the sessions. Default: opencode-sessions. --delete requires it.",
        ),
    ] = None,
    older_than: Annotated[
        str, typer.Option(metavar="TIME", help="Only sessions unused for this long: 90s, 30m, 24h, 7d.")
    ] = "24h",
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the sessions instead of listing them.")
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(
            "--server", "-s", metavar="URL", help="Default: OPENCODE_BASE_URL, else http://127.0.0.1:4096."
        ),
    ] = None,
    host: Annotated[str | None, host_option] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON on stdout.")] = False,
) -> None:
    """List the sessions that no row of these tables names any more; with --delete, delete them.

    Only sessions that this library made for rows of these tables are considered. It is safe with live traffic.
    Two databases that share a server need two namespaces; otherwise each takes the other's sessions for leftovers.
    """
    grace = _parse_duration(older_than)
    check_one_given(server, host)
    found = None if host is None else load_host(host)
    if namespace is None and found is not None:
        namespace = found.settings.namespace
    report = _Report(as_json=as_json, deleting=delete, named=namespace is not None)
    try:
        with _opened(database) as engine:
            tables = [_table(engine, name) for name in table]
            indexes = [SQLAlchemyIndex(each, engine) for each in tables]
            pruner = Pruner(*indexes, namespace=namespace, grace=grace, on_error=report.failed)
            if delete:
                pruner.check_may_delete()
                _check_all_rows_seen(engine, tables)
            walk = pruner.delete if delete else pruner.find
            with _reached(server, found) as reached, report.watching(pruner):
                for leftover in walk(reached):
                    report.found.append(leftover)
    except (OpencodeError, SQLAlchemyError) as error:
        report.tell(error)
        raise
    except KeyboardInterrupt:
        report.tell()
        raise
    report.tell()
    raise typer.Exit(FAILED if report.failures else DONE)


@contextmanager
def _reached(server: str | None, host: Host | AsyncHost | None) -> Iterator[Client | Servers[Client]]:
    """One server that answers, or all of a host's: one that does not answer keeps nobody from the others."""
    if host is not None:
        with servers_of(host) as servers:
            yield servers
    else:
        with reach(server) as reached:
            yield reached.client


def _parse_duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from error


@contextmanager
def _opened(url: str) -> Iterator[Engine]:
    parsed = parse_database_url(url)
    plain_file = parsed.get_backend_name() == "sqlite" and "uri" not in parsed.query
    if plain_file and not Path(parsed.database or "").exists():  # a connection would create it
        raise ConfigurationError(f"there is no database {parsed.database}: name yours with --database")
    engine = connect(parsed)
    try:
        yield engine
    finally:
        engine.dispose()


def _table(engine: Engine, name: str) -> Table:
    """A host's table with the parts that are needed: its name, as in the records' keys, and one column."""
    schema, _, plain = name.rpartition(".")
    try:
        columns = inspect(engine).get_columns(plain, schema or None)
    except NoSuchTableError as error:
        shown = engine.url.render_as_string(hide_password=True)
        raise ConfigurationError(f"{shown} has no table {name}") from error
    if _COLUMN not in [column["name"] for column in columns]:
        raise ConfigurationError(
            f"the table {name} has no column {_COLUMN}, so its rows own no sessions; if your model has it under "
            "another name, prune from Python, with opencode_sessions.Pruner"
        )
    return Table(plain, MetaData(), Column(_COLUMN, String), schema=schema or None)


def _check_all_rows_seen(engine: Engine, tables: Iterable[Table]) -> None:
    """Refuse tables of which PostgreSQL's row-level security may hide rows from this role.

    The command line knows no tenant. The sessions of hidden rows would look like leftovers.
    """
    if engine.dialect.name != "postgresql":
        return
    shown_as = engine.dialect.identifier_preparer.format_table
    with engine.connect() as connection:
        for table in tables:
            if connection.scalar(select(func.row_security_active(shown_as(table)))):
                raise ConfigurationError(
                    f"nothing is deleted, as row-level security can hide rows of {table.fullname} from the role "
                    f"{engine.url.username!r}, so the sessions of live rows would be deleted. Connect as a role that "
                    "sees all rows (BYPASSRLS), or prune from Python with an index for each tenant, as in "
                    "docs/tenants.md"
                )


@dataclass(frozen=True)
class _Progress:
    """A line with the progress of a walk, computed each time that it is drawn."""

    pruner: Pruner
    found: list[Leftover]

    def __rich__(self) -> str:
        return f"[dim]{progress_of(self.found, scanned=self.pruner.scanned)}[/]"


class _Report:
    """The report of a walk: its progress and its result."""

    def __init__(self, *, as_json: bool, deleting: bool, named: bool) -> None:
        self.found: list[Leftover] = []
        self.failures = 0
        self._pruner: Pruner | None = None
        self._as_json = as_json
        self._deleting = deleting
        self._named = named
        self._console = Console(highlight=False, soft_wrap=True)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    @contextmanager
    def watching(self, pruner: Pruner) -> Iterator[None]:
        """Show the progress, only on a terminal."""
        self._pruner = pruner
        if not self._errors.is_terminal:
            yield
            return
        with self._errors.status(_Progress(pruner, self.found)):
            yield

    def failed(self, error: Exception, context: ErrorContext) -> None:
        """An `on_error` for the pruner."""
        self.failures += 1
        said = f"{context.session_id}: {one_line(str(error), limit=500)}"
        self._errors.print(f"[red]✗[/] {escape(said)}")

    def tell(self, error: Exception | None = None) -> None:
        """Print the result, also after an error."""
        if self._as_json:
            self._write_line(error)
            return
        if self.found:
            self._print_table()
        if self._pruner is not None:
            self._print_summary(self._pruner)

    def _print_table(self) -> None:
        for number, line in enumerate(leftover_lines(self.found)):
            self._console.print(escape(line), style="dim" if number == 0 else None)

    def _print_summary(self, pruner: Pruner) -> None:
        counts = {"scanned": pruner.scanned, "of_other_tables": pruner.of_other_tables}
        said = summary_of(self.found, deleting=self._deleting, named=self._named, **counts)
        self._console.print(f"[bold]{said}[/]")

    def _write_line(self, error: Exception | None) -> None:
        line = {
            "scanned": self._pruner.scanned if self._pruner else 0,
            "of_other_tables": self._pruner.of_other_tables if self._pruner else 0,
            "leftovers": [leftover_facts(each) for each in self.found],
            "failures": self.failures,
            "error": None if error is None else {"name": type(error).__name__, "message": str(error)},
        }
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()
