"""The session index for SQLAlchemy: of a mapped class, or of a bare table."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Column, Connection, Engine, Table, select
from sqlalchemy.ext.asyncio import AsyncEngine

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.sqlalchemy.rows import Info, Source, engine_of, info_of, preparation
from opencode_sessions.sqlalchemy.tables import MappedTable
from opencode_sessions.sqlalchemy.transactions import transactions_over
from opencode_sessions.store.index import batches

__all__ = ["SQLAlchemyIndex"]

_NAME = "opencode_session_id"


class SQLAlchemyIndex:
    """`SessionIndex` over the rows of a table.

    Args:
        rows: A mapped class; or a `Table` with a column `opencode_session_id`, which needs no model.
        engine: The primary database of the rows, not a replica. With an `AsyncEngine` or `async_sessionmaker` it is an
            index for `opencode_sessions.aio`, else one for `opencode_sessions`. A `Table` needs an engine.
        info: For the model's `opencode_prepare_connection`; by default that of the sessionmaker. A table that each
            tenant has in a schema of its own needs an index for each tenant.

    Raises:
        ConfigurationError: There is no such column, or no engine.
    """

    def __init__(self, rows: type[Any] | Table, engine: Source, *, info: Info | None = None) -> None:
        if isinstance(rows, Table):
            bind, self._column = _of_table(rows, engine)
            prepare = None
        else:
            table = MappedTable.of(rows, [_NAME])
            bind = engine_of(engine, table, f"the index of {table.table.fullname}")
            self._column = table.columns[_NAME]
            prepare = preparation(table, info_of(engine) if info is None else info)
        self._transactions = transactions_over(bind, prepare)

    @property
    def table(self) -> str:
        """See `SessionIndex.table`."""
        return self._column.table.fullname

    async def named(self, session_ids: Collection[str]) -> set[str]:
        """See `SessionIndex.named`. It takes a connection of its own."""

        def work(connection: Connection) -> set[str]:
            found: set[str] = set()
            for batch in batches(session_ids):
                found.update(connection.scalars(select(self._column).where(self._column.in_(batch))))
            return found

        return await self._transactions.run(work)


def _of_table(table: Table, source: Source) -> tuple[Engine, Column[Any]]:
    if _NAME not in table.columns:
        raise ConfigurationError(f"the table {table.fullname} has no column {_NAME}")
    if isinstance(source, AsyncEngine):
        source = source.sync_engine
    if not isinstance(source, Engine):
        raise ConfigurationError(
            f"the index of the bare table {table.fullname} needs an engine, not {source!r}"
        )
    return source, table.columns[_NAME]
