"""`opencode-sessions files`: lists or removes leftover files of a host's agents."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

import typer

from opencode_sessions.cli.hosts import load_host
from opencode_sessions.cli.rendering import clean
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.tidying import (
    clear_left_over,
    left_over_lines,
    left_over_summary,
    look_for_left_over,
)
from opencode_sessions.host import AsyncHost, Host
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sessions.prune_report import parse_duration
from opencode_sessions.sqlalchemy.artifact_deletion import record_keys
from opencode_sessions.sqlalchemy.turn_table import SQLAlchemyTurnTable

__all__ = ["files"]


def files(
    host: Annotated[
        str,
        typer.Argument(metavar="MODULE:NAME", help="Your host, such as worker:opencode.", show_default=False),
    ],
    *,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove the files instead of listing them.")
    ] = False,
    older_than: Annotated[
        str, typer.Option(metavar="TIME", help="Only folders and files that are older: 90s, 30m, 24h, 7d.")
    ] = "1h",
) -> None:
    """List leftover files of agents: those of deleted records, and those of processes that died.

    In a Django project it is `manage.py opencode_files`.
    """
    found, seconds = load_host(host), parse_duration(older_than).total_seconds()
    work = _tidy(found, seconds, delete=delete)
    if isinstance(found, AsyncHost):
        asyncio.run(work)
    else:
        run_sync(work)


async def _tidy(host: Host | AsyncHost, older_than: float, *, delete: bool) -> None:
    artifacts = host.settings.artifacts
    if artifacts is None:
        raise ConfigurationError("this host keeps no files of agents: its settings have no artifacts")
    tables = host.table.tables

    async def records() -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for table in tables:
            if not isinstance(table, SQLAlchemyTurnTable):
                raise ConfigurationError(f"the records of {table.name} are not in SQLAlchemy's tables")
            found += await record_keys(table)
        return found

    found, uploads = (
        await look_for_left_over(artifacts, records, older_than=older_than),
        host.settings.uploads,
    )
    if uploads is not None:
        uids = {uid for _, uid in await records()}
        found = replace(found, uploads=uploads.left_over(uids, older_than=older_than))
    if delete:
        await clear_left_over(artifacts, found)
        if uploads is not None:
            uploads.remove_left_over(found.uploads)
    for line in left_over_lines(found):
        typer.echo(clean(line))
    count = len(found.records) + len(found.folders) + len(found.stored) + len(found.uploads)
    typer.echo(left_over_summary(count, deleted=delete))
