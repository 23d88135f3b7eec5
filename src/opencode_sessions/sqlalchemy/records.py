"""The record store for SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from opencode_sessions.sqlalchemy.base import RowStore
from opencode_sessions.store.record_columns import ColumnRecords

__all__ = ["SQLAlchemyRecordStore"]

T = TypeVar("T")


class SQLAlchemyRecordStore(RowStore, ColumnRecords):
    """`RecordStore` over one mapped row; see `RowStore` for its arguments."""

    async def _read(self, function: Callable[[Any], T]) -> T:
        def work(connection: Connection) -> T:
            with Session(connection, autoflush=False, info=dict(self._row.info)) as session:
                record = session.get(self._row.table.mapper, self._row.identity)
                if record is None:
                    raise self._gone()
                return function(record)

        return await self._run(work)

    async def _set_or_load(
        self, expected: Mapping[str, object], values: Mapping[str, object]
    ) -> Mapping[str, Any] | None:
        def work(connection: Connection) -> Mapping[str, Any] | None:
            # The UPDATE comes first, so that SQLite takes its write lock at once and need not upgrade a read lock.
            return None if self._update(connection, expected, values) else self._select(connection)

        return await self._run(work, commit=True)
