"""Artifacts for SQLAlchemy: two tables in the host's metadata, and bytes in a storage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import sessionmaker

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.ports import Artifact, Due, FileKind
from opencode_sessions.files.rows import (
    SHORT,
    artifact_of,
    columns_of,
    due_columns,
    due_of_columns,
    hash_of,
    now,
)
from opencode_sessions.files.storage import Storage
from opencode_sessions.files.stored import ArtifactRow, StoredArtifacts
from opencode_sessions.sqlalchemy.rows import Source, bind_of
from opencode_sessions.sqlalchemy.transactions import Prepare, transactions_over
from opencode_sessions.store.index import batches

__all__ = ["ArtifactTables", "SQLAlchemyArtifactStore"]

_HASH = 64


@dataclass(frozen=True, slots=True)
class ArtifactTables:
    """The two tables of artifacts.

    Attributes:
        artifacts: A row for each artifact.
        due: A row for each turn whose files are to be collected.
    """

    artifacts: Table
    due: Table

    @classmethod
    def add_to(cls, metadata: MetaData, *, schema: str | None = None) -> ArtifactTables:
        """Add them to the host's metadata, so that its migrations make them: ``ArtifactTables.add_to(Base.metadata)``.

        Args:
            metadata: The host's.
            schema: The tables' schema; by default the metadata's own.
        """
        number = BigInteger().with_variant(
            Integer(), "sqlite"
        )  # which numbers rows by itself for no other type
        artifacts = Table(
            "opencode_artifacts",
            metadata,
            Column("id", number, primary_key=True),
            Column("artifact_id", String(_HASH), nullable=False, unique=True),
            Column("place", String(_HASH), nullable=False, unique=True),
            Column("message_hash", String(_HASH), nullable=False, index=True),
            Column("record_hash", String(_HASH), nullable=False, index=True),
            Column("history", String(_HASH), nullable=False, index=True),
            Column("kind", String(16), nullable=False),
            Column("size", BigInteger(), nullable=False),
            *(
                Column(name, Text(), nullable=False)
                for name in ("message", "record", "path", "reason", "name")
            ),
            *(Column(name, String(_HASH), nullable=False) for name in ("sha256", "signature")),
            *(Column(name, String(SHORT), nullable=False) for name in ("media_type", "part_id", "author")),
            Column("stored", String(SHORT), nullable=False, index=True),
            schema=schema,
        )
        due = Table(
            "opencode_files_due",
            metadata,
            Column("message_hash", String(_HASH), primary_key=True),
            Column("record_hash", String(_HASH), nullable=False, index=True),
            Column("message", Text(), nullable=False),
            Column("record", Text(), nullable=False),
            Column("folder", String(SHORT), nullable=False),
            Column("job", JSON(), nullable=False),
            Column("look_at", BigInteger(), nullable=False, index=True),
            schema=schema,
        )
        return cls(artifacts, due)


class SQLAlchemyArtifactStore(StoredArtifacts):
    """An `ArtifactStore` whose rows are in two tables of the host's database.

    Args:
        tables: See `ArtifactTables.add_to`.
        source: The database of the rows: that of the messages, or another one. With an `AsyncEngine` or
            `async_sessionmaker` it is a store for `opencode_sessions.aio`, whose calls suspend.
        storage: The storage of the bytes: `FolderStorage` or `FsspecStorage`.
        prepare: Called with each connection, as the first thing in its transaction: `SET LOCAL search_path`, say.

    Raises:
        ConfigurationError: There is no engine.
    """

    conflict = IntegrityError

    def __init__(
        self, tables: ArtifactTables, source: Source, storage: Storage, *, prepare: Prepare | None = None
    ) -> None:
        engine = _engine_of(source, tables.artifacts)
        super().__init__(storage, suspends=engine.dialect.is_async)
        self._artifacts = tables.artifacts
        self._due = tables.due
        self._engine = engine
        self._transactions = transactions_over(engine, prepare)

    async def list(self, message: str) -> Sequence[Artifact]:
        """See `ArtifactStore.list`."""
        found = await self._select(self._artifacts.c.message_hash == hash_of(message))
        return sorted(found, key=lambda artifact: artifact.path)

    async def previous(self, artifact: Artifact) -> Artifact | None:
        """See `ArtifactStore.previous`."""
        table = self._artifacts
        own = select(table.c.id).where(table.c.artifact_id == artifact.id).scalar_subquery()
        before = [table.c.id < own] if artifact.id else []
        found = await self._latest(artifact.record, [artifact.path], *before)
        return next((each for each in found if each.has_content), None)

    async def latest(self, record: str, paths: Collection[str]) -> Mapping[str, Artifact]:
        """See `ArtifactStore.latest`."""
        return {found.path: found for found in await self._latest(record, paths)}

    async def _latest(self, record: str, paths: Collection[str], *conditions: Any) -> Sequence[Artifact]:
        table = self._artifacts
        conditions = (table.c.kind != FileKind.SKIPPED.value, *conditions)
        newest = select(func.max(table.c.id)).where(*conditions).group_by(table.c.history)
        found: list[Artifact] = []
        for some in batches([hash_of(record, path) for path in paths]):
            found += await self._select(table.c.id.in_(newest.where(table.c.history.in_(some))))
        return found

    async def expect(self, due: Due, *, look_after: float) -> None:
        """See `ArtifactStore.expect`."""
        values = due_columns(due, look_after)
        is_it = self._due.c.message_hash == values["message_hash"]

        def work(connection: Connection) -> None:
            if not connection.execute(update(self._due).where(is_it).values(values)).rowcount:
                connection.execute(insert(self._due).values(values))

        with suppress(IntegrityError):  # another process has just written the same row
            await self._transactions.run(work, commit=True)

    async def find_due(self, message: str) -> Due | None:
        """See `ArtifactStore.find_due`."""
        found = await self._select_due(self._due.c.message_hash == hash_of(message))
        return next(iter(found), None)

    async def due(self, *, look_after: float, limit: int = 100) -> Sequence[Due]:
        """See `ArtifactStore.due`."""
        table = self._due

        def work(connection: Connection) -> list[Due]:
            query = select(table).where(table.c.look_at <= now()).order_by(table.c.look_at).limit(limit)
            found = []
            for row in connection.execute(query).mappings().all():
                is_it = (table.c.message_hash == row["message_hash"], table.c.look_at == row["look_at"])
                later = update(table).where(*is_it).values(look_at=now() + round(look_after * 1000))
                if connection.execute(later).rowcount:
                    found.append(due_of_columns(row))
            return found

        return await self._transactions.run(work, commit=True)

    async def due_of(self, record: str) -> Sequence[Due]:
        """See `ArtifactStore.due_of`."""
        return await self._select_due(self._due.c.record_hash == hash_of(record))

    async def records(self) -> Sequence[str]:
        """See `ArtifactStore.records`."""
        hashes = select(func.min(self._artifacts.c.id)).group_by(self._artifacts.c.record_hash)
        query = select(self._artifacts.c.record).where(self._artifacts.c.id.in_(hashes))
        return await self._transactions.run(lambda c: sorted(c.scalars(query)))

    async def _find(self, artifact_id: str) -> ArtifactRow | None:
        query = select(self._artifacts).where(self._artifacts.c.artifact_id == artifact_id)
        row = await self._transactions.run(lambda c: c.execute(query).mappings().first())
        return None if row is None else (artifact_of(row), row["stored"])

    async def _insert(self, rows: Sequence[ArtifactRow], *, clear: str | None) -> bool:
        def work(connection: Connection) -> bool:
            if clear is not None:
                is_it = self._due.c.message_hash == hash_of(clear)
                if not connection.execute(delete(self._due).where(is_it)).rowcount:
                    return False
            if rows:
                connection.execute(insert(self._artifacts), [columns_of(*row) for row in rows])
            return True

        return await self._transactions.run(work, commit=True)

    async def _wait_for_attach(self, message: str) -> None:
        due = self._due.c.message_hash
        query = select(due).where(due == hash_of(message)).with_for_update()
        await self._transactions.run(lambda c: c.execute(query).first())

    async def _known(self, places: Sequence[str]) -> Collection[str]:
        return await self._among(self._artifacts.c.place, places)

    async def _remove(self, *, record: str | None = None, message: str | None = None) -> Sequence[str]:
        column, key = ("record_hash", record) if record is not None else ("message_hash", message or "")

        return await self._transactions.run(lambda c: self.remove_rows(c, column, key), commit=True)

    def remove_rows(self, connection: Connection, column: str, key: str) -> Sequence[str]:
        """Delete rows in an open transaction, and return the names of their bytes in the storage.

        Args:
            connection: The connection of the transaction.
            column: `record_hash` or `message_hash`.
            key: The key of the record or the message.
        """
        table = self._artifacts
        connection.execute(delete(self._due).where(self._due.c[column] == hash_of(key)))
        is_it = table.c[column] == hash_of(key)
        names = connection.scalars(select(table.c.stored).where(is_it).with_for_update()).all()
        connection.execute(delete(table).where(is_it))
        return names

    def has_rows_behind(self, connection: Connection) -> bool:
        """Are the rows in the database of this connection?"""
        return connection.engine is self._engine

    async def _named(self, names: Sequence[str]) -> Collection[str]:
        return await self._among(self._artifacts.c.stored, names)

    async def _among(self, column: Column[Any], values: Sequence[str]) -> set[str]:
        def work(connection: Connection) -> set[str]:
            found: set[str] = set()
            for some in batches(values):
                found.update(connection.scalars(select(column).where(column.in_(some))))
            return found

        return await self._transactions.run(work)

    async def _select(self, *conditions: Any) -> Sequence[Artifact]:
        query = select(self._artifacts).where(*conditions)
        return await self._transactions.run(
            lambda c: [artifact_of(row) for row in c.execute(query).mappings()]
        )

    async def _select_due(self, condition: Any) -> Sequence[Due]:
        query = select(self._due).where(condition).order_by(self._due.c.look_at)
        return await self._transactions.run(
            lambda c: [due_of_columns(row) for row in c.execute(query).mappings()]
        )


def _engine_of(source: Source, table: Table) -> Engine:
    if not isinstance(source, Engine | AsyncEngine | sessionmaker | async_sessionmaker):
        raise ConfigurationError(f"the store of artifacts needs an engine or a sessionmaker, not {source!r}")
    return bind_of(source, table, "the store of artifacts").engine
