"""The record of a message, found by the message's one relationship, or foreign key, to a model of records.

A model with several names the right one::

    class Message(MessageMixin, Base):
        opencode_record = "conversation"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, inspect
from sqlalchemy.exc import NoReferencedColumnError, NoReferencedTableError
from sqlalchemy.ext.asyncio import async_object_session
from sqlalchemy.orm import Mapper, RelationshipDirection, RelationshipProperty, object_session

from opencode_sessions.errors import ConfigurationError, RecordGoneError
from opencode_sessions.sqlalchemy.messages import SQLAlchemyMessageStore
from opencode_sessions.sqlalchemy.records import SQLAlchemyRecordStore
from opencode_sessions.sqlalchemy.rows import Info, Source
from opencode_sessions.sqlalchemy.tables import Identity, MappedTable, refers

__all__ = ["RecordLink", "record_store_of"]

_NAME = "opencode_record"

_Pairs = Sequence[tuple[Column[Any], Column[Any]]]


@dataclass(frozen=True)
class RecordLink:
    """The link from the rows of a message's model to their records.

    Attributes:
        name: The name of the relationship, or of the foreign key's attribute.
        record: The record's table.
        columns: The columns of the messages that hold the record's primary key, in the order of that key.
    """

    name: str
    record: MappedTable
    columns: tuple[Column[Any], ...]

    @classmethod
    def of(cls, model: type[Any]) -> RecordLink:
        """The link of a model.

        Raises:
            ConfigurationError: The model has none, or several; or the link does not lead to a record's primary key.
        """
        messages = MappedTable.of(model, SQLAlchemyMessageStore.columns)
        named = getattr(model, _NAME, None)
        found = {name: to for name, to in _links(messages) if named in (None, name)}
        if len(found) == 1:
            ((name, (target, pairs)),) = found.items()
            return cls(name, target, _key_columns(messages, name, target, pairs))
        if named is not None:
            raise ConfigurationError(
                f"{model.__name__}.{_NAME} is {named!r}: it must be the name of a many-to-one relationship to the "
                "record that the turns belong to, or of its foreign key's attribute"
            )
        several = f"several ways to records ({', '.join(found)})"
        raise ConfigurationError(
            f"{model.__name__} has {several if found else 'no foreign key to a record'}: set {_NAME} on it to the "
            "name of the relationship, or of the foreign key's attribute, that leads to the record that its turns "
            "belong to"
        )

    def require(self, record: Identity | None, key: str) -> Identity:
        """The primary key of a record.

        Args:
            record: What `identity` or `load` returned.
            key: The message's key.

        Raises:
            ConfigurationError: There is no record.
        """
        if record is None or None in record:
            raise ConfigurationError(
                f"{key} belongs to no record: its {self.name} is null. Set it before the turn is enqueued"
            )
        return record

    def identity(self, message: Any) -> Identity | None:
        """The primary key of a message's record; None if it has no record. The call may load the foreign key.

        Raises:
            ConfigurationError: The foreign key is not loaded, and cannot be loaded here.
        """
        names, session = self._names(message), object_session(message)
        if set(names) & inspect(message).unloaded and (
            session is None or async_object_session(message) is not None
        ):
            raise ConfigurationError(
                f"{', '.join(names)} of this {type(message).__name__} is not loaded, and cannot be loaded here: "
                "refresh the message first, or use expire_on_commit=False"
            )
        identity = self.load(message)
        return None if None in identity else identity

    def load(self, message: Any) -> Identity:
        """See `identity`; loads the key also inside `AsyncSession.run_sync`. Its values are None without a record."""
        return tuple(getattr(message, name) for name in self._names(message))

    def _names(self, message: Any) -> list[str]:
        mapper = inspect(message).mapper
        return [mapper.get_property_by_column(column).key for column in self.columns]


def record_store_of(message: Any, source: Source, *, info: Info | None = None) -> SQLAlchemyRecordStore:
    """The store of the record that a message's turn belongs to, without loading the record.

    ::

        session = Session(message, permissions_for=rules, store=record_store_of(message, engine))

    Args:
        message: A message whose foreign key is loaded.
        source: The database of the record; see `RowStore`.
        info: See `RowStore`.

    Raises:
        ConfigurationError: The message's model has no link to its record.
        RecordGoneError: The message no longer has a record.
    """
    link = RecordLink.of(type(message))
    identity = link.identity(message)
    if identity is None:
        name = type(message).__name__
        raise RecordGoneError(f"this {name} has no record any more: its {link.name} is null", record=name)
    return SQLAlchemyRecordStore(link.record.mapper.class_, identity, source, info=info)


def _links(messages: MappedTable) -> Iterator[tuple[str, tuple[MappedTable, _Pairs]]]:
    """All links to records, each once: the name, the target, and the pairs of columns."""
    mapper, seen = messages.mapper, set[Column[Any]]()
    named = getattr(mapper.class_, _NAME, None)
    for relationship in mapper.relationships:
        target = _record_table(relationship.mapper)
        if target is None or relationship.direction is not RelationshipDirection.MANYTOONE:
            continue
        pairs = _pairs(relationship)
        columns = {column for column, _ in pairs}
        if (
            named == relationship.key or not columns <= seen
        ):  # two of the same columns lead to the same record
            seen |= columns
            yield relationship.key, (target, pairs)
    own = {each.local_table: _record_table(each) for each in mapper.registry.mappers if not each.single}
    for attribute in mapper.column_attrs:
        column: Any = attribute.columns[0]
        for referred in _referred(column):
            target = own.get(referred.table)
            if target is not None and (column not in seen or named == attribute.key):
                yield attribute.key, (target, [(column, referred)])


def _pairs(relationship: RelationshipProperty[Any]) -> _Pairs:
    return [
        (local, remote)
        for local, remote in relationship.local_remote_pairs
        if isinstance(local, Column) and isinstance(remote, Column)
    ]


def _referred(column: Any) -> Iterator[Column[Any]]:
    for key in getattr(column, "foreign_keys", ()):
        try:
            yield key.column
        except (NoReferencedTableError, NoReferencedColumnError):
            continue


def _record_table(mapper: Mapper[Any]) -> MappedTable | None:
    try:
        return MappedTable.of(mapper.class_, SQLAlchemyRecordStore.columns)
    except ConfigurationError:
        return None


def _key_columns(
    messages: MappedTable, name: str, target: MappedTable, pairs: _Pairs
) -> tuple[Column[Any], ...]:
    """The columns of the table of messages that hold the record's primary key."""
    found = [
        column
        for key in target.primary_key
        for column, remote in pairs
        if column.table is messages.table and (refers(remote, key) or refers(key, remote))
    ]
    if len(found) != len(target.primary_key):
        raise ConfigurationError(
            f"{messages.mapper.class_.__name__}.{name} must hold the primary key of {target.mapper.class_.__name__}, "
            f"by foreign keys in the table {messages.table.fullname}"
        )
    return tuple(found)
