"""The common part of the record store and the message store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from sqlalchemy import Connection

from opencode_sessions.errors import RecordGoneError
from opencode_sessions.sqlalchemy.rows import AddressedRow, AttachedRow, Info, Row, Source, show
from opencode_sessions.sqlalchemy.tables import MappedTable
from opencode_sessions.sqlalchemy.uids import carried
from opencode_sessions.store.record_columns import Columns, gone

__all__ = ["RowStore"]

T = TypeVar("T")


class RowStore(Columns):
    """A store of one mapped row.

    Args:
        model: The mapped class.
        primary_key: The row's key; a tuple if it is composite.
        engine: The database of the row. An `AsyncEngine` or `async_sessionmaker` makes a store for
            `opencode_sessions.aio`, the others one for `opencode_sessions`.
        instance: The caller's own copy of the row, if it should be updated after writes.
        info: For the model's `opencode_prepare_connection`; by default that of the sessionmaker.

    Raises:
        ConfigurationError: The model lacks a column, or the key does not fit it.
    """

    def __init__(
        self,
        model: type[Any],
        primary_key: object,
        engine: Source,
        *,
        instance: object | None = None,
        info: Info | None = None,
    ) -> None:
        table = MappedTable.of(model, self.columns)
        table.identity(primary_key)
        self._row: Row = AddressedRow.found_by(table, primary_key, engine, instance, info)

    @classmethod
    def attached(cls, instance: object, *, asynchronous: bool) -> Self:
        """The store of an instance that is, or will be, attached to an ORM session.

        Args:
            instance: An instance of any model that maps attributes with these names.
            asynchronous: Whether the session is an `AsyncSession`.

        Raises:
            ConfigurationError: The model lacks a column.
        """
        store = cls.__new__(cls)
        store._row = AttachedRow(  # noqa: SLF001 - this is its other constructor
            MappedTable.of(type(instance), cls.columns), instance, asynchronous=asynchronous
        )
        return store

    def _beside(self, key: str) -> Self | None:
        """The store of another row of the same table; None if the key is not of this table."""
        identity = self._row.table.named(key, self._row.identity)
        if identity is None:
            return None
        store = type(self).__new__(type(self))
        store._row = AddressedRow.beside(self._row, identity)  # noqa: SLF001 - likewise
        return store

    @property
    def key(self) -> str:
        """The row's key: its table and primary key."""
        return self._row.table.key(self._row.identity)

    def check(self) -> None:
        """See `RecordStore.check`."""
        self._row.check()

    async def _load(self) -> Mapping[str, Any]:
        return await self._run(self._select)

    async def _compare_and_set(self, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        return await self._run(lambda connection: self._update(connection, expected, values), commit=True)

    def _refresh_instance(self, values: Mapping[str, object]) -> None:
        """See `Columns`. It begins nothing in the ORM session of the copy, and leaves it nothing to flush."""
        if self._row.instance is not None:
            show(self._row.instance, values)

    def _instance_values(self) -> Mapping[str, Any]:
        return {} if self._row.instance is None else carried(self._row.instance)

    async def _run(self, work: Callable[[Connection], T], *, commit: bool = False) -> T:
        return await self._row.transactions.run(work, commit=commit)

    def _select(self, connection: Connection) -> Mapping[str, Any]:
        found = self._row.table.select(connection, self._row.identity, self.computed)
        if found is None:
            raise self._gone()
        return found._asdict()

    def _update(
        self, connection: Connection, expected: Mapping[str, object], values: Mapping[str, object]
    ) -> bool:
        return self._row.table.update(connection, self._row.identity, expected=expected, values=values)

    def _gone(self) -> RecordGoneError:
        return gone(self.key)
