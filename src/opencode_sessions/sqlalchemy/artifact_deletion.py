"""Removing the artifacts of a record along with its row, when the ORM deletes that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, inspect, select

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.artifacts import Artifacts
from opencode_sessions.reporting import ErrorContext, ErrorReporter, OnError
from opencode_sessions.sqlalchemy.artifacts import SQLAlchemyArtifactStore
from opencode_sessions.sqlalchemy.deleting import in_a_thread, with_row
from opencode_sessions.sqlalchemy.records import SQLAlchemyRecordStore
from opencode_sessions.sqlalchemy.tables import MappedTable
from opencode_sessions.sqlalchemy.turn_table import SQLAlchemyTurnTable
from opencode_sessions.store.record_columns import UID

__all__ = ["delete_artifacts_with_row", "record_keys"]


def delete_artifacts_with_row(
    model: type[Any], artifacts: Artifacts, *, on_error: OnError | None = None
) -> Callable[[], None]:
    """From now on, when an ORM session deletes a record of this model, remove its artifacts and its folder too.

    Their rows are deleted in the same transaction; their bytes and the folder after its commit. A later error goes to
    `on_error`. `opencode-sessions files` finds the files that a crash, a bulk `delete()` or a cascade of the database
    leaves behind, and those whose rows are in another database than the record.

    Call it once for a model, where your models are made.

    Args:
        model: The mapped class of the records.
        artifacts: The artifacts of the host's settings, whose store is a `SQLAlchemyArtifactStore`.
        on_error: Called as `on_error(error, context)`. Without it, errors are logged.

    Returns:
        A function that ends it.

    Raises:
        ConfigurationError: The model has no session columns, or the store is another one.
    """
    table = MappedTable.of(model, SQLAlchemyRecordStore.columns)
    store = artifacts.store
    if not isinstance(store, SQLAlchemyArtifactStore):
        raise ConfigurationError(
            f"the artifacts are not in SQLAlchemy's tables, but in a {type(store).__name__}"
        )
    report = ErrorReporter(on_error)

    def act_for(connection: Connection, target: object) -> Callable[[], None] | None:
        if not store.has_rows_behind(connection):
            return None
        identity = inspect(target).identity
        key = table.key(identity)
        is_it = [column == value for column, value in zip(table.primary_key, identity, strict=True)]
        uid = connection.scalar(select(table.columns[UID]).where(*is_it))
        names = store.remove_rows(connection, "record_hash", key)
        act = partial(_remove, artifacts, names, artifacts.sandbox.name_of(key, uid or ""), key, report)
        return in_a_thread(connection, act)

    return with_row(model, act_for)


def _remove(artifacts: Artifacts, names: Sequence[str], folder: str, key: str, report: ErrorReporter) -> None:
    try:
        store = artifacts.store
        if isinstance(store, SQLAlchemyArtifactStore):
            for name in filter(None, names):
                store.storage.remove(name)
        if artifacts.sandbox.disk:
            artifacts.sandbox.remove(folder)
    except Exception as error:  # noqa: BLE001 - the row is gone already: it is reported, not raised
        report(error, ErrorContext("delete_with_row", key))


async def record_keys(table: SQLAlchemyTurnTable) -> Sequence[tuple[str, str]]:
    """The key and the `opencode_uid` of each record that the messages of a table can belong to."""
    records = table._link.record  # noqa: SLF001 - it is what the table knows of them
    query = select(*records.primary_key, records.columns[UID])

    def work(connection: Connection) -> list[tuple[str, str]]:
        return [(records.key(tuple(row[:-1])), row[-1] or "") for row in connection.execute(query)]

    return await table._records.run(work)  # noqa: SLF001 - see above
